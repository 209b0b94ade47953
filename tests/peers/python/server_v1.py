"""A server on the 1.x line of the official Python SDK, which has the legacy eras only.

    python server_v1.py --stdio | --http PORT | --sse PORT

PORT may be 0. When the port is open, one line `ready PORT` goes to standard output: HTTP at /mcp, HTTP+SSE at /sse.
"""

import asyncio
import socket
import sys
from weakref import WeakKeyDictionary

import uvicorn
from mcp.server.fastmcp import Context, FastMCP
from mcp.shared.message import ServerMessageMetadata
from mcp.types import ListRootsRequest, ListRootsResult, SamplingMessage, ServerRequest, TextContent
from pydantic import BaseModel

server = FastMCP("python-peer-v1", log_level="WARNING")

counts: WeakKeyDictionary = WeakKeyDictionary()


class Answer(BaseModel):
    answer: str


@server.tool()
def count(ctx: Context) -> str:
    """Counts its calls in this session."""
    counts[ctx.session] = counts.get(ctx.session, 0) + 1
    return str(counts[ctx.session])


@server.tool()
async def ask(question: str, ctx: Context) -> str:
    """Asks the user in the middle of the call."""
    return (await ctx.elicit(question, Answer)).data.answer


@server.tool()
async def sample(prompt: str, ctx: Context) -> str:
    """Has the client's model answer."""
    message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
    reply = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
    return reply.content.text


@server.tool()
async def roots(ctx: Context) -> str:
    """Names the client's roots."""
    related = ServerMessageMetadata(related_request_id=ctx.request_id)
    listed = await ctx.session.send_request(ServerRequest(ListRootsRequest()), ListRootsResult, metadata=related)
    return " ".join(str(root.uri) for root in listed.roots)


@server.tool()
async def progress(steps: int, ctx: Context) -> str:
    """Reports each of its steps."""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps, f"step {step}")
        # Also after the last step: some clients drop progress that arrives together with the result.
        await asyncio.sleep(0.05)
    return f"{steps} steps"


async def serve(app, port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    uvicorn_server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    print(f"ready {listener.getsockname()[1]}", flush=True)
    await uvicorn_server.serve(sockets=[listener])


def main() -> None:
    match sys.argv[1:]:
        case ["--stdio"]:
            server.run("stdio")
        case ["--http", port]:
            asyncio.run(serve(server.streamable_http_app(), int(port)))
        case ["--sse", port]:
            asyncio.run(serve(server.sse_app(), int(port)))
        case _:
            sys.exit("usage: server_v1.py --stdio | --http PORT | --sse PORT")


main()

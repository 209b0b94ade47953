"""A server on the official Python SDK (mcp 2.x), every era it has; with --modern, 2026-07-28 only.

    python server.py --stdio | [--modern] --http PORT | --sse PORT

PORT may be 0. When the port is open, one line `ready PORT` goes to standard output: HTTP at /mcp, HTTP+SSE at /sse.
"""

import asyncio
import socket
import sys
from typing import Annotated

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve, Sample
from mcp_types import CreateMessageResult, ListRootsResult, SamplingMessage, TextContent
from pydantic import BaseModel

server = MCPServer("python-peer", version="1.0.0", log_level="WARNING")


class Answer(BaseModel):
    answer: str


def question(question: str) -> Elicit[Answer]:
    return Elicit(question, Answer)


@server.tool()
def echo(text: str) -> str:
    """Answers with the text it is given."""
    return text


@server.tool()
async def slow(seconds: float) -> str:
    """Answers after a while."""
    await asyncio.sleep(seconds)
    return f"slept {seconds}"


@server.tool()
async def progress(steps: int, ctx: Context) -> str:
    """Reports each of its steps."""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps, f"step {step}")
        # Also after the last step: some clients drop progress that arrives together with the result.
        await asyncio.sleep(0.05)
    return f"{steps} steps"


@server.tool()
def ask(question: str, reply: Annotated[Answer, Resolve(question)]) -> str:
    """Asks the user: in the middle of the call up to 2025-11-25, by input_required since."""
    return reply.answer


def prompt(prompt: str) -> Sample:
    return Sample([SamplingMessage(role="user", content=TextContent(type="text", text=prompt))], max_tokens=100)


@server.tool()
def sample(prompt: str, reply: Annotated[CreateMessageResult, Resolve(prompt)]) -> str:
    """Has the client's model answer."""
    return reply.content.text


def list_roots() -> ListRoots:
    return ListRoots()


@server.tool()
def roots(listed: Annotated[ListRootsResult, Resolve(list_roots)]) -> str:
    """Names the client's roots."""
    return " ".join(str(root.uri) for root in listed.roots)


MODERN = (b"mcp-protocol-version", b"2026-07-28")


def modern_only(app):
    """Sends whatever does not claim 2026-07-28 to where only that is understood, and the rest refused."""

    async def checked(scope, receive, send) -> None:
        if scope["type"] == "http" and MODERN not in scope["headers"]:
            others = [header for header in scope["headers"] if header[0] != MODERN[0]]
            scope = {**scope, "headers": [*others, (MODERN[0], b"unclaimed")]}
        await app(scope, receive, send)

    return checked


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
        case ["--modern", "--http", port]:
            asyncio.run(serve(modern_only(server.streamable_http_app()), int(port)))
        case ["--sse", port]:
            asyncio.run(serve(server.sse_app(), int(port)))
        case _:
            sys.exit("usage: server.py --stdio | [--modern] --http PORT | --sse PORT")


if __name__ == "__main__":
    main()

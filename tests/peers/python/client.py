"""A client on the official Python SDK (mcp 2.x): lists, calls, answers, and prints what happened as one line of JSON."""

import asyncio
import json

import arguments
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.sse import sse_client
from mcp_types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent

DEADLINE_SECONDS = 30


def target(options):
    if options.http:
        return options.http
    if options.sse:
        return sse_client(options.sse)
    command, *rest = options.stdio
    return StdioServerParameters(command=command, args=rest)


async def call(client: Client, tool: str, given: str) -> dict:
    progress = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        progress.append(done)

    try:
        result = await client.call_tool(tool, json.loads(given), progress_callback=on_progress)
    except MCPError as error:
        return {"error": error.error.code, "message": error.error.message, "progress": progress}
    return {"text": arguments.text(result), "isError": bool(result.is_error), "progress": progress}


async def main() -> None:
    options = arguments.parse()
    asked = []

    async def on_elicitation(context, params) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content=options.answer)

    async def on_sampling(context, params) -> CreateMessageResult:
        asked.append(params.messages[0].content.text)
        content = TextContent(type="text", text=options.sample)
        return CreateMessageResult(role="assistant", content=content, model="a-model")

    async def on_roots(context) -> ListRootsResult:
        asked.append("roots")
        return ListRootsResult(roots=[Root(uri=options.root)])

    client = Client(
        target(options),
        mode=options.mode,
        elicitation_callback=on_elicitation,
        sampling_callback=on_sampling if options.sample else None,
        list_roots_callback=on_roots if options.root else None,
        read_timeout_seconds=DEADLINE_SECONDS,
    )
    async with client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        calls = [await call(client, tool, given) for tool, given in options.call]
        print(json.dumps({"version": client.protocol_version, "tools": tools, "calls": calls, "asked": asked}))


asyncio.run(main())

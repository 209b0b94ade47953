"""The same as client.py on the 1.x line of the official Python SDK, which has the legacy eras only."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta

import arguments
from mcp import ClientSession, McpError, StdioServerParameters, stdio_client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent

DEADLINE = timedelta(seconds=30)


@asynccontextmanager
async def streams(options):
    if options.http:
        async with streamable_http_client(options.http) as (read, write, _):
            yield read, write
    elif options.sse:
        async with sse_client(options.sse) as (read, write):
            yield read, write
    else:
        command, *rest = options.stdio
        async with stdio_client(StdioServerParameters(command=command, args=rest)) as (read, write):
            yield read, write


async def call(session: ClientSession, tool: str, given: str) -> dict:
    progress = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        progress.append(done)

    try:
        result = await session.call_tool(tool, json.loads(given), progress_callback=on_progress)
    except McpError as error:
        return {"error": error.error.code, "message": error.error.message, "progress": progress}
    return {"text": arguments.text(result), "isError": result.isError, "progress": progress}


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

    callbacks = {
        "elicitation_callback": on_elicitation,
        "sampling_callback": on_sampling if options.sample else None,
        "list_roots_callback": on_roots if options.root else None,
    }
    async with streams(options) as (read, write):
        async with ClientSession(read, write, DEADLINE, **callbacks) as session:
            version = (await session.initialize()).protocolVersion
            tools = [tool.name for tool in (await session.list_tools()).tools]
            calls = [await call(session, tool, given) for tool, given in options.call]
            print(json.dumps({"version": version, "tools": tools, "calls": calls, "asked": asked}))


asyncio.run(main())

"""A server on the official Python SDK (mcp 2.x) whose answers may be kept, and which tells of changes if it is asked to.

    python keeping_server.py --stdio | --http PORT

PORT may be 0. When the port is open, one line `ready PORT` goes to standard output: HTTP at /mcp.
"""

import asyncio
import sys

from mcp.server.caching import CacheHint
from mcp.server.mcpserver import Context, MCPServer
from server import serve

HOUR = CacheHint(ttl_ms=3_600_000, scope="public")
server = MCPServer(
    "keeping-peer",
    version="1.0.0",
    log_level="WARNING",
    cache_hints={"tools/list": HOUR, "resources/read": HOUR},
)
clock = {"now": 0}


@server.resource("test://clock")
def read_clock() -> str:
    """How often the clock was moved."""
    return f"now {clock['now']}"


@server.tool()
async def add(name: str, tell: bool, ctx: Context) -> str:
    """Adds a tool, and tells of it or not."""
    server.add_tool(lambda: name, name=name, description="added")
    if tell:
        await ctx.notify_tools_changed()
    return "added"


@server.tool()
async def move(tell: bool, ctx: Context) -> str:
    """Moves the clock, and tells of it or not."""
    clock["now"] += 1
    if tell:
        await ctx.notify_resource_updated("test://clock")
    return "moved"


match sys.argv[1:]:
    case ["--stdio"]:
        server.run("stdio")
    case ["--http", port]:
        asyncio.run(serve(server.streamable_http_app(), int(port)))
    case _:
        sys.exit("usage: keeping_server.py --stdio | --http PORT")

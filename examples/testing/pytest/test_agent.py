"""An agent's test with the server unplugged: `shadowcat mock` answers from a tape, over stdio."""

import asyncio
import json
import os
import pathlib

import pytest
from mcp import Client, MCPError, StdioServerParameters

TAPE = pathlib.Path(__file__).parent.parent / "memory.tape.jsonl"
SHADOWCAT = os.environ.get("SHADOWCAT_BIN", "shadowcat")


def memory() -> Client:
    """What the agent would be given in earnest: a client of its server."""
    return Client(StdioServerParameters(command=SHADOWCAT, args=["mock", "--strict", str(TAPE)]), mode="legacy")


async def names(client: Client) -> list[str]:
    graph = await client.call_tool("read_graph", {})
    return [entity["name"] for entity in json.loads(graph.content[0].text)["entities"]]


async def remember(client: Client, name: str, fact: str) -> list[str]:
    """The agent: adds who is missing, and says who is known."""
    if name not in await names(client):
        entity = {"name": name, "entityType": "person", "observations": [fact]}
        await client.call_tool("create_entities", {"entities": [entity]})
    return await names(client)


def test_who_is_missing_is_added():
    async def run():
        async with memory() as client:
            return await remember(client, "Ada", "writes programs")

    assert asyncio.run(run()) == ["Ada"]


def test_what_is_not_on_the_tape_fails_by_name():
    async def run():
        async with memory() as client:
            with pytest.raises(MCPError, match=r'name: recorded "Ada", asked "Bob"'):
                await remember(client, "Bob", "writes programs")

    asyncio.run(run())

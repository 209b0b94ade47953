"""Repeats the calls of a recorded session and compares the answers with the recorded ones.

Written by `shadowcat tape export test --lang pytest`. It needs pytest and the official SDK (`pip install pytest mcp`, 2.x).
The server is `shadowcat mock` with the tape. To ask another one, say how it is started: SERVER="python server.py" pytest
"""

import asyncio
import json
import os
import shlex

from mcp import Client, MCPError, StdioServerParameters
from mcp_types import CreateMessageResult, ElicitResult, ListRootsResult, Request
from pydantic import TypeAdapter

HERE = os.path.dirname(os.path.abspath(__file__))
TAPES = []
MODE = "auto"
SECONDS_MAX = 30
# What belongs to one run, or is for the SDK and not for those who use it.
UNTOLD = ("_meta", "nextCursor", "resultType")

# (session, method, parameters, answer) of each call, and what the client answered when it was asked, in order.
CALLS = []
ANSWERS = {"elicitation/create": [], "sampling/createMessage": [], "roots/list": []}
#RECORDED


def server() -> StdioServerParameters:
    words = shlex.split(os.environ.get("SERVER", "")) or [os.environ.get("SHADOWCAT_BIN", "shadowcat"), "mock", *TAPES]
    return StdioServerParameters(command=words[0], args=words[1:], cwd=HERE)


def differences(recorded, live, path="$"):
    """What is recorded has to be there; what is there besides is not looked at."""
    if isinstance(recorded, str) and "[redacted:" in recorded:
        return
    if isinstance(recorded, dict) and isinstance(live, dict):
        for name, value in recorded.items():
            if value is not None and name not in UNTOLD:
                yield from differences(value, live.get(name), f"{path}.{name}")
    elif isinstance(recorded, list) and isinstance(live, list) and len(recorded) == len(live):
        for place, value in enumerate(recorded):
            yield from differences(value, live[place], f"{path}[{place}]")
    elif recorded != live:
        yield f"{path}: recorded {json.dumps(recorded)}, got {json.dumps(live)}"


async def ask(client: Client, method: str, params: dict) -> dict:
    request = Request[dict, str](method=method, params=params)
    try:
        return {"result": await client.session.send_request(request, TypeAdapter(dict))}
    except MCPError as error:
        return {"error": {"code": error.error.code, "message": error.error.message}}


def answering(method: str, kind):
    answers = iter(ANSWERS[method])

    async def answer(*_):
        return kind.model_validate(next(answers))

    return answer if ANSWERS[method] else None


async def repeat() -> None:
    client = Client(
        server(),
        mode=MODE,
        elicitation_callback=answering("elicitation/create", ElicitResult),
        sampling_callback=answering("sampling/createMessage", CreateMessageResult),
        list_roots_callback=answering("roots/list", ListRootsResult),
        read_timeout_seconds=SECONDS_MAX,
    )
    sessions = list(dict.fromkeys(session for session, *_ in CALLS))
    cursors, found = {}, []
    async with client:
        for session, method, params, recorded in sorted(CALLS, key=lambda call: sessions.index(call[0])):
            if "cursor" in params:
                params = {**params, "cursor": cursors.get(params["cursor"], params["cursor"])}
            live = await ask(client, method, params)
            if recorded.get("result", {}).get("nextCursor"):
                cursors[recorded["result"]["nextCursor"]] = live.get("result", {}).get("nextCursor")
            found += [f"{method} {json.dumps(params)}: {text}" for text in differences(recorded, live)]
    assert not found, "\n".join(found)


def test_the_server_answers_as_recorded():
    asyncio.run(repeat())

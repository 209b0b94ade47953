"""The command line that the Python clients share; see tests/README.md."""

import argparse
import json


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", default="legacy", help="legacy, auto, or 2026-07-28")
    parser.add_argument("--call", nargs=2, action="append", default=[], metavar=("TOOL", "ARGUMENTS"))
    parser.add_argument("--answer", type=json.loads, default={}, help="what every elicitation is answered with")
    parser.add_argument("--sample", metavar="TEXT", help="what every sampling is answered with")
    parser.add_argument("--root", metavar="URI", help="the one root")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--http", metavar="URL")
    where.add_argument("--sse", metavar="URL")
    where.add_argument("--stdio", nargs=argparse.REMAINDER, metavar="COMMAND")
    return parser.parse_args()


def text(result) -> str:
    """The text blocks of a tool's result."""
    return "".join(block.text for block in result.content if block.type == "text")

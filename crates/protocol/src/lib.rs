//! MCP as data: messages, ids, revisions, headers and framing. No I/O, no async, no clock.

//! Error codes of JSON-RPC and of the protocol's revisions. Codes of our own are made where they are used.

/// The text is not JSON.
pub const PARSE_ERROR: i64 = -32700;
/// The JSON is not a message.
pub const INVALID_REQUEST: i64 = -32600;
/// The method does not exist, or not in this revision.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The parameters are wrong.
pub const INVALID_PARAMS: i64 = -32602;
/// The receiver failed.
pub const INTERNAL_ERROR: i64 = -32603;
/// A header is missing, malformed, or says something else than the body (2026-07-28).
pub const HEADER_MISMATCH: i64 = -32020;
/// The request needs a capability that the client did not declare (2026-07-28).
pub const MISSING_CAPABILITY: i64 = -32021;
/// The revision asked for is not supported (2026-07-28).
pub const UNSUPPORTED_VERSION: i64 = -32022;
/// There is no such resource (legacy revisions).
pub const RESOURCE_NOT_FOUND: i64 = -32002;
/// The user must visit a URL first (2025-11-25).
pub const URL_ELICITATION: i64 = -32042;
/// The user does not want it (legacy revisions, client/sampling).
pub const USER_REFUSED: i64 = -1;

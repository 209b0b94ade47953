//! The members of `_meta` that the 2026-07-28 revision keeps for itself.

/// The revision a request speaks.
pub(crate) const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Who asks.
pub(crate) const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// What the asker can do.
pub(crate) const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// From which level on the asker wants log messages.
pub(crate) const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// Who answers.
pub(crate) const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// The subscription a message was sent for.
pub(crate) const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

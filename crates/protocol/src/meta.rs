//! The members of `_meta` that the revisions keep for themselves, and the extension that both eras know in a form.

/// The revision a request speaks.
pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Who asks.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// What the asker can do.
pub const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// From which level on the asker wants log messages.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// Who answers.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// The subscription a message was sent for.
pub const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
/// The task that a message belongs to (2025-11-25).
pub const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
/// The extension of the modern revision for tasks, as capabilities name it.
pub const TASKS: &str = "io.modelcontextprotocol/tasks";

//! Method names of all revisions, and which parameter names the thing a method works on.

/// Opens a session (legacy).
pub const INITIALIZE: &str = "initialize";
/// Ends the handshake (legacy).
pub const INITIALIZED: &str = "notifications/initialized";
/// Asks for a sign of life (legacy).
pub const PING: &str = "ping";
/// Withdraws a request.
pub const CANCELLED: &str = "notifications/cancelled";
/// Tells how far a request is.
pub const PROGRESS: &str = "notifications/progress";
/// A log message of the server.
pub const LOG_MESSAGE: &str = "notifications/message";
/// Asks a server for its revisions and capabilities (modern).
pub const DISCOVER: &str = "server/discover";
/// Opens a stream of change notifications (modern).
pub const LISTEN: &str = "subscriptions/listen";
/// The first message on a stream of change notifications (modern).
pub const LISTEN_ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
/// Lists tools.
pub const TOOLS_LIST: &str = "tools/list";
/// Calls a tool.
pub const TOOLS_CALL: &str = "tools/call";
/// The list of tools changed.
pub const TOOLS_CHANGED: &str = "notifications/tools/list_changed";
/// Lists prompts.
pub const PROMPTS_LIST: &str = "prompts/list";
/// Reads a prompt.
pub const PROMPTS_GET: &str = "prompts/get";
/// The list of prompts changed.
pub const PROMPTS_CHANGED: &str = "notifications/prompts/list_changed";
/// Lists resources.
pub const RESOURCES_LIST: &str = "resources/list";
/// Lists resource templates.
pub const RESOURCE_TEMPLATES_LIST: &str = "resources/templates/list";
/// Reads a resource.
pub const RESOURCES_READ: &str = "resources/read";
/// Asks for updates of a resource (legacy).
pub const RESOURCES_SUBSCRIBE: &str = "resources/subscribe";
/// Ends updates of a resource (legacy).
pub const RESOURCES_UNSUBSCRIBE: &str = "resources/unsubscribe";
/// A resource changed.
pub const RESOURCE_UPDATED: &str = "notifications/resources/updated";
/// The list of resources changed.
pub const RESOURCES_CHANGED: &str = "notifications/resources/list_changed";
/// Completes an argument.
pub const COMPLETE: &str = "completion/complete";
/// Sets the session's log level (legacy).
pub const SET_LEVEL: &str = "logging/setLevel";
/// Asks the client's model (a server's request in legacy revisions).
pub const SAMPLING: &str = "sampling/createMessage";
/// Asks the user (a server's request in legacy revisions).
pub const ELICITATION: &str = "elicitation/create";
/// Asks for the client's roots (a server's request in legacy revisions).
pub const ROOTS_LIST: &str = "roots/list";
/// The client's roots changed (legacy).
pub const ROOTS_CHANGED: &str = "notifications/roots/list_changed";
/// Asks for a task's state.
pub const TASKS_GET: &str = "tasks/get";
/// Asks for a task's result, when it has one (2025-11-25).
pub const TASKS_RESULT: &str = "tasks/result";
/// Gives a task the input it waits for (the tasks extension of 2026-07-28).
pub const TASKS_UPDATE: &str = "tasks/update";
/// Ends a task.
pub const TASKS_CANCEL: &str = "tasks/cancel";
/// Tells how far a task is (2025-11-25).
pub const TASK_STATUS: &str = "notifications/tasks/status";
/// Tells how far a task is, on a subscription (the tasks extension of 2026-07-28).
pub const TASK_CHANGED: &str = "notifications/tasks";

/// What most messages are for.
const USUAL: [&str; 6] = [TOOLS_CALL, PROGRESS, LOG_MESSAGE, TOOLS_LIST, RESOURCES_READ, PING];

/// The constant that a name is, if it is one of the usual ones.
pub(crate) fn usual(name: &str) -> Option<&'static str> {
    USUAL.into_iter().find(|usual| *usual == name)
}

/// Whether a request may be answered by a question to its client (2026-07-28 basic/patterns/mrtr).
pub fn takes_questions(method: &str) -> bool {
    [TOOLS_CALL, PROMPTS_GET, RESOURCES_READ].contains(&method)
}

/// The member of its result in which a list is; none if the method asks for no list.
pub fn list_member(method: &str) -> Option<&'static str> {
    match method {
        TOOLS_LIST => Some("tools"),
        PROMPTS_LIST => Some("prompts"),
        RESOURCES_LIST => Some("resources"),
        RESOURCE_TEMPLATES_LIST => Some("resourceTemplates"),
        _ => None,
    }
}

/// The member of `params` that names what the method works on, and that `Mcp-Name` mirrors.
pub fn name_member(method: &str) -> Option<&'static str> {
    match method {
        TOOLS_CALL | PROMPTS_GET => Some("name"),
        RESOURCES_READ => Some("uri"),
        TASKS_GET | TASKS_UPDATE | TASKS_CANCEL => Some("taskId"),
        _ => None,
    }
}

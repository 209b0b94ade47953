//! What cannot be the same through shadowcat as directly, and why: everything else that differs is a fault.

use super::table::NO_VERDICT;

/// Differences of one scenario that lie in the nature of things, for one reason.
struct ByNature {
    columns: &'static [&'static str],
    scenario: &'static str,
    /// The checks, and their verdict through shadowcat.
    checks: &'static [(&'static str, &'static str)],
    reason: &'static str,
    /// What the specification says to it, for a difference between the eras.
    says: Option<&'static Sentence>,
}

/// A sentence of the specification.
struct Sentence {
    text: &'static str,
    /// The page it is on, below `https://modelcontextprotocol.io/specification/`; for a proposal, below `https://modelcontextprotocol.io/`.
    page: &'static str,
}

const KEYS: Sentence = Sentence {
    text: "`inputRequests` keys are server assigned identifiers and MUST be unique within the scope of the request.",
    page: "2026-07-28/basic/patterns/mrtr",
};

const EITHER_FORM: Sentence = Sentence {
    text: "If the input is a JSON-RPC request, the server MUST either return `Content-Type: text/event-stream`, to \
           initiate an SSE stream, or `Content-Type: application/json`, to return one JSON object.",
    page: "2025-11-25/basic/transports",
};

const NOT_RESUMED: Sentence = Sentence {
    text: "Resumable SSE streams via `Last-Event-ID` are not supported.",
    page: "2026-07-28/basic/transports/streamable-http",
};

const HANDSHAKE: Sentence = Sentence {
    text: "An `initialize` request selects legacy semantics, scoped to the stdio process (stdio) or the session (HTTP), \
           as specified by the negotiated legacy protocol version.",
    page: "2026-07-28/basic/versioning",
};

const NEGOTIATED: Sentence = Sentence {
    text: "Both parties MUST: [...] Only use capabilities that were successfully negotiated",
    page: "2025-11-25/basic/lifecycle",
};

const UNABLE_WITHOUT_TASK: Sentence = Sentence {
    text: "If a server is unable to service a request to a client that does not declare this extension capability \
           without returning `CreateTaskResult`, the server MUST return an error with the code `-32021` (Missing Required \
           Client Capability), indicating the required extension in the error response.",
    page: "seps/2663-tasks-extension",
};

const LEGACY_SERVERS: &[&str] =
    &["legacy via http", "legacy via http, standing", "legacy via stdio", "legacy via sse"];
const KEY_OF_ITS_OWN: &str = "the suite looks for a key of its own, and the question of a legacy server has none: the bridge gives it one";
const OWN_ERA_FIRST: &str = "a server of both eras would take a legacy client's handshake, so it is offered one as it \
                             is, and the mock server reads that as a modern request";

const FORM_NOT_ON_TAPE: &str = "a tape holds messages and not the form they came in, and what is there at once is answered as \
                                one JSON object";

/// Every difference that is no fault of the proxy.
const BY_NATURE: &[ByNature] = &[
    ByNature {
        columns: &["via stdio", "both eras via stdio", "via sse"],
        scenario: "server-sse-polling",
        checks: &[("server-sse-disconnect-resume ServerDisconnectResume", NO_VERDICT)],
        reason: "the upstream has no stream for one request that it could close in the middle of the call",
        says: None,
    },
    ByNature {
        columns: &["modern via http", "modern via stdio"],
        scenario: "server-sse-polling",
        checks: &[("server-sse-disconnect-resume ServerDisconnectResume", NO_VERDICT)],
        reason: "a modern server does not close the stream of a request in the middle of the call",
        says: Some(&NOT_RESUMED),
    },
    ByNature {
        columns: &["modern via http"],
        scenario: "server-sse-polling",
        checks: &[
            ("server-sse-priming-event ServerSendsPrimingEvent", NO_VERDICT),
            ("server-sse-retry-field ServerSendsRetryField", NO_VERDICT),
        ],
        reason: "the server chose one JSON object, and the client gets the same",
        says: Some(&EITHER_FORM),
    },
    ByNature {
        columns: &["modern via http"],
        scenario: "server-sse-multiple-streams",
        checks: &[("server-sse-streams-functional ServerSSEStreamsFunctional", NO_VERDICT)],
        reason: "the server chose one JSON object, and the client gets the same",
        says: Some(&EITHER_FORM),
    },
    ByNature {
        columns: &["from tape"],
        scenario: "server-sse-polling",
        checks: &[
            ("server-sse-disconnect-resume ServerDisconnectResume", NO_VERDICT),
            ("server-sse-priming-event ServerSendsPrimingEvent", NO_VERDICT),
            ("server-sse-retry-field ServerSendsRetryField", NO_VERDICT),
        ],
        reason: FORM_NOT_ON_TAPE,
        says: Some(&EITHER_FORM),
    },
    ByNature {
        columns: &["from tape"],
        scenario: "server-sse-multiple-streams",
        checks: &[("server-sse-streams-functional ServerSSEStreamsFunctional", NO_VERDICT)],
        reason: FORM_NOT_ON_TAPE,
        says: Some(&EITHER_FORM),
    },
    ByNature {
        columns: LEGACY_SERVERS,
        scenario: "input-required-result-basic-elicitation",
        checks: &[
            ("sep-2322-elicitation-incomplete InputRequiredResultElicitationIncomplete", "FAILURE"),
            ("sep-2322-elicitation-complete InputRequiredResultElicitationComplete", NO_VERDICT),
        ],
        reason: KEY_OF_ITS_OWN,
        says: Some(&KEYS),
    },
    ByNature {
        columns: LEGACY_SERVERS,
        scenario: "input-required-result-ignore-extra-params",
        checks: &[("sep-2322-ignore-unexpected-params IgnoreUnexpectedParams", "WARNING")],
        reason: KEY_OF_ITS_OWN,
        says: Some(&KEYS),
    },
    ByNature {
        columns: LEGACY_SERVERS,
        scenario: "tasks-required-task-error",
        checks: &[
            (
                "sep-2663-server-returns-missing-capability-when-required Sep2663ServerReturnsMissingCapabilityWhenRequired",
                "FAILURE",
            ),
            (
                "sep-2663-server-returns-missing-capability-data-shape Sep2663ServerReturnsMissingCapabilityDataShape",
                NO_VERDICT,
            ),
        ],
        reason: "the bridge is able to: it runs the legacy server's task to its end inside the call, and answers with its \
                 outcome",
        says: Some(&UNABLE_WITHOUT_TASK),
    },
    ByNature {
        columns: &["legacy via forward"],
        scenario: "http-standard-headers",
        checks: &[("sep-2243-client-includes-standard-headers ClientMcpMethodHeader_initialize", "FAILURE")],
        reason: OWN_ERA_FIRST,
        says: Some(&HANDSHAKE),
    },
    ByNature {
        columns: &["legacy via forward"],
        scenario: "request-metadata",
        checks: &[
            ("sep-2575-client-populates-meta ClientPopulatesMeta", "FAILURE"),
            ("sep-2575-client-sends-client-info ClientSendsClientInfo", "WARNING"),
            ("sep-2575-http-client-sends-version-header ClientSendsVersionHeader", "FAILURE"),
        ],
        reason: OWN_ERA_FIRST,
        says: Some(&HANDSHAKE),
    },
    ByNature {
        columns: &["legacy via forward"],
        scenario: "request-metadata",
        checks: &[(
            "sep-2575-client-declares-elicitation-capability ClientDeclaresElicitationCapability",
            "SKIPPED",
        )],
        reason: "the mock server offers nothing, and a legacy client asks for nothing that is not offered",
        says: Some(&NEGOTIATED),
    },
];

/// Why a verdict may differ in a column, if it may.
pub(super) fn reason(column: &str, scenario: &str, check: &str, through: &str) -> Option<String> {
    let excuse = BY_NATURE.iter().find(|excuse| {
        excuse.columns.contains(&column)
            && excuse.scenario == scenario
            && excuse.checks.contains(&(check, through))
    })?;
    Some(match excuse.says {
        None => excuse.reason.to_owned(),
        Some(Sentence { text, page }) => format!("{}: \u{201c}{text}\u{201d} ({page})", excuse.reason),
    })
}

#[cfg(test)]
mod tests {
    use super::super::columns::{CLIENT_MODE, SERVER_MODE};
    use super::*;

    #[test]
    fn what_differs_between_the_eras_has_its_sentence() {
        let servers = SERVER_MODE.iter().flat_map(|(.., columns)| *columns);
        let clients = CLIENT_MODE.iter().flat_map(|(.., columns)| *columns);
        let bridged: Vec<&str> = servers
            .map(|column| (column.part, column.title))
            .chain(clients.map(|column| (column.part, column.title)))
            .filter(|(part, _)| *part == crate::conformance::Part::Bridge)
            .map(|(_, title)| title)
            .collect();
        for excuse in BY_NATURE {
            let between_eras = excuse.columns.iter().any(|column| bridged.contains(column));
            assert!(excuse.says.is_some() || !between_eras, "{} has no sentence", excuse.scenario);
        }
    }
}

//! The ways through shadowcat that are compared: in each mode and for each revision, what stands on its other side.

use std::ffi::OsString;

use super::Part;
use crate::tree;

/// A server of ours: a script of `tests/peers/conformance-server`, and the flags that make it what is wanted.
pub(super) struct Server {
    script: &'static str,
    flags: &'static [&'static str],
}

impl Server {
    /// What Node is told to run.
    pub(super) fn words(&self) -> Vec<OsString> {
        let script = tree::peer_sources().join("conformance-server").join(self.script);
        std::iter::once(script.into()).chain(self.flags.iter().map(OsString::from)).collect()
    }
}

/// Speaks whatever its client does.
const BOTH_ERAS: Server = Server { script: "server.mjs", flags: &[] };

/// Refuses the legacy eras.
const MODERN: Server = Server { script: "server.mjs", flags: &["--modern"] };

/// Never heard of the modern era.
const LEGACY: Server = Server { script: "legacy-server.mjs", flags: &[] };

/// The same, asking its client on the standing stream and not on that of the call.
const STANDING: Server = Server { script: "legacy-server.mjs", flags: &["--standing"] };

/// How shadowcat reaches a server.
#[derive(Clone, Copy)]
pub(super) enum Upstream {
    Http,
    Stdio,
    /// The transport of 2024-11-05, which ended with the legacy eras.
    Sse,
    /// Over HTTP while the suite is recorded, and then not at all: `shadowcat mock` answers from the tape.
    Tape,
}

/// The suite through `shadowcat` to a server.
pub(super) struct ServerColumn {
    pub(super) title: &'static str,
    pub(super) part: Part,
    pub(super) server: Server,
    pub(super) upstream: Upstream,
}

impl ServerColumn {
    const fn new(title: &'static str, part: Part, server: Server, upstream: Upstream) -> Self {
        Self { title, part, server, upstream }
    }

    /// The title as the name of a folder.
    pub(super) fn folder(&self) -> String {
        self.title.replace(',', "").replace(' ', "-")
    }
}

/// A client through `shadowcat forward` to the suite's mock server.
pub(super) struct ClientColumn {
    pub(super) title: &'static str,
    pub(super) part: Part,
    /// What makes the client what is wanted.
    pub(super) flags: &'static [&'static str],
}

/// Each requirement set of server mode, which is what the client speaks, the server it is taken to directly, and those it is
/// taken to through shadowcat.
pub(super) const SERVER_MODE: [(&str, Server, &[ServerColumn]); 2] = [
    (
        "2025-11-25",
        LEGACY,
        &[
            ServerColumn::new("via http", Part::Http, LEGACY, Upstream::Http),
            ServerColumn::new("via stdio", Part::Stdio, LEGACY, Upstream::Stdio),
            ServerColumn::new("via sse", Part::Sse, LEGACY, Upstream::Sse),
            ServerColumn::new("both eras via http", Part::Http, BOTH_ERAS, Upstream::Http),
            ServerColumn::new("both eras via stdio", Part::Stdio, BOTH_ERAS, Upstream::Stdio),
            ServerColumn::new("from tape", Part::Tape, LEGACY, Upstream::Tape),
            ServerColumn::new("modern via http", Part::Bridge, MODERN, Upstream::Http),
            ServerColumn::new("modern via stdio", Part::Bridge, MODERN, Upstream::Stdio),
        ],
    ),
    (
        "2026-07-28",
        MODERN,
        &[
            ServerColumn::new("via http", Part::Http, MODERN, Upstream::Http),
            ServerColumn::new("via stdio", Part::Stdio, MODERN, Upstream::Stdio),
            ServerColumn::new("both eras via http", Part::Http, BOTH_ERAS, Upstream::Http),
            ServerColumn::new("both eras via stdio", Part::Stdio, BOTH_ERAS, Upstream::Stdio),
            ServerColumn::new("from tape", Part::Tape, MODERN, Upstream::Tape),
            ServerColumn::new("legacy via http", Part::Bridge, LEGACY, Upstream::Http),
            ServerColumn::new("legacy via http, standing", Part::Bridge, STANDING, Upstream::Http),
            ServerColumn::new("legacy via stdio", Part::Bridge, LEGACY, Upstream::Stdio),
            ServerColumn::new("legacy via sse", Part::Bridge, LEGACY, Upstream::Sse),
        ],
    ),
];

/// The scenarios of client mode for each revision, which is what the mock server speaks, and the clients before it.
///
/// Those under `auth/` are left out: their protected-resource metadata names the mock server's own address, which a client
/// must refuse behind any proxy on another port (RFC 8707).
pub(super) const CLIENT_MODE: [(&str, &[&str], &[ClientColumn]); 2] = [
    (
        "2025-11-25",
        &[
            "initialize",
            "tools_call",
            "elicitation-sep1034-client-defaults",
            "sse-retry",
            "json-schema-2020-12-preservation",
        ],
        &[
            ClientColumn { title: "via forward", part: Part::Client, flags: &[] },
            ClientColumn {
                title: "modern via forward",
                part: Part::Bridge,
                flags: &["--speak", "2026-07-28"],
            },
        ],
    ),
    (
        "2026-07-28",
        &[
            "tools_call",
            "request-metadata",
            "sep-2322-client-request-state",
            "http-standard-headers",
            "http-custom-headers",
            "http-invalid-tool-headers",
            "json-schema-ref-no-deref",
            "json-schema-2020-12-preservation",
        ],
        &[
            ClientColumn { title: "via forward", part: Part::Client, flags: &[] },
            ClientColumn {
                title: "legacy via forward",
                part: Part::Bridge,
                flags: &["--speak", "2025-11-25"],
            },
        ],
    ),
];

//! From a configuration file to a plan, and from a plan to a running proxy.
//!
//! | file or folder | holds |
//! |---|---|
//! | `config` | the file exactly as a person wrote it |
//! | `plan` | what file, environment and flags mean together; after it nothing fails on what a person wrote |
//! | `build.rs` | the composition root: the one place that knows every part |
//! | `path.rs` | what every message passes on its way, and why in this order |
//! | `entry.rs` | where clients come in |
//! | `endpoint.rs` | the way to what is asked or told over HTTP and is no server of MCP |
//! | `external` | programs outside the proxy that are asked about messages, and how they are reached |
//! | `faces.rs` | what clients of either era meet |
//! | `files.rs` | files that are read whole |
//! | `rule_files.rs` | rules in files of their own, and their changes |
//! | `proxy.rs` | a proxy within another program |
//! | `reach.rs` | how the server is reached: a child, a URL, tapes in its place |
//! | `running.rs` | a running proxy, and its end in order |
//! | `telemetry.rs` | the traces of the proxy, and how they reach a collector |
//! | `gateway.rs` | which session a message belongs to |
//! | `life.rs` | how a session begins, sleeps and ends, and what its record tells of it |
//! | `upstream` | the server's side: connections that are there when they are needed |
//! | `admin.rs` | the API for those who run the proxy |
//! | `pages.rs`, `metrics.rs` | health, readiness and figures |

mod admin;
mod auth;
mod back;
mod build;
pub mod config;
mod endpoint;
mod entry;
mod external;
mod faces;
mod files;
mod gateway;
mod life;
mod metrics;
mod pages;
mod path;
mod plan;
mod proxy;
mod reach;
mod rule_files;
mod running;
mod telemetry;
#[cfg(test)]
mod testing;
mod upstream;

pub use admin::AdminError;
pub use auth::AuthError;
pub use build::{Host, Pipe, StartError, start};
pub use files::read_once;
pub use plan::{
    Admin, Approver, Auth, Face, HookSecret, HookSecretError, Interceptor, InterceptorServer,
    InterceptorTarget, Issuer, KeyError, Keys, Level, Limits, Listen, Log, LogFormat, MainFile, Overrides,
    Pause, Plan, PlanError, PlanErrors, Playing, Program, Record, Remote, SESSION_FILE, Secret, Sessions,
    Store, TAPES_DIR, TapeKey, Target, Telemetry, Timeouts, Upstream, UpstreamTarget, Variables, Webhook,
    rules, tape_key,
};
pub use proxy::Proxy;
pub use running::{Ended, Running};

/// What an interceptor of an embedding program is written with.
pub mod interceptor {
    pub use async_trait::async_trait;
    pub use shadowcat_pipeline::{
        Direction, Envelope, Gate, Interceptor, Next, Origin, Refusal, RefusalKind, Replies, Rest,
    };
    pub use shadowcat_protocol::json;
    pub use shadowcat_protocol::{ErrorObject, Id, Message, Notification, Request, Response};
}

//! MCP as data: messages, ids, revisions, headers and framing. No I/O, no async, no clock.
//!
//! What a peer wrote is kept as its bytes. A [`Message`] knows where in its text the few members are that a
//! proxy routes by (`id`, `method`, `params` and some of what is inside), and a change of an id is a splice that
//! leaves every other byte alone. Parsing is strict: a text that two parsers could read differently is refused.
//!
//! | file | what lives there |
//! |---|---|
//! | `json` | the scanner, and reading and quoting of raw JSON text |
//! | `message` | requests, notifications, responses, batches, and why a text is none of them |
//! | `id`, `method`, `meta`, `codes`, `limits`, `direction` | the small words of JSON-RPC and MCP |
//! | `revision` | what each revision of the protocol can do; the only file that compares revisions |
//! | `headers` | the HTTP header rules of both eras, without an HTTP library |
//! | `capabilities`, `subscription` | what a server offers, and what a subscription is for |
//! | `own` | what the proxy says of itself where it asks |
//! | `caching` | what a result says of being kept |
//! | `pages` | which page of a list is asked for next |
//! | `trace` | W3C trace context in headers and in `_meta` |
//! | `sse`, `lines` | framing: bytes in, events or lines out |
//!
//! What a message means for a session, and where it goes, is for the crates above.

pub mod caching;
pub mod capabilities;
pub mod codes;
mod direction;
pub mod headers;
mod id;
pub mod json;
mod limits;
pub mod lines;
pub mod message;
pub mod meta;
pub mod method;
pub mod own;
mod pages;
mod revision;
mod span;
pub mod sse;
pub mod subscription;
pub mod trace;

pub use direction::Direction;
pub use id::Id;
pub use limits::Limits;
pub use message::{
    ErrorObject, Message, Notification, ParseError, ParseErrorKind, Request, Response, split_batch,
};
pub use pages::Pages;
pub use revision::{Era, Revision};

//! The HTTP API for those who run the proxy: what it does, what passes, and messages that wait for a person.
//!
//! It stands on a listener of its own, on the server that the HTTP transports stand on, with the same gate and the same
//! bounds. Every route but its own description asks for a token. It owns nothing that it tells of: the parts are looked at
//! through [`Views`], a [`Feed`](shadowcat_tape::Feed) and a [`Lot`](shadowcat_interceptors::pause::Lot), which can do little.
//! The API is described for its users in `docs/admin.md`.
//!
//! Not here: what is held and why, how frames are made and redacted, and the command line.
//!
//! | file | holds |
//! |---|---|
//! | `routes.rs` | the routes, one table |
//! | `forms/` | what is said and asked, as it is written in JSON |
//! | `api/` | from a request to an answer |
//! | `openapi.rs` | the description of it all, made from the table and the forms |
//! | `problem.rs` | what is told when something is wrong |
//! | `token.rs` | who may |
//! | `notice.rs` | where a running proxy is found |

mod api;
pub mod forms;
mod notice;
mod openapi;
mod problem;
mod routes;
mod token;
mod views;

pub use api::{AdminApi, Bounds};
pub use notice::{NOTICE_FILE, Notice, NoticeError};
pub use token::{Token, TokenError};
pub use views::Views;

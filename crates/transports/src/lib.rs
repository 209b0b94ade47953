//! stdio, HTTP+SSE and Streamable HTTP: a listener and a connector each.
//!
//! A listener turns what a client sends into envelopes for the [`Front`] and writes what comes back; a connector opens
//! [`Connection`]s that carry envelopes to a server. The two halves share the waist of the pipeline and nothing else.
//! Only this crate knows HTTP, event streams and lines.
//!
//! | folder or file | holds |
//! |---|---|
//! | `stdio` | children and their pipes, connector; our own stdin and stdout, listener |
//! | `sse` | the two endpoints of 2024-11-05 |
//! | `http` | Streamable HTTP, both eras |
//! | `server`, `http_client` | the HTTP either side of both HTTP transports stands on |
//! | `tcp` | options of sockets, on both sides |
//! | `duplex`, `pipe_client` | what stdio and HTTP+SSE have in common: one ordered pipe to a server, or to a client |
//! | `asker`, `asks` | the ways of replies to whoever asked, and of a server's own words to the client and back |
//! | `batch` | the requests of a batch side by side, and their responses together |
//! | `translation` | the one place where ids and progress tokens are rewritten |
//! | `names` | the names of MCP's headers |
//! | `front`, `connector` | what a listener asks of the gateway, and the gateway of a connector |

mod asker;
mod asks;
mod batch;
mod connector;
mod counters;
mod duplex;
mod event_source;
mod front;
pub mod http;
pub mod http_client;
mod names;
mod pipe_client;
mod pipe_connection;
mod remote;
pub mod server;
pub mod sse;
pub mod stdio;
mod tcp;
#[cfg(test)]
mod testing;
mod translation;
mod whole;

pub use connector::{Connection, Connector, OpenConnection, Parting};
pub use counters::{Count, Counters};
pub use front::{Front, Opening};
pub use remote::Remote;

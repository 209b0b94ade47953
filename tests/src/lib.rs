//! What the end-to-end tests are made of: the real program, servers to put behind it and clients to put before it.
//!
//! Nothing here uses the product's own code: a mistake in it must not hide itself. Nothing sleeps to wait for a state:
//! [`wait`] asks until it is there or the deadline has passed. Tests are in `e2e/`.
//!
//! | module | what |
//! | --- | --- |
//! | [`proxy`] | `shadowcat reverse` as a process of its own |
//! | [`client`] | MCP clients on Streamable HTTP, HTTP+SSE and stdio, and the raw requests under them |
//! | [`server`] | one MCP server on the same three transports; what a call asks for decides how it behaves |
//! | [`terminal`] | a terminal whose screen is read as text |
//! | [`operator`] | whoever runs the proxy, by its admin API |
//! | [`collector`] | a collector of spans, which reads OTLP with the official types |
//! | [`issuer`] | an issuer of tokens, and what it signs |
//! | [`tls`] | certificates for those servers, made for one test |
//! | [`upstream`] | an HTTP server that answers exactly what a test says, bytes and cuts included |
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test fails by a panic; there is nobody to hand an error to"
)]

pub mod client;
pub mod collector;
pub mod issuer;
pub mod mock;
pub mod operator;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod server;
pub mod terminal;
pub mod tls;
pub mod upstream;
pub mod wait;

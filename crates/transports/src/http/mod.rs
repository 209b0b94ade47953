//! Streamable HTTP, both eras: the listener and the connector.

mod answer;
mod connection;
mod connector;
mod legacy;
mod listener;
mod modern;
mod pump;
mod stamp;

pub use connector::HttpConnector;
pub use listener::{EndpointSettings, HttpListener};

/// Where MCP is served.
pub const PATH: &str = "/mcp";

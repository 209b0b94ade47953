//! HTTP+SSE, the transport of 2024-11-05: a GET stream that names an endpoint, and POSTs to it.

mod connector;
mod listener;

pub use connector::SseConnector;
pub use listener::{SseListener, SseSettings};

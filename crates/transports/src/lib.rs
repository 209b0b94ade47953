//! stdio, HTTP+SSE and Streamable HTTP: a listener and a connector each.

pub mod stdio;

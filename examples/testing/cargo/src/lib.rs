//! The agent itself would be here; its test is in `tests/agent.rs`.

//! The bounds of a bridge to a legacy server.

use std::time::Duration;

/// How sessions with a legacy server are kept, and calls that wait for their client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToLegacySettings {
    /// How long a session is kept that nobody uses.
    pub idle: Duration,
    /// The most sessions with the server.
    pub sessions_max: usize,
    /// The most sessions for clients of one principal with the same capabilities: as many of their calls may be asked
    /// back at a time. All that nobody knows by a name are one.
    pub sessions_per_key_max: usize,
    /// Whether each request gets a session of its own, which ends with it.
    pub per_request: bool,
    /// The most calls that wait for their client.
    pub parked_max: usize,
    /// The most calls of one principal that wait for their client, where it is known.
    pub parked_per_principal_max: usize,
    /// How long a call waits for its client; an hour at most, for a seal is not sure to open later.
    pub parked_for: Duration,
    /// How long further questions of the server are waited for before they go to the client together.
    pub gather: Duration,
}

impl Default for ToLegacySettings {
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(10),
            sessions_max: 1_000,
            sessions_per_key_max: 1_000,
            per_request: false,
            parked_max: 1_000,
            parked_per_principal_max: 64,
            parked_for: Duration::from_mins(10),
            gather: Duration::from_millis(30),
        }
    }
}

//! End-to-end tests. A module a subject; a test's name begins with the case of the specification notes it shows.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

mod admin;
mod admin_held;
mod approver;
mod auth;
mod auth_issuer;
mod auth_owners;
mod batches;
mod belonging;
mod blocking;
mod bridge_life;
mod bridge_peers;
mod bridge_tasks;
mod bridge_to_legacy;
mod bridge_to_modern;
mod bridge_turns;
mod bridged;
mod broken;
mod cached;
mod cached_peers;
mod children;
mod churn;
mod edge;
mod edited;
mod external;
mod external_peers;
mod faults;
mod ghosts;
mod harness;
mod intercepted;
mod legacy;
mod mock;
mod mock_peers;
mod modern;
mod pages;
mod pause;
mod pause_ends;
mod peers;
mod ported;
mod program;
mod recording;
mod replay_peers;
mod replays;
mod restart;
mod rmcp;
mod rules;
mod secrets;
mod secure;
mod sessions;
mod shutdown;
mod stalled;
mod standing;
mod states;
mod tapes;
mod telemetry;
mod transparency;
mod watch;

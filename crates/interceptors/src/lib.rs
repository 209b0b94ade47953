//! What stands between a client and an upstream: a file each, in the order the gateway lists them.
//!
//! | file | what it does |
//! |---|---|
//! | `calls.rs` | counts and times every exchange, and writes a line about each into the log |
//! | `contained.rs` | contains an interceptor that is not ours |
//! | `deadline.rs` | ends what takes too long |
//! | `external/` | asks programs outside the proxy what is to become of messages |
//! | `judged/` | the way of a message, and then of its replies, past whoever decides over each |
//! | `mirror.rs` | checks mirrored arguments for servers that see no headers |
//! | `pause/` | holds messages until a person decides |
//! | `rules/` | carries out what the operator's rules ask for |
//! | `trace/` | makes a span of each request, and sends spans on to a collector |
//!
//! The recorder stands in the same chain and lives with the tape. Limits get their file here.

pub mod calls;
mod contained;
pub mod deadline;
pub mod external;
mod judged;
pub mod mirror;
pub mod pause;
pub mod rules;
pub mod trace;

pub use calls::{CallMetrics, Calls};
pub use contained::Contained;
pub use deadline::Deadline;
pub use external::{ExternalMetrics, Externals};
pub use mirror::Mirror;
pub use pause::{Lot, Pause, PauseMetrics};
pub use rules::{RuleMetrics, Rules};
pub use trace::{Trace, TraceMetrics};

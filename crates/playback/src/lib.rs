//! Tapes played again: to a server as its client, or to clients as their server.
//!
//! | file | holds |
//! |---|---|
//! | `tapes.rs` | tapes in memory, and where a message stands on them |
//! | `path.rs` | where a value stands within a message |
//! | `run_values.rs` | which values belong to one run of a conversation, and how they are carried over to another |
//! | `ignored.rs` | what is not looked at when messages are compared |
//! | `generated.rs` | ids and times within strings, known by their shape |
//! | `speed.rs` | how the time on a tape stands to that of the clock |
//! | `replay` | a script said to a server again, by as many clients as were recorded |
//! | `compare` | two answers compared by meaning |
//! | `report` | what a run showed, as text, JSON and JUnit |
//! | `script` | what the clients on a tape said, in the order and at the times they said it |
//! | `player` | a tape as a server: which recorded answer a client gets, and what comes with it |

pub mod compare;
pub mod generated;
mod ignored;
mod path;
pub mod player;
pub mod replay;
pub mod report;
mod run_values;
pub mod script;
mod speed;
mod tapes;

pub use ignored::{BadPath, Ignored};
pub use path::{Path, Segment};
pub use run_values::{Carried, RunValue, is_redacted, meaning, run_value};
pub use script::{Client, Script};
pub use speed::{BadSpeed, Speed};
pub use tapes::{LoadError, Place, Tapes};

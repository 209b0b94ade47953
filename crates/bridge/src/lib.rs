//! Joins a client of one era to a server of the other.
//!
//! The specification calls a modern client before a legacy server, and the reverse, simply "Fails". What answers here
//! is therefore the proxy itself, as a full server of the client's era and a full client of the server's. A bridge
//! stands in the path only when the eras differ; what it makes of a message is written in `docs/bridge.md`.
//!
//! | folder or file | holds |
//! |---|---|
//! | `era` | which eras a server speaks, found out and remembered for a while |
//! | `to_legacy` | a modern client's exchanges to a server with sessions: parked calls, sealed state |
//! | `to_modern` | a legacy client's session to a stateless server: asking back, subscriptions |
//! | `content` | content of later revisions, for clients of earlier ones |
//! | `declared` | what a client declared that it can be asked for |
//! | `level` | the levels of log messages |
//! | `object` | an object as raw text, its members changed and the rest left as it was written |
//! | `pace` | how often a task is looked at |
//! | `seal` | what a client carries for us and must not read or change |
//! | `tools` | what is known of a server's tools because their list has passed |
//!
//! Transports, stores and the configuration are not known here; the gateway gives each side what it needs.

mod content;
mod counters;
mod declared;
mod era;
mod level;
mod object;
mod pace;
mod seal;
mod to_legacy;
mod to_modern;
mod tools;

use shadowcat_protocol::meta;

pub use content::Readable;
pub use counters::{Count, Counters};
pub use era::{Eras, Evidence, Probe, evidence};
pub use seal::{NoKey, Seal, Unsealed};
pub use to_legacy::{LegacyServer, LegacySession, ToLegacy, ToLegacySettings};
pub use to_modern::{ModernServer, Resumed, ToModern, ToModernSettings};

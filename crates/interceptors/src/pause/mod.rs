//! Holds messages until a person decides: those that fit a breakpoint, that a rule pauses, or that need an approval.
//!
//! The [`Lot`] is where they wait. It can be listed, watched and decided upon while messages pass; it has no task of its
//! own, because whoever sent a message waits for it.
//!
//! | file | holds |
//! |---|---|
//! | `lot.rs` | where messages wait, and its bounds |
//! | `held.rs` | what is held, and why |
//! | `verdict.rs` | what is to become of it, who says so, and what cannot be said |
//! | `fate.rs` | the verdict in the words of those who carry it out |
//! | `approvals.rs` | calls that need an approval, and approvals for those that come again |
//! | `approver.rs` | a webhook that is asked about such calls |
//! | `breakpoints.rs` | which messages are held |
//! | `watch.rs` | the interceptor that stops messages at breakpoints |
//! | `feed.rs` | what happens, for whoever watches |
//! | `metrics.rs` | what is counted |

mod approvals;
mod approver;
mod breakpoints;
mod fate;
mod feed;
mod held;
mod lot;
mod metrics;
#[cfg(test)]
mod tests;
mod verdict;
mod watch;

pub(crate) use fate::Exchange;

pub use approvals::Approval;
pub use approver::Approver;
pub use breakpoints::{BREAKPOINTS_MAX, Breakpoint, BreakpointError};
pub use feed::{Feed, Happened, Heard};
pub use held::{BreakpointId, Cause, Held, HeldId, Stopped, Terms};
pub use lot::{Lot, Settings};
pub use metrics::PauseMetrics;
pub use verdict::{By, DecideError, Decision, Released, Verdict, Wanted};
pub use watch::Pause;

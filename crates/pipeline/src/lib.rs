//! The narrow waist of Shadowcat: an [`Envelope`] goes in, [`Replies`] come out.
//!
//! Everything that can answer is a [`Service`]: a connection to a server, a breaker, a chain of interceptors, the
//! client itself when a server asks it something. This crate holds those few types and nothing that does work of its
//! own: no transport, no store, no policy.
//!
//! | file | holds |
//! |---|---|
//! | `envelope.rs` | one message on its way, and where it came from |
//! | `principal.rs` | who asks |
//! | `replies.rs` | what comes back for one envelope, in order |
//! | `service.rs` | the trait everything implements |
//! | `back.rs` | where a server's side puts what is no reply |
//! | `chain.rs` | interceptors around a service |
//! | `refusal.rs` | the only error that crosses the pipeline, and what a peer is told of it |
//! | `in_flight.rs` | requests found again when their client withdraws one |
//! | `waits.rs` | the time for which an exchange waits because we want it to |
//! | `subscription.rs` | when a subscription of the modern revision is open, and when a lost one is opened again |
//! | `task.rs` | the one place where tasks are spawned |

mod back;
mod chain;
mod envelope;
mod in_flight;
mod principal;
mod refusal;
mod replies;
mod service;
pub mod subscription;
pub mod task;
mod waits;

pub use back::Back;
pub use chain::{Chain, Interceptor, Next, Rest};
pub use envelope::{
    Deeds, Direction, Envelope, ExchangeId, Origin, OwnSpan, PeerId, Pulse, SessionTag, Transport,
    UpstreamSide,
};
pub use in_flight::{Flight, InFlight};
pub use principal::Principal;
pub use refusal::{Broken, Refusal, RefusalKind, UpstreamAnswer};
pub use replies::{Form, Gate, Head, Replies};
pub use service::Service;
pub use waits::{Wait, Waits};

//! Rules of an operator: which messages are meant, and what is to be done with them.
//!
//! What was written ([`written`]) is compiled once to [`Rules`], with every pattern, path and template read and every
//! fault told. A message is then judged: rules are looked at one after the other, highest priority first, and what a
//! rule that fits asks for is carried out before the next one is looked at. Changes of the message are made here, for
//! they are data; what takes time or ends the exchange is a [`Step`] for the caller to take. The language is described
//! for its users in `docs/rules.md`.
//!
//! Not here: waiting, sockets, a clock, randomness. The last two come in as a [`World`].
//!
//! | file | holds |
//! |---|---|
//! | `written/` | the words, as they stand in a file |
//! | `fault.rs` | what is wrong with them |
//! | `rules.rs`, `index/` | compiled rules, and which of them a message could fit |
//! | `scene.rs`, `view.rs` | a message and what is known around it |
//! | `condition/` | whether a message fits a rule |
//! | `meant.rs` | a condition without a rule around it |
//! | `counting.rs` | conditions that count: `every`, `after`, `share` |
//! | `action/` | what rules do, compiled |
//! | `judgement.rs` | one message on its way through the rules |

mod action;
mod condition;
mod counting;
mod fault;
mod index;
mod judgement;
mod meant;
mod rules;
mod scene;
mod strict;
#[cfg(test)]
mod tests;
mod view;
mod world;
pub mod written;

pub use action::{Outcome, Pause, Step};
pub use fault::Fault;
pub use judgement::{Fired, Found, Judgement};
pub use meant::Meant;
pub use rules::Rules;
pub use scene::{Asked, Facts, Kind, Scene, Speech};
pub use world::World;
pub use written::{Broken, Then};

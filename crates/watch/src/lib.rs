//! The terminal view: messages as they flow, in lists and one by one.
//!
//! A [`Source`] tells [`Event`]s on a thread of its own; the model takes them and the keys of a person, and the screen is
//! drawn from it. The model neither waits nor draws nor has a clock, and the drawing decides nothing, so both are tested
//! without a terminal.
//!
//! Not here: where a command line names tapes, and how one asks a running proxy.
//!
//! | file | holds |
//! |---|---|
//! | `source/` | where messages come from, and the thread they come on |
//! | `event.rs` | what a source tells |
//! | `hands.rs`, `desk.rs` | what can be done to a running proxy, and how it is carried out |
//! | `model/` | all that is shown, and what commands change of it |
//! | `keys.rs` | the keys, one table for keyboard, help and hints |
//! | `view/` | the drawing |
//! | `screen.rs` | the terminal, the signals, and the loop between them all |

mod desk;
mod event;
mod hands;
mod keys;
mod model;
mod screen;
mod source;
#[cfg(test)]
mod testing;
mod view;

pub use desk::Editor;
pub use event::{Breakpoint, Event, Held, Standing};
pub use hands::{Hands, HeldText, Verdict};
pub use screen::{ScreenError, Settings, show};
pub use source::{Feed, Source, Tapes, ViewEnded};

//! The server's side of the gateway: connections that are there when they are needed.
//!
//! `session` is one legacy session's connection, set up again when it was lost; `shared` is the one all modern
//! exchanges use; `handshake` is what a lost session is set up again from. `bridged` and `either` put the bridges between
//! the eras where the two eras differ. `tape` is what stands in for a server.

mod bridged;
mod either;
mod handshake;
mod session;
mod shared;
mod tape;

pub(crate) use bridged::{Bridges, Doubted, ModernFace, OwnSessions};
pub(crate) use either::EitherUpstream;
pub(crate) use handshake::{Memory, Said};
pub(crate) use session::SessionUpstream;
pub(crate) use shared::SharedUpstream;
pub(crate) use tape::{Beyond, TapeConnector};

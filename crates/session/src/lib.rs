//! What outlives an exchange: session records, live sessions, resumable streams, the store trait.

mod cache;
pub mod contract;
mod live;
mod outlet;
mod record;
mod sessions;
mod standing;
mod state;
mod store;
mod stream;
#[cfg(test)]
mod testing;
mod write_behind;

pub use cache::CacheLimits;
pub use live::{InFlight, Live, Table, TableFull, Upstream};
pub use outlet::{ASKS_MAX, EventId, Outlet, OutletService};
pub use record::{
    ENDED_VERSION_MIN, HANDSHAKE_BYTES_MAX, Handshake, HandshakeTooLarge, ID_BYTES_MAX, Key, Namespace,
    NoRandomness, NotASessionId, RECORD_BYTES_MAX, Record, SUBSCRIPTIONS_MAX, SessionId, SubscriptionsFull,
    UpstreamToken,
};
pub use sessions::{Durability, Health, Sessions, SessionsError, SessionsLimits, Stats};
pub use standing::Standing;
pub use state::{IllegalMove, State};
pub use store::{Cause, PAGE_MAX, Page, SessionStore, StoreError};
pub use stream::{Lost, Reader, Stream, StreamClosed, StreamLimits};
pub use write_behind::{WriteBehind, WriteLimits};

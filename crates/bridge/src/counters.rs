//! What the bridges count, for the metrics page.

use std::sync::atomic::{AtomicU64, Ordering};

use shadowcat_pipeline::Origin;

/// Characters of a name that are told of what could not be carried: names are as long as their senders like.
const NAME_MAX: usize = 64;

/// One figure.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less, for what is counted while it lasts.
    pub fn take(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The figures of both bridges of one upstream.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests of modern clients translated for a legacy server.
    pub to_legacy: Count,
    /// Requests of legacy clients translated for a modern server.
    pub to_modern: Count,
    /// Legacy sessions open on behalf of modern clients, at this moment.
    pub sessions: Count,
    /// Calls waiting for their client to come back with what the server asked for, at this moment.
    pub parked: Count,
    /// Parked calls whose client never came back.
    pub expired: Count,
    /// Messages and parts of messages the other era has no word for.
    pub not_carried: Count,
}

impl Counters {
    /// Something the other era has no word for: counted, logged, and noted with the exchange that it was a part of, whose
    /// next message has it on the tape.
    pub(crate) fn lose(&self, what: &str, exchange: Option<&Origin>) {
        self.not_carried.add();
        let what = what.split_at_checked(NAME_MAX).map_or(what, |(start, _)| start);
        tracing::debug!(
            exchange = exchange.map(|origin| tracing::field::display(origin.exchange)),
            what,
            "not carried"
        );
        if let Some(origin) = exchange {
            origin.deeds.add(format!("not carried: {what}"));
        }
    }
}

//! What the bridges count, for the metrics page.

use std::sync::atomic::{AtomicU64, Ordering};

use shadowcat_pipeline::Origin;

/// Of a name that could not be carried so much is told: names are as long as their senders like.
const NAME_BYTES_MAX: usize = 64;

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
        let (what, _) = what.split_at(what.floor_char_boundary(NAME_BYTES_MAX));
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

#[cfg(test)]
mod tests {
    use shadowcat_pipeline::{PeerId, Transport};
    use shadowcat_protocol::Revision;

    use super::*;

    #[test]
    fn a_name_is_cut_between_characters_and_short_ones_are_told_whole() {
        let rows = [
            ("a".repeat(63) + "é and so on", "a".repeat(63)),
            ("é".repeat(32), "é".repeat(32)),
            (String::new(), String::new()),
        ];
        for (name, told) in rows {
            let origin = Origin::new(PeerId::next(), Transport::Stdio, Revision::V2026_07_28);
            Counters::default().lose(&name, Some(&origin));
            assert_eq!(origin.deeds.take(), [format!("not carried: {told}").into()]);
        }
    }
}

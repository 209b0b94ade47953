//! Conditions that count the messages which fit all else: `every`, `after`, `share`.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fault::{Faults, Place};
use crate::world::{World, fraction, random_bits};
use crate::written::{Rule, When};

/// Which of the messages that fit all else are meant.
#[derive(Debug)]
pub(crate) struct Counting {
    /// The rule that counts, as it is written: where it is written so again, it goes on.
    rule: Box<Rule>,
    seen: Arc<AtomicU64>,
    every: NonZeroU64,
    after: u64,
    share: Option<Share>,
}

#[derive(Clone, Copy, Debug)]
struct Share {
    part: f64,
    seed: Option<u64>,
}

impl Counting {
    /// What is written at the top of a rule; none where nothing counts.
    pub(crate) fn of(rule: &Rule, place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        let when = &rule.when;
        if when.share.is_some_and(|part| !(0.0..=1.0).contains(&part)) {
            faults.add(&place.key("share"), "expected a part from 0 to 1, such as 0.1 for a tenth");
        }
        if when.seed.is_some() && when.share.is_none() {
            faults.add(&place.key("seed"), "belongs to `share`, which is not written");
        }
        if !counts(when) {
            return None;
        }
        Some(Self {
            rule: Box::new(rule.clone()),
            seen: Arc::default(),
            every: when.every.unwrap_or(NonZeroU64::MIN),
            after: when.after.unwrap_or(0),
            share: when.share.map(|part| Share { part, seed: when.seed }),
        })
    }

    /// Goes on where another one is, if both are of the same rule.
    pub(crate) fn go_on_from(&mut self, earlier: &Self) {
        if self.rule == earlier.rule {
            self.seen = Arc::clone(&earlier.seen);
        }
    }

    /// Counts one more message, and says whether it is meant.
    pub(crate) fn takes(&self, world: &dyn World) -> bool {
        let place = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        place > self.after
            && (place - self.after).is_multiple_of(self.every.get())
            && self.share.is_none_or(|share| share.takes(place, world))
    }
}

impl Share {
    fn takes(self, place: u64, world: &dyn World) -> bool {
        let bits = self.seed.map_or_else(|| random_bits(world), |seed| scatter(seed, place));
        fraction(bits) < self.part
    }
}

/// Whether anything counts in this one, what is nested in it aside.
pub(crate) fn counts(when: &When) -> bool {
    when.every.is_some() || when.after.is_some() || when.share.is_some() || when.seed.is_some()
}

/// The bits of one place in a sequence (SplitMix64), the same on every machine.
fn scatter(seed: u64, place: u64) -> u64 {
    let mut bits = seed.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

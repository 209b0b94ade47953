//! Moments of a tape: by a clock that never jumps, and by the wall clock.

use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;

/// One moment by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) steady: Instant,
    pub(crate) wall: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }

    /// What the wall clock showed at an earlier moment, as far as it has not been set since.
    pub(crate) fn wall_at(&self, earlier: Instant) -> SystemTime {
        self.wall_before(self.steady.saturating_duration_since(earlier))
    }

    fn wall_before(&self, age: Duration) -> SystemTime {
        self.wall.checked_sub(age).unwrap_or(self.wall)
    }
}

/// A moment with its text, which is most of the text of those soon before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) moment: Moment,
    since_begun: Duration,
    since_epoch: Option<Duration>,
    text: Rfc3339,
}

impl Reading {
    /// The moment, and how long ago `begun` was.
    pub(crate) fn of(moment: Moment, begun: Instant) -> Self {
        Self {
            moment,
            since_begun: moment.steady.saturating_duration_since(begun),
            since_epoch: moment.wall.duration_since(SystemTime::UNIX_EPOCH).ok(),
            text: rfc3339_of(moment.wall.into()),
        }
    }

    /// How long after the beginning it was so long before.
    pub(crate) fn since_begun(&self, age: Duration) -> Duration {
        self.since_begun.saturating_sub(age)
    }

    /// What the wall clock showed so long before, as far as it has not been set since.
    pub(crate) fn text_before(&self, age: Duration) -> Rfc3339 {
        let then = self.since_epoch.and_then(|since| since.checked_sub(age));
        match (self.since_epoch, then) {
            (Some(now), Some(then)) if now.as_secs() == then.as_secs() => {
                let mut text = self.text;
                put_digits(&mut text, MICROS, then.subsec_micros());
                text
            }
            _ => rfc3339_of(self.moment.wall_before(age).into()),
        }
    }
}

/// Whole microseconds; half a million years fit.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// RFC 3339 in UTC with six digits after the second.
pub(crate) type Rfc3339 = [u8; 27];

/// Where these digits are.
const MICROS: Range<usize> = 20..26;

/// A moment as tapes write it. By hand: this is in every record.
pub(crate) fn rfc3339_of(moment: OffsetDateTime) -> Rfc3339 {
    let (date, clock) = (moment.date(), moment.time());
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    put_digits(&mut text, 0..4, date.year().unsigned_abs());
    put_digits(&mut text, 5..7, u8::from(date.month()).into());
    put_digits(&mut text, 8..10, date.day().into());
    put_digits(&mut text, 11..13, clock.hour().into());
    put_digits(&mut text, 14..16, clock.minute().into());
    put_digits(&mut text, 17..19, clock.second().into());
    put_digits(&mut text, MICROS, clock.microsecond());
    text
}

#[inline]
fn put_digits(text: &mut Rfc3339, places: Range<usize>, mut number: u32) {
    for place in text.get_mut(places).unwrap_or_default().iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// The same as text.
pub(crate) fn rfc3339(moment: OffsetDateTime) -> String {
    String::from_utf8_lossy(&rfc3339_of(moment)).into_owned()
}

/// So many microseconds later, as programs write them that have doubles only; none beyond what a date can be.
pub(crate) fn later(time: OffsetDateTime, us: f64) -> Option<OffsetDateTime> {
    // Beyond 2^53 a double is no count of anything.
    if !(0.0..9_007_199_254_740_992.0).contains(&us) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "within the range just looked at")]
    let us = us.round() as i64;
    time.checked_add(time::Duration::microseconds(us))
}

/// Reads RFC 3339 with any offset; the moment is in UTC, as tapes write it.
pub(crate) fn parse_rfc3339(text: &str) -> Option<OffsetDateTime> {
    let local = OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    local.checked_to_offset(time::UtcOffset::UTC)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_text_of_a_moment_before_is_that_of_the_wall_clock_then(
            now_us in 0..4_102_444_800_000_000_u64,
            age_ns in prop_oneof![0..3_000_000_000_u64, any::<u64>()],
        ) {
            let wall = SystemTime::UNIX_EPOCH + Duration::from_micros(now_us);
            let now = Moment { steady: Instant::now(), wall };
            let age = Duration::from_nanos(age_ns);
            prop_assert_eq!(Reading::of(now, now.steady).text_before(age), rfc3339_of(now.wall_before(age).into()));
        }
    }
}

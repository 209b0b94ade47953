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
        self.wall.checked_sub(self.steady.saturating_duration_since(earlier)).unwrap_or(self.wall)
    }
}

/// Whole microseconds; half a million years fit.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// RFC 3339 in UTC with six digits after the second, always 27 characters. By hand: this is in every record.
pub(crate) fn push_rfc3339(moment: OffsetDateTime, out: &mut Vec<u8>) {
    let (date, clock) = (moment.date(), moment.time());
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let mut digits = |places: Range<usize>, mut number: u32| {
        for place in text.get_mut(places).unwrap_or_default().iter_mut().rev() {
            *place += u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
        }
    };
    digits(0..4, date.year().unsigned_abs());
    digits(5..7, u8::from(date.month()).into());
    digits(8..10, date.day().into());
    digits(11..13, clock.hour().into());
    digits(14..16, clock.minute().into());
    digits(17..19, clock.second().into());
    digits(20..26, clock.microsecond());
    out.extend_from_slice(&text);
}

/// The same as text.
pub(crate) fn rfc3339(moment: OffsetDateTime) -> String {
    let mut text = Vec::new();
    push_rfc3339(moment, &mut text);
    String::from_utf8(text).unwrap_or_default()
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

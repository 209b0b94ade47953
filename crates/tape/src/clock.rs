//! Moments of a tape: by a clock that never jumps, and by the wall clock.

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
        Self::at(Instant::now())
    }

    /// This moment, read off the steady clock just now.
    pub(crate) fn at(steady: Instant) -> Self {
        Self { steady, wall: SystemTime::now() }
    }
}

/// Whole microseconds; half a million years fit.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// RFC 3339 in UTC with six digits after the second, always 27 characters.
pub(crate) fn push_rfc3339(moment: OffsetDateTime, out: &mut Vec<u8>) {
    let (date, clock) = (moment.date(), moment.time());
    push_digits(date.year().unsigned_abs(), 4, b'-', out);
    push_digits(u8::from(date.month()).into(), 2, b'-', out);
    push_digits(date.day().into(), 2, b'T', out);
    push_digits(clock.hour().into(), 2, b':', out);
    push_digits(clock.minute().into(), 2, b':', out);
    push_digits(clock.second().into(), 2, b'.', out);
    push_digits(clock.microsecond(), 6, b'Z', out);
}

/// The same as text.
pub(crate) fn rfc3339(moment: OffsetDateTime) -> String {
    let mut text = Vec::new();
    push_rfc3339(moment, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// By hand: this runs seven times for every record.
fn push_digits(number: u32, digits: u32, end: u8, out: &mut Vec<u8>) {
    for place in (0..digits).rev() {
        let digit = u8::try_from(number / 10_u32.pow(place) % 10).unwrap_or(0);
        out.push(b'0' + digit);
    }
    out.push(end);
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

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
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }
}

/// Whole microseconds; half a million years fit.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// RFC 3339 in UTC with six digits after the second, always 27 characters.
pub(crate) fn push_rfc3339(moment: OffsetDateTime, out: &mut Vec<u8>) {
    use std::io::Write as _;
    let (date, clock) = (moment.date(), moment.time());
    // Writing to memory cannot fail.
    let _ = write!(
        out,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
        clock.microsecond()
    );
}

pub(crate) fn parse_rfc3339(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()
}

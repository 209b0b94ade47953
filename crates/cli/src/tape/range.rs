//! A part of a tape, from one point to another, as people write it.

use std::time::Duration;

use shadowcat_tape::Point;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

// Which part of a tape.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Range {
    /// From here on: a message's number, a time (`12:04:05.5` or `2026-11-21T12:04:05Z`), or how long after the
    /// beginning (`90s`, `1h 30m`)
    #[arg(long, value_name = "POINT", value_parser = parse)]
    from: Option<When>,
    /// Up to here and with it, written in the same ways
    #[arg(long, value_name = "POINT", value_parser = parse)]
    to: Option<When>,
}

impl Range {
    /// Where it begins in a tape that was begun at this time.
    pub(crate) fn from(&self, begun: OffsetDateTime) -> Option<Point> {
        self.from.as_ref().map(|when| when.on(begun).0)
    }

    /// Where it ends. A time stands for all that is shown as that time: `12:04:05` ends with that second.
    pub(crate) fn to(&self, begun: OffsetDateTime) -> Option<Point> {
        self.to.as_ref().map(|when| match when.on(begun) {
            (Point::Time(time), width) => Point::Time(time.saturating_add(width)),
            (point, _) => point,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum When {
    Seq(u64),
    After(Duration),
    /// RFC 3339.
    Time(String),
    /// The same without the date.
    Clock(String),
}

impl When {
    /// The point on one tape, and how much time it stands for.
    fn on(&self, begun: OffsetDateTime) -> (Point, time::Duration) {
        let at = |text: &str| moment(text).unwrap_or(begun);
        match self {
            Self::Seq(seq) => (Point::Seq(*seq), time::Duration::ZERO),
            Self::After(after) => {
                let after = time::Duration::try_from(*after).unwrap_or(time::Duration::MAX);
                (Point::Time(begun.saturating_add(after)), time::Duration::ZERO)
            }
            Self::Time(text) => (Point::Time(at(text)), width(text)),
            Self::Clock(text) => {
                let time = at(&format!("{}T{text}Z", begun.date()));
                // A tape over midnight: what would be long before its beginning is on the next day.
                let is_next_day = begun - time > time::Duration::hours(12);
                let day = if is_next_day { time::Duration::DAY } else { time::Duration::ZERO };
                (Point::Time(time.saturating_add(day)), width(text))
            }
        }
    }
}

/// All but the last microsecond of what the last digit of a time stands for.
fn width(text: &str) -> time::Duration {
    let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    let micros = 10_i64.pow(6_u32.saturating_sub(u32::try_from(digits).unwrap_or(6)));
    time::Duration::microseconds(micros - 1)
}

fn moment(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

fn parse(text: &str) -> Result<When, String> {
    if let Ok(seq) = text.parse() {
        return Ok(When::Seq(seq));
    }
    if moment(text).is_some() {
        return Ok(When::Time(text.to_owned()));
    }
    let clock = text.trim_end_matches('Z');
    if moment(&format!("2000-01-01T{clock}Z")).is_some() {
        return Ok(When::Clock(clock.to_owned()));
    }
    humantime::parse_duration(text).map(When::After).map_err(|_| {
        "expected a message's number (`120`), a time (`12:04:05`, `2026-11-21T12:04:05Z`) or a while after the \
         beginning (`90s`)"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: &str, to: &str) -> (String, String) {
        let begun = moment("2026-11-21T23:50:00Z").unwrap();
        let range = Range { from: Some(parse(from).unwrap()), to: Some(parse(to).unwrap()) };
        let told = |point: Option<Point>| match point.unwrap() {
            Point::Seq(seq) => seq.to_string(),
            Point::Time(time) => time.format(&Rfc3339).unwrap(),
        };
        (told(range.from(begun)), told(range.to(begun)))
    }

    fn check(from: &str, to: &str, expected: (&str, &str)) {
        assert_eq!(range(from, to), (expected.0.to_owned(), expected.1.to_owned()));
    }

    #[test]
    fn points_are_numbers_times_or_a_while() {
        check("7", "9", ("7", "9"));
        check("90s", "1h 30m", ("2026-11-21T23:51:30Z", "2026-11-22T01:20:00Z"));
        check(
            "2026-11-21T00:00:00Z",
            "2026-11-21T01:00:00+01:00",
            ("2026-11-21T00:00:00Z", "2026-11-21T01:00:00.999999+01:00"),
        );
        check("23:51:00.5", "23:51:00.123", ("2026-11-21T23:51:00.5Z", "2026-11-21T23:51:00.123999Z"));
        check("23:49:00", "00:10:00Z", ("2026-11-21T23:49:00Z", "2026-11-22T00:10:00.999999Z"));
    }

    #[test]
    fn what_is_no_point_says_what_one_is() {
        for text in ["", "-1", "tomorrow", "25:00:00", "12:04"] {
            assert!(parse(text).unwrap_err().contains("12:04:05"), "{text}");
        }
    }
}

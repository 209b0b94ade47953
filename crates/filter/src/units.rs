//! Units of size and time, as they are written and printed.

use std::time::{Duration, SystemTime};

/// From the largest, so that the first that divides a number prints it shortest.
const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// How many bytes a unit of size stands for; `KB` is taken for `kB`.
pub fn unit_bytes(unit: &str) -> Option<u64> {
    let unit = if unit == "KB" { "kB" } else { unit };
    SIZES.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes)
}

/// Reads `10kB`; a number alone is bytes.
pub(crate) fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = if unit.is_empty() { 1 } else { unit_bytes(unit)? };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// In the largest unit that gives a whole number.
pub(crate) fn print_size(bytes: u64) -> String {
    let fitting = SIZES.iter().find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor));
    let (name, factor) = fitting.unwrap_or(&("B", 1));
    format!("{}{name}", bytes / factor)
}

/// Reads `100ms` or `1m30s`, in microseconds.
pub(crate) fn duration(text: &str) -> Option<u64> {
    micros(humantime::parse_duration(text).ok()?)
}

/// As [`duration`] reads it.
pub(crate) fn print_duration(us: u64) -> String {
    humantime::format_duration(Duration::from_micros(us)).to_string().replace(' ', "")
}

/// Reads `2026-11-21` and anything longer up to `2026-11-21T12:04:05.123456Z`, in microseconds since 1970.
pub(crate) fn time(text: &str) -> Option<u64> {
    const WHOLE: &str = "0000-00-00T00:00:00";
    let text = text.strip_suffix('Z').unwrap_or(text);
    // A day, or an hour with its minute: what is left out is zero.
    let rest = match text.len() {
        10 | 13 | 16 => WHOLE.get(text.len()..)?,
        _ => "",
    };
    let time = humantime::parse_rfc3339_weak(&format!("{text}{rest}")).ok()?;
    micros(time.duration_since(SystemTime::UNIX_EPOCH).ok()?)
}

/// As [`time`] reads it.
pub(crate) fn print_time(us: u64) -> Option<String> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(us))?;
    Some(humantime::format_rfc3339(time).to_string())
}

fn micros(span: Duration) -> Option<u64> {
    u64::try_from(span.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_as_they_are_read() {
        for text in ["0B", "999B", "1kB", "1KiB", "1500B", "10MB", "4MiB", "2GiB"] {
            assert_eq!(size(text).map(print_size).as_deref(), Some(text));
        }
        assert_eq!(size("12"), Some(12));
        for wrong in ["", "kB", "1 kB", "1mb", "-1B", "99999999999999999999B", "18446744073709551615kB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_are_printed_as_they_are_read() {
        for text in ["0s", "12us", "100ms", "1s500ms", "2m", "1h5m"] {
            assert_eq!(duration(text).map(print_duration).as_deref(), Some(text));
        }
        for wrong in ["", "100", "ms", "-1s", "1 parsec"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_may_be_cut_short() {
        let noon = time("2026-11-21T12:00:00Z").unwrap();
        assert_eq!(time("2026-11-21T12:00"), Some(noon));
        assert_eq!(time("2026-11-21T12"), Some(noon));
        assert_eq!(time("2026-11-21").map(|midnight| noon - midnight), Some(12 * 3_600 * 1_000_000));
        assert_eq!(time("2026-11-21T12:00:00.000007"), Some(noon + 7));
        for wrong in
            ["", "12:00", "2026", "2026-13-01", "1969-01-01", "yesterday", "2026-11-21T12:00:00+01:00"]
        {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }
}

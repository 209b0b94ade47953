//! How the time on a tape stands to that of the clock.

use std::str::FromStr;
use std::time::Duration;

/// How fast a tape is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many times as fast; 1 is the original.
    Times(f64),
    /// Nothing waits for the clock.
    Max,
}

/// A text that is no speed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no speed; write `original`, `max`, or how many times as fast, such as `2` or `0.5`")]
pub struct BadSpeed(String);

impl FromStr for Speed {
    type Err = BadSpeed;

    fn from_str(text: &str) -> Result<Self, BadSpeed> {
        match text {
            "original" => Ok(Self::Times(1.0)),
            "max" => Ok(Self::Max),
            _ => {
                let times = text.parse().ok().filter(|times: &f64| times.is_normal() && *times > 0.0);
                times.map(Self::Times).ok_or_else(|| BadSpeed(text.to_owned()))
            }
        }
    }
}

impl Speed {
    /// How long something takes that took `time`.
    pub fn scaled(self, time: Duration) -> Duration {
        match self {
            Self::Times(times) => {
                Duration::try_from_secs_f64(time.as_secs_f64() / times).unwrap_or(Duration::MAX)
            }
            Self::Max => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_word_or_how_many_times_as_fast() {
        let second = Duration::from_secs(1);
        for (text, taken) in
            [("original", second), ("max", Duration::ZERO), ("2", second / 2), ("0.5", second * 2)]
        {
            assert_eq!(text.parse::<Speed>().unwrap().scaled(second), taken, "{text}");
        }
        for text in ["", "0", "-1", "fast", "inf", "NaN"] {
            assert!(text.parse::<Speed>().is_err(), "{text}");
        }
    }
}

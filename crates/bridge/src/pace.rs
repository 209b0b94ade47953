//! How often a task is looked at, in either direction.

use std::time::Duration;

use shadowcat_pipeline::{Refusal, RefusalKind};

/// How long a task is left alone between two looks at it, unless its server says otherwise, and within which bounds.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// How long to wait before the next look at a task, with what its server asks for, as JSON.
pub(crate) fn pause(asked_for: Option<&str>) -> Duration {
    asked_for.and_then(millis).unwrap_or(PAUSE).clamp(PAUSE_MIN, PAUSE_MAX)
}

/// A time in milliseconds, as JSON.
pub(crate) fn millis(raw: &str) -> Option<Duration> {
    raw.parse().ok().map(Duration::from_millis)
}

/// Whether the next look at a task may go better than one that came to nothing like this. A server that is busy with the
/// task, or out of reach for a moment, has not lost it.
pub(crate) fn may_pass(refusal: &Refusal) -> bool {
    match &refusal.kind {
        RefusalKind::UpstreamStatus(answer) => matches!(answer.status, 408 | 425 | 429 | 500..=599),
        kind => matches!(
            kind,
            RefusalKind::UpstreamTimeout
                | RefusalKind::UpstreamUnreachable
                | RefusalKind::UpstreamExited
                | RefusalKind::UpstreamProtocol
                | RefusalKind::BreakerOpen { .. }
                | RefusalKind::Overloaded { .. }
                | RefusalKind::LimitQueue
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowcat_pipeline::UpstreamAnswer;

    #[test]
    fn a_fault_may_pass_and_a_verdict_does_not() {
        let status = |status| {
            let answer = UpstreamAnswer { status, headers: Vec::new(), body: bytes::Bytes::new() };
            RefusalKind::UpstreamStatus(Box::new(answer))
        };
        for (kind, passes) in [
            (RefusalKind::UpstreamTimeout, true),
            (status(503), true),
            (status(429), true),
            (status(401), false),
            (RefusalKind::SessionLost, false),
            (RefusalKind::PolicyDenied, false),
            (RefusalKind::ShuttingDown, false),
        ] {
            assert_eq!(may_pass(&kind.clone().into()), passes, "{kind:?}");
        }
    }

    #[test]
    fn a_server_is_asked_as_often_as_it_wants_within_bounds() {
        for (asked_for, pause_ms) in [
            (None, 1000),
            (Some("250"), 250),
            (Some("0"), 100),
            (Some("86400000"), 60_000),
            (Some("-1"), 1000),
        ] {
            assert_eq!(pause(asked_for), Duration::from_millis(pause_ms), "{asked_for:?}");
        }
    }
}

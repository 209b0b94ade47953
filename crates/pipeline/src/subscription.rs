//! A subscription of the modern revision as whoever opens it holds it: when it is open, and when a lost one is opened
//! again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shadowcat_protocol::subscription::Filter;
use shadowcat_protocol::{Message, codes, method};

use crate::{Refusal, RefusalKind, Replies};

/// How long a server may take to acknowledge a subscription.
const ACKNOWLEDGE_MAX: Duration = Duration::from_secs(10);
/// The pause before a lost subscription is opened again; it doubles each time, up to this much.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// Those that were lost together do not all come back in the same moment.
const SPREAD_MS: u64 = 1_000;

/// A subscription that its server has acknowledged.
#[derive(Debug)]
pub struct Subscribed {
    /// What the server tells from here on.
    pub replies: Replies,
    /// What it tells of.
    pub granted: Filter,
}

impl Subscribed {
    /// Sends `subscriptions/listen` and waits until the server has acknowledged it.
    ///
    /// # Errors
    /// The server could not be asked, does not acknowledge it in time, or refuses.
    pub async fn open(listen: impl Future<Output = Result<Replies, Refusal>>) -> Result<Self, Refusal> {
        let opening = async { Self::acknowledged(listen.await?).await };
        let opened = tokio::time::timeout(ACKNOWLEDGE_MAX, opening).await;
        opened.unwrap_or_else(|_| Err(RefusalKind::UpstreamTimeout.into()))
    }

    async fn acknowledged(mut replies: Replies) -> Result<Self, Refusal> {
        while let Some(reply) = replies.next().await {
            match reply? {
                Message::Notification(note) if note.method() == method::LISTEN_ACKNOWLEDGED => {
                    return Ok(Self { replies, granted: Filter::read(note.params()) });
                }
                Message::Response(answer) if answer.is_error() => {
                    let code = answer.error_code().unwrap_or(codes::INTERNAL_ERROR);
                    return Err(Refusal::bad_message(code, "the server refused the subscription"));
                }
                _ => {}
            }
        }
        let detail = "the server did not acknowledge the subscription";
        Err(Refusal::new(RefusalKind::UpstreamProtocol).with_detail(detail))
    }
}

/// Whether a server that refuses a subscription like this has none: asking again is of no use.
pub fn is_unknown(refusal: &Refusal) -> bool {
    matches!(refusal.kind, RefusalKind::BadMessage { code: codes::METHOD_NOT_FOUND, .. })
}

/// The pauses between tries.
#[derive(Debug)]
pub struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(PAUSE_MIN)
    }
}

impl Pauses {
    /// The next one, if the last try has lasted for this long: what lasted was a good one.
    pub fn after(&mut self, lasted: Duration) -> Duration {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let pause = if lasted >= PAUSE_MAX { PAUSE_MIN } else { self.0 };
        self.0 = (pause * 2).min(PAUSE_MAX);
        pause + Duration::from_millis(number.wrapping_mul(379) % SPREAD_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_minute_and_begin_anew_after_what_lasted() {
        let mut pauses = Pauses::default();
        let mut next = |lasted| pauses.after(Duration::from_secs(lasted)).as_secs();
        for least in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = next(0);
            assert!((least..=least + 1).contains(&pause), "{pause} for {least}");
        }
        assert!(next(60) <= 2);
        assert!((2..=3).contains(&next(59)));
    }
}

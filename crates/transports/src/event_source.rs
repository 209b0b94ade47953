//! The event stream of an upstream, taken up again where it was cut.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderMap;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use shadowcat_pipeline::Refusal;
use shadowcat_protocol::sse;

use crate::counters::Counters;
use crate::http_client::Body;
use crate::names;
use crate::remote::{Remote, insert, media_type};

/// How often in a row a cut stream is taken up again without having brought anything.
const TRIES_MAX: u32 = 5;
/// How long the head of a stream may take on which the server may have nothing to say: many send it with the first
/// event. A connection that died meanwhile is noticed by its keep-alive.
pub(crate) const QUIET_HEAD_MAX: Duration = Duration::from_hours(1);
/// The longest wait before a try, whatever the server asks for.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// Reads the events of one stream.
pub(crate) struct EventSource {
    body: Option<Body>,
    decoder: sse::Decoder,
    last_id: Option<Box<str>>,
    retry: Option<Duration>,
    tries: u32,
}

impl EventSource {
    pub(crate) fn new(body: Body, event_bytes_max: usize) -> Self {
        Self {
            body: Some(body),
            decoder: sse::Decoder::new(event_bytes_max),
            last_id: None,
            retry: None,
            tries: 0,
        }
    }

    /// The next event that carries something; `Ok(None)` when the body has ended.
    ///
    /// # Cancel safety
    /// Cancel safe: bytes are taken only together with what they are decoded to.
    pub(crate) async fn next(&mut self, remote: &Remote) -> Result<Option<sse::Event>, Refusal> {
        std::future::poll_fn(|context| self.poll_next(remote, context)).await
    }

    /// The same as a poll.
    pub(crate) fn poll_next(
        &mut self,
        remote: &Remote,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<sse::Event>, Refusal>> {
        loop {
            while let Some(event) = self.decoder.next_event() {
                self.note(&event);
                if event.data.as_ref().is_some_and(|data| !data.is_empty()) {
                    return Poll::Ready(Ok(Some(event)));
                }
            }
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(None)) };
            match ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        let pushed = self.decoder.push(&data);
                        pushed.map_err(|error| {
                            remote.broken("the server sent an event over the limit").with_cause(error)
                        })?;
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(upstream = %remote.name, %error, "an event stream was cut");
                    self.body = None;
                }
                None => self.body = None,
            }
        }
    }

    /// Notes where the stream stands, and when to come back to it.
    fn note(&mut self, event: &sse::Event) {
        if let Some(id) = &event.id {
            self.last_id = (!id.is_empty()).then(|| id.clone());
        }
        self.retry = event.retry.map(|asked| asked.min(WAIT_MAX)).or(self.retry);
        self.tries = 0;
    }

    /// Whether the place in the stream is known, so that it can be taken up there.
    pub(crate) fn can_resume(&self) -> bool {
        self.last_id.is_some() && self.tries < TRIES_MAX
    }

    /// The wait the server asked for, if it did and nothing has failed since: it closed the stream on purpose.
    pub(crate) fn asked_wait(&self) -> Option<Duration> {
        self.retry.filter(|_| self.tries == 0)
    }

    /// Takes the stream up again behind the last event: one try, after its wait.
    ///
    /// # Errors
    /// The server's refusal; the caller decides whether to try again.
    pub(crate) async fn resume(
        &mut self,
        remote: &Remote,
        mut fields: HeaderMap,
        counters: &Counters,
    ) -> Result<(), Refusal> {
        tokio::time::sleep(self.wait(remote.reconnect_base)).await;
        self.tries += 1;
        if let Some(id) = &self.last_id {
            insert(&mut fields, &names::LAST_EVENT_ID, id);
        }
        let response = remote.get(fields, QUIET_HEAD_MAX).await?;
        if !response.status().is_success() || media_type(&response) != "text/event-stream" {
            let answer = remote.error_answer(response).await;
            return Err(remote.refused(answer));
        }
        self.decoder = sse::Decoder::new(remote.limits.message_bytes_max);
        self.body = Some(response.into_body());
        counters.resumed.add();
        Ok(())
    }

    /// 1, 2, 4, 8, 16 times the base, or what the server asked for, plus up to a quarter so that many clients of one
    /// server do not come back at the same moment.
    fn wait(&self, base: Duration) -> Duration {
        let wait = self.retry.unwrap_or(base).saturating_mul(2_u32.saturating_pow(self.tries)).min(WAIT_MAX);
        let jitter = getrandom::u32().unwrap_or_default() % 256;
        wait + wait / 1024 * jitter
    }

    /// Reads what is left of a stream whose last message was seen, so that its connection can be used again.
    pub(crate) async fn drain(mut self) {
        let Some(mut body) = self.body.take() else { return };
        while let Some(Ok(_)) = body.frame().await {}
    }

    /// Whether the end of the body was seen.
    pub(crate) fn is_drained(&mut self) -> bool {
        use futures_util::FutureExt as _;
        let Some(body) = &mut self.body else { return true };
        match body.frame().now_or_never() {
            Some(None | Some(Err(_))) => {
                self.body = None;
                true
            }
            Some(Some(Ok(frame))) => {
                let data: Option<Bytes> = frame.into_data().ok();
                data.is_none_or(|data| data.is_empty()) && self.is_drained()
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wait_is_longer_than_the_longest_whatever_the_server_asks_for() {
        let decoder = sse::Decoder::new(1024);
        let mut events = EventSource { body: None, decoder, last_id: None, retry: None, tries: 0 };
        events.decoder.push(format!("retry: {}\n\n", u64::MAX).as_bytes()).unwrap();
        let event = events.decoder.next_event().unwrap();
        events.note(&event);
        assert_eq!(events.asked_wait(), Some(WAIT_MAX));
        events.tries = 10;
        for base in [Duration::ZERO, Duration::MAX] {
            assert!(events.wait(base) <= WAIT_MAX * 5 / 4);
        }
        events.retry = None;
        assert!(events.wait(Duration::MAX) <= WAIT_MAX * 5 / 4);
    }
}

//! Ends what takes too long: every exchange has an idle limit, which each sign of life resets, and a total one, which
//! nothing does. A server that has asked its client something waits for a person, which is no silence of the server, and
//! neither is a life of which only the pulse of the exchange tells. The time for which a message of the exchange is held
//! here ([`shadowcat_pipeline::Waits`]) counts for neither limit: the idle one begins anew when the message is let go,
//! and the total one is put off by as long.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _};
use shadowcat_pipeline::{
    Direction, Envelope, Interceptor, Next, Origin, PeerId, Refusal, RefusalKind, Replies,
};
use shadowcat_protocol::{Message, method};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long an exchange may take.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Without a sign of life.
    pub idle: Duration,
    /// In all.
    pub total: Duration,
}

/// The interceptor that ends what takes too long.
#[derive(Debug)]
pub struct Deadline {
    settings: Settings,
    force: CancellationToken,
    asked: Asked,
}

impl Deadline {
    /// With these limits. `force` is the last deadline of all: the proxy ends, and so does every exchange.
    pub fn new(settings: Settings, force: CancellationToken) -> Self {
        Self { settings, force, asked: Asked::default() }
    }

    /// People answer what a server asks, and they take their time.
    fn limits(&self, envelope: &Envelope) -> Settings {
        match envelope.direction {
            Direction::ToServer => self.settings,
            Direction::ToClient => Settings { idle: self.settings.total, total: self.settings.total },
        }
    }
}

#[async_trait]
impl Interceptor for Deadline {
    fn name(&self) -> &'static str {
        "deadline"
    }

    // No `async fn`: that would hold the envelope a second time, in every exchange.
    fn intercept<'s, 'n, 'f>(
        &'s self,
        envelope: Envelope,
        next: Next<'n>,
    ) -> BoxFuture<'f, Result<Replies, Refusal>>
    where
        's: 'f,
        'n: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let origin = Arc::clone(&envelope.origin);
            let question = self.asked.question(&envelope);
            let limits = self.limits(&envelope);
            let end = Instant::now() + limits.total;
            // A subscription is meant to stay open, and to be silent.
            let stays = envelope.message.method() == Some(method::LISTEN);
            let stuck = Stuck::new(&envelope);
            // By reference: as a value it would be held twice in the future of every exchange.
            let dispatch = pin!(self.asked.in_time(next.run(envelope), origin.peer, limits.idle, end));
            let Some(dispatched) = self.force.run_until_cancelled(dispatch).await else {
                return Err(RefusalKind::ShuttingDown.into());
            };
            let replies = dispatched.unwrap_or_else(|| Err(stuck.refusal(limits.idle)))?;
            if stays || replies.is_whole() {
                return Ok(replies);
            }
            let head = replies.head();
            let (force, asked) = (self.force.clone(), self.asked.clone());
            let beats = origin.pulse.count();
            let timed = Timed {
                replies,
                patience: None,
                is_late: false,
                force,
                limits,
                end,
                origin,
                beats,
                spent: Duration::ZERO,
                asked,
                stuck,
                _question: question,
            };
            Ok(Replies::stream(timed).with_head(head))
        })
    }
}

/// Questions that servers have open, by whose client is asked.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<Mutex<HashMap<PeerId, usize>>>);

impl Asked {
    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a question for as long as it is held.
    fn question(&self, envelope: &Envelope) -> Option<Question> {
        let is_question =
            envelope.direction == Direction::ToClient && matches!(envelope.message, Message::Request(_));
        is_question.then(|| {
            let peer = envelope.origin.peer;
            *self.lock().entry(peer).or_default() += 1;
            Question { asked: self.clone(), peer }
        })
    }

    fn is_open(&self, peer: PeerId) -> bool {
        self.lock().contains_key(&peer)
    }

    /// What the work gives, unless it is silent for too long, or takes longer than until `end`.
    async fn in_time<T>(
        &self,
        work: impl Future<Output = T>,
        peer: PeerId,
        idle: Duration,
        end: Instant,
    ) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let limit = end.min(Instant::now() + idle);
            if let Ok(done) = timeout_at(limit, &mut work).await {
                return Some(done);
            }
            if limit == end || !self.is_open(peer) {
                return None;
            }
        }
    }
}

/// One open question.
struct Question {
    asked: Asked,
    peer: PeerId,
}

impl Drop for Question {
    fn drop(&mut self) {
        let mut asked = self.asked.lock();
        if let Some(open) = asked.get_mut(&self.peer) {
            *open -= 1;
            if *open == 0 {
                asked.remove(&self.peer);
            }
        }
    }
}

/// Names an exchange in the log when it is stuck.
#[derive(Clone)]
struct Stuck {
    exchange: shadowcat_pipeline::ExchangeId,
    method: Option<Box<str>>,
}

impl Stuck {
    fn new(envelope: &Envelope) -> Self {
        let method = match &envelope.message {
            Message::Request(request) => Some(request.method().into()),
            Message::Notification(_) | Message::Response(_) => None,
        };
        Self { exchange: envelope.origin.exchange, method }
    }

    fn refusal(&self, waited: Duration) -> Refusal {
        let method = self.method.as_deref().unwrap_or("a message");
        tracing::warn!(exchange = %self.exchange, method, ?waited, "stuck: ended");
        Refusal::new(RefusalKind::UpstreamTimeout)
            .with_detail(format!("no answer to {method} within {} s", waited.as_secs_f32()))
    }
}

struct Timed {
    replies: Replies,
    /// There once a reply had to be waited for: most are here with the head of their stream.
    patience: Option<Patience>,
    /// A reply has passed since the timer was set.
    is_late: bool,
    force: CancellationToken,
    limits: Settings,
    end: Instant,
    origin: Arc<Origin>,
    /// The beats of its pulse when the timer was set.
    beats: u64,
    /// How long it was held, then.
    spent: Duration,
    asked: Asked,
    stuck: Stuck,
    /// Open for as long as its answer may come.
    _question: Option<Question>,
}

/// What ends the wait for a reply.
struct Patience {
    timer: Pin<Box<Sleep>>,
    force: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Timed {
    /// The wait for the next reply, which begins where the last one has passed.
    fn patience(&mut self) -> Patience {
        let is_late = std::mem::take(&mut self.is_late);
        match self.patience.take() {
            Some(patience) if !is_late => patience,
            Some(mut patience) => {
                patience.timer.as_mut().reset(self.limit());
                patience
            }
            None => Patience {
                timer: Box::pin(sleep_until(self.limit())),
                force: Box::pin(self.force.clone().cancelled_owned()),
            },
        }
    }

    /// Until when a reply may be waited for from now on.
    fn limit(&self) -> Instant {
        self.end().min(Instant::now() + self.limits.idle)
    }

    /// Whether there was a sign of life, somebody is asked something, or it was held.
    fn lives(&mut self) -> bool {
        let (beats, spent) = (self.origin.pulse.count(), self.origin.waits.spent());
        let was_held = std::mem::replace(&mut self.spent, spent) != spent;
        let has_beaten = std::mem::replace(&mut self.beats, beats) != beats;
        has_beaten || was_held || self.asked.is_open(self.origin.peer)
    }

    /// The end of all it may take. While it is held, that is not known.
    fn end(&self) -> Instant {
        self.end + self.origin.waits.spent()
    }
}

impl Stream for Timed {
    type Item = Result<Message, Refusal>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(reply) = self.replies.poll_next_unpin(context) {
            self.is_late = true;
            return Poll::Ready(reply);
        }
        let mut patience = self.patience();
        if patience.force.as_mut().poll(context).is_ready() {
            self.replies = Replies::none();
            return Poll::Ready(Some(Err(RefusalKind::ShuttingDown.into())));
        }
        while patience.timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let end = self.end();
            if now < end && self.lives() {
                patience.timer.as_mut().reset(self.limit());
                continue;
            }
            let waited = if now >= end { self.limits.total } else { self.limits.idle };
            // Dropped here, the upstream learns at once that nobody waits.
            self.replies = Replies::none();
            return Poll::Ready(Some(Err(self.stuck.refusal(waited))));
        }
        self.patience = Some(patience);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowcat_pipeline::{Chain, Origin, PeerId, Service, Transport, Wait};
    use shadowcat_protocol::{Id, Notification, Request, Response, Revision};
    use std::sync::Arc;

    const IDLE: Duration = Duration::from_secs(2);
    const TOTAL: Duration = Duration::from_secs(10);

    /// Sends `signs` notifications `every` so often, then nothing for ever.
    struct Slow {
        every: Duration,
        signs: usize,
    }

    #[async_trait]
    impl Service for Slow {
        async fn handle(&self, _: Envelope) -> Result<Replies, Refusal> {
            let every = self.every;
            let signs = futures_util::stream::iter(0..self.signs).then(move |_| async move {
                tokio::time::sleep(every).await;
                Ok(Message::Notification(Notification::new(method::PROGRESS, None)))
            });
            Ok(Replies::stream(signs.chain(futures_util::stream::pending())))
        }
    }

    async fn ended_after(end: impl Service + 'static) -> (usize, Duration) {
        let chain = Chain::new(vec![Arc::new(Deadline::new(
            Settings { idle: IDLE, total: TOTAL },
            CancellationToken::new(),
        ))]);
        let origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2025_11_25);
        let request = Request::new(&Id::from_u64(1), "tools/call", None);
        let begun = Instant::now();
        let envelope = Envelope::to_server(Message::Request(request), Arc::new(origin));
        let mut replies = match chain.run(envelope, Arc::new(end)).await {
            Ok(replies) => replies,
            Err(refusal) => {
                assert_eq!(refusal.kind, RefusalKind::UpstreamTimeout);
                return (0, begun.elapsed());
            }
        };
        let mut seen = 0;
        loop {
            match replies.next().await.unwrap() {
                Ok(_) => seen += 1,
                Err(refusal) => {
                    assert_eq!(refusal.kind, RefusalKind::UpstreamTimeout);
                    return (seen, begun.elapsed());
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_an_exchange_at_the_idle_limit() {
        assert_eq!(ended_after(Slow { every: IDLE, signs: 0 }).await, (0, IDLE));
    }

    #[tokio::test(start_paused = true)]
    async fn progress_resets_the_idle_limit_and_not_the_total() {
        let (seen, took) = ended_after(Slow { every: Duration::from_millis(500), signs: usize::MAX }).await;
        assert_eq!(took, TOTAL);
        assert!(seen >= 19, "{seen}");
        let (seen, took) = ended_after(Slow { every: Duration::from_millis(500), signs: 3 }).await;
        assert_eq!((seen, took), (3, Duration::from_millis(1500) + IDLE));
    }

    /// Works in silence, as only the pulse shows, then answers no more.
    struct Works(u32);

    #[async_trait]
    impl Service for Works {
        async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
            let beats = self.0;
            Ok(Replies::stream(futures_util::stream::once(async move {
                for _ in 0..beats {
                    tokio::time::sleep(IDLE / 2).await;
                    envelope.origin.pulse.beat();
                }
                std::future::pending().await
            })))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pulse_resets_the_idle_limit_and_not_the_total() {
        let (seen, took) = ended_after(Works(5)).await;
        assert_eq!((seen, took), (0, IDLE * 4), "the limit behind the last look at the pulse");
        assert_eq!(ended_after(Works(u32::MAX)).await, (0, TOTAL));
    }

    struct Hangs;

    #[async_trait]
    impl Service for Hangs {
        async fn handle(&self, _: Envelope) -> Result<Replies, Refusal> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_the_request_and_hangs_is_ended_too() {
        assert_eq!(ended_after(Hangs).await, (0, IDLE));
    }

    struct Whole;

    #[async_trait]
    impl Service for Whole {
        async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
            Ok(Replies::one(Message::Response(Response::result(envelope.request_id().unwrap(), "{}"))))
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_there_passes_as_it_is() {
        let chain = Chain::new(vec![Arc::new(Deadline::new(
            Settings { idle: IDLE, total: TOTAL },
            CancellationToken::new(),
        ))]);
        let origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2025_11_25);
        let request = Request::new(&Id::from_u64(1), "ping", None);
        let envelope = Envelope::to_server(Message::Request(request), Arc::new(origin));
        assert!(chain.run(envelope, Arc::new(Whole)).await.unwrap().is_whole());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_not_silent_while_its_client_is_asked() {
        let chain = Chain::new(vec![Arc::new(Deadline::new(
            Settings { idle: IDLE, total: TOTAL },
            CancellationToken::new(),
        ))]);
        let origin = Arc::new(Origin::new(PeerId::next(), Transport::Http, Revision::V2025_11_25));
        let request = |method| Message::Request(Request::new(&Id::from_u64(1), method, None));
        let begun = Instant::now();
        let question = Envelope::to_client(request("elicitation/create"), Arc::clone(&origin));
        let mut answer = chain.run(question, Arc::new(Slow { every: IDLE * 5 / 2, signs: 1 })).await.unwrap();
        let asked = async {
            answer.next().await.unwrap().unwrap();
            drop(answer);
        };
        let call = async {
            let call = Envelope::to_server(request("tools/call"), Arc::clone(&origin));
            let mut replies = chain.run(call, Arc::new(Slow { every: IDLE, signs: 0 })).await.unwrap();
            replies.next().await.unwrap().unwrap_err();
            begun.elapsed()
        };
        let ((), took) = tokio::join!(asked, call);
        assert_eq!(took, IDLE * 3, "one idle limit behind the last in which the client was asked");
        let other = Envelope::to_server(
            request("tools/call"),
            Arc::new(Origin::new(PeerId::next(), Transport::Http, Revision::V2025_11_25)),
        );
        let mut replies = chain.run(other, Arc::new(Slow { every: IDLE, signs: 0 })).await.unwrap();
        let begun = Instant::now();
        replies.next().await.unwrap().unwrap_err();
        assert_eq!(begun.elapsed(), IDLE, "another client's question is no excuse");
    }

    /// Is held for `held` before it answers no more.
    struct IsHeld(Duration);

    #[async_trait]
    impl Service for IsHeld {
        async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
            let held = self.0;
            Ok(Replies::stream(futures_util::stream::once(async move {
                let wait = Wait::begin(&envelope.origin);
                tokio::time::sleep(held).await;
                drop(wait);
                std::future::pending().await
            })))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_for_which_it_is_held_counts_for_no_limit() {
        let (_, took) = ended_after(IsHeld(TOTAL * 3)).await;
        assert_eq!(took, TOTAL * 3 + IDLE, "the idle limit begins anew");
        let (_, took) = ended_after(IsHeld(TOTAL * 3 + IDLE / 2)).await;
        assert_eq!(took, TOTAL * 3 + IDLE * 2, "at the latest one look later");
    }
}

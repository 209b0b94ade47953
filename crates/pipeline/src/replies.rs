//! What comes back for one envelope, in order.

use std::any::Any;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_core::Stream;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use shadowcat_protocol::{Message, Response};

use crate::Refusal;

type Reply = Result<Message, Refusal>;

/// The form an upstream gives its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// One message, there at once.
    #[default]
    Whole,
    /// An event stream, so the client's stream may be opened before the first message.
    Stream,
    /// None: messages come on a pipe, and the client's side is free to choose.
    Free,
}

/// What is known of the answer before its first message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The form the upstream gives it.
    pub form: Form,
    /// The HTTP status the upstream gave its answer, where it had one other than 200.
    pub status: Option<u16>,
}

/// The messages that answer one envelope, in order: related notifications, then the response. Notifications earn an
/// empty one. A [`Refusal`] inside ends it.
///
/// # Cancel safety
/// [`Replies::next`] is cancel safe. Dropping `Replies` before its end cancels the exchange upstream.
pub struct Replies {
    head: Head,
    body: Body,
    held: Vec<Box<dyn Any + Send>>,
}

enum Body {
    /// At most one message, without a stream's allocation: nearly every exchange.
    One(Option<Reply>),
    /// A stream, and what each of its messages passes on its way out. A list, and not a stream around a stream for
    /// each step: the path is walked for every message.
    Stream(BoxStream<'static, Reply>, Vec<Change>),
}

type Change = Box<dyn FnMut(Reply) -> Reply + Send>;

/// Whoever lets replies pass and may take its time over each: it can hold one, put others before, behind or in place of
/// it, leave it out, and end them early.
#[async_trait]
pub trait Gate: Send + 'static {
    /// The next reply that is to pass, drawn from those `behind`; `None` ends them. Nothing is drawn but by the gate, one
    /// reply at a time, so that a slow one holds up its own server and keeps nothing.
    async fn next(&mut self, behind: &mut Replies) -> Option<Result<Message, Refusal>>;
}

impl Replies {
    /// No reply: the envelope was a notification or a response.
    pub fn none() -> Self {
        Self::from_body(Body::One(None))
    }

    /// Exactly one message.
    pub fn one(message: Message) -> Self {
        Self::from_body(Body::One(Some(Ok(message))))
    }

    /// Messages as they come.
    pub fn stream(stream: impl Stream<Item = Reply> + Send + 'static) -> Self {
        Self::from_body(Body::Stream(stream.boxed(), Vec::new()))
    }

    fn from_body(body: Body) -> Self {
        Self { head: Head::default(), body, held: Vec::new() }
    }

    /// The same replies with this head.
    #[must_use]
    pub fn with_head(mut self, head: Head) -> Self {
        self.head = head;
        self
    }

    /// What is known before the first message.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Whether all there will be is here already: waiting for it cannot take long.
    pub fn is_whole(&self) -> bool {
        matches!(self.body, Body::One(_))
    }

    /// The one reply that there will be, if any, where it is here already.
    pub fn whole(&self) -> Option<Option<&Result<Message, Refusal>>> {
        match &self.body {
            Body::One(reply) => Some(reply.as_ref()),
            Body::Stream(..) => None,
        }
    }

    /// Keeps `guard` until the replies have ended or are dropped: "done" is the end of the replies.
    #[must_use]
    pub fn hold(mut self, guard: impl Any + Send) -> Self {
        self.held.push(Box::new(guard));
        self
    }

    /// Passes every reply through `change`.
    #[must_use]
    pub fn map(mut self, change: impl FnMut(Reply) -> Reply + Send + 'static) -> Self {
        match &mut self.body {
            Body::One(reply) => *reply = reply.take().map(change),
            Body::Stream(_, changes) => changes.push(Box::new(change)),
        }
        self
    }

    /// Shows every reply to `look`, when it passes.
    #[must_use]
    pub fn inspect(self, mut look: impl FnMut(&Reply) + Send + 'static) -> Self {
        self.map(move |reply| {
            look(&reply);
            reply
        })
    }

    /// Lets the replies pass through a gate. The head is known as before; what is held is let go at the end of what the
    /// gate gives, or when that is dropped, which cancels the exchange as ever. A reply that is here already passes at once,
    /// and is no stream, unless the gate takes its time over it; nothing is waited for.
    pub async fn through(mut self, gate: impl Gate) -> Self {
        let (head, is_whole) = (self.head, self.is_whole());
        let guards = if is_whole { std::mem::take(&mut self.held) } else { Vec::new() };
        // In a box, because the state of such a stream is moved for each reply.
        let state = Box::new((gate, self));
        let passing = futures_util::stream::unfold(state, |mut state| async {
            let (gate, behind) = &mut *state;
            let reply = gate.next(behind).await?;
            Some((reply, state))
        })
        .boxed();
        let body = if is_whole { passed(passing).await } else { Body::Stream(passing, Vec::new()) };
        Self { head, body, held: guards }
    }

    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> Option<Reply> {
        std::future::poll_fn(|context| self.poll_reply(context)).await
    }

    /// The response, past whatever comes before it; none if there is none.
    ///
    /// # Errors
    /// With the refusal that came instead.
    pub async fn response(&mut self) -> Result<Option<Response>, Refusal> {
        while let Some(reply) = self.next().await {
            if let Message::Response(response) = reply? {
                return Ok(Some(response));
            }
        }
        Ok(None)
    }

    fn poll_reply(&mut self, context: &mut Context<'_>) -> Poll<Option<Reply>> {
        let next = match &mut self.body {
            Body::One(reply) => reply.take(),
            Body::Stream(stream, changes) => match stream.poll_next_unpin(context) {
                Poll::Ready(next) => {
                    next.map(|reply| changes.iter_mut().fold(reply, |reply, change| change(reply)))
                }
                Poll::Pending => return Poll::Pending,
            },
        };
        if !matches!(next, Some(Ok(_))) {
            self.finish();
        }
        Poll::Ready(next)
    }

    /// The end: whatever was held is let go now, even if the caller keeps the empty replies.
    fn finish(&mut self) {
        self.body = Body::One(None);
        self.held.clear();
    }
}

/// What passes of one message: still one, if that is plain by now.
async fn passed(mut passing: BoxStream<'static, Reply>) -> Body {
    let mut passed = Vec::with_capacity(1);
    while passed.len() < 2 {
        match std::future::poll_fn(|context| Poll::Ready(passing.poll_next_unpin(context))).await {
            Poll::Ready(None) => return Body::One(passed.pop()),
            Poll::Ready(reply) => passed.extend(reply),
            Poll::Pending => break,
        }
    }
    Body::Stream(futures_util::stream::iter(passed).chain(passing).boxed(), Vec::new())
}

impl Stream for Replies {
    type Item = Reply;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Reply>> {
        self.poll_reply(context)
    }
}

impl std::fmt::Debug for Replies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replies").field("head", &self.head).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RefusalKind;
    use shadowcat_protocol::{Id, Notification};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn note(method: &str) -> Message {
        Message::Notification(Notification::new(method, None))
    }

    #[tokio::test]
    async fn what_is_held_is_let_go_at_the_end() {
        let guard = Arc::new(());
        let mut replies = Replies::one(note("a")).hold(Arc::clone(&guard));
        assert!(replies.next().await.is_some());
        assert_eq!(Arc::strong_count(&guard), 2, "the exchange is not over before its end was seen");
        assert!(replies.next().await.is_none());
        assert_eq!(Arc::strong_count(&guard), 1);
    }

    #[tokio::test]
    async fn a_refusal_ends_the_replies() {
        let stream = futures_util::stream::iter([Err(RefusalKind::UpstreamTimeout.into()), Ok(note("late"))]);
        let mut replies = Replies::stream(stream);
        assert!(replies.next().await.unwrap().is_err());
        assert!(replies.next().await.is_none());
    }

    #[tokio::test]
    async fn the_response_is_found_behind_what_comes_before_it() {
        let answer = Response::result(&Id::from_u64(1), "{}");
        let stream = futures_util::stream::iter([Ok(note("a")), Ok(Message::Response(answer.clone()))]);
        assert_eq!(Replies::stream(stream).response().await.unwrap().unwrap().text(), answer.text());
        assert!(Replies::one(note("a")).response().await.unwrap().is_none());
        let refused = futures_util::stream::iter([Err(RefusalKind::UpstreamTimeout.into())]);
        assert!(Replies::stream(refused).response().await.is_err());
    }

    #[tokio::test]
    async fn every_reply_passes_through_map_in_order() {
        let stream = futures_util::stream::iter([Ok(note("a")), Ok(note("b"))]);
        let mut seen = Vec::new();
        let mut replies = Replies::stream(stream).map(|reply| reply.map(|_| note("c")));
        while let Some(Ok(message)) = replies.next().await {
            seen.push(message.method().map(str::to_owned));
        }
        assert_eq!(seen, [Some("c".to_owned()), Some("c".to_owned())]);
    }

    /// Leaves out `out`, says `before` ahead of `late` and lets that wait, and ends at `end`.
    #[derive(Default)]
    struct Keeper {
        waiting: Option<Message>,
    }

    #[async_trait]
    impl Gate for Keeper {
        async fn next(&mut self, behind: &mut Replies) -> Option<Reply> {
            if let Some(waiting) = self.waiting.take() {
                tokio::time::sleep(Duration::from_secs(1)).await;
                return Some(Ok(waiting));
            }
            loop {
                let message = behind.next().await?.unwrap();
                match message.method() {
                    Some("out") => {}
                    Some("late") => {
                        self.waiting = Some(message);
                        return Some(Ok(note("before")));
                    }
                    Some("end") => return None,
                    _ => return Some(Ok(message)),
                }
            }
        }
    }

    fn notes(methods: &'static [&str]) -> Replies {
        Replies::stream(futures_util::stream::iter(methods.iter().map(|method| Ok(note(method)))))
    }

    #[tokio::test(start_paused = true)]
    async fn a_gate_may_hold_add_leave_out_and_end() {
        let head = Head { form: Form::Stream, status: Some(201) };
        let guard = Arc::new(());
        let replies = notes(&["a", "out", "late", "b", "end", "never"]).with_head(head);
        let mut replies = replies.hold(Arc::clone(&guard)).through(Keeper::default()).await;
        assert_eq!(replies.head(), head);
        let mut seen = Vec::new();
        while let Some(reply) = replies.next().await {
            seen.push(reply.unwrap().method().unwrap().to_owned());
        }
        assert_eq!(seen, ["a", "before", "late", "b"]);
        assert_eq!(Arc::strong_count(&guard), 1, "what was held is let go at the end that the gate has made");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_in_a_gate_goes_on_where_it_was_interrupted_and_ends_when_the_replies_are_dropped() {
        let guard = Arc::new(());
        let mut replies = notes(&["late"]).hold(Arc::clone(&guard)).through(Keeper::default()).await;
        assert_eq!(replies.next().await.unwrap().unwrap().method(), Some("before"));
        let half = Duration::from_millis(600);
        assert!(tokio::time::timeout(half, replies.next()).await.is_err());
        assert!(tokio::time::timeout(half, replies.next()).await.is_ok(), "the wait has not begun again");
        drop(replies);
        let mut replies = notes(&["late"]).hold(Arc::clone(&guard)).through(Keeper::default()).await;
        replies.next().await.unwrap().unwrap();
        assert!(tokio::time::timeout(half, replies.next()).await.is_err());
        drop(replies);
        assert_eq!(Arc::strong_count(&guard), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_here_already_stays_whole_unless_the_gate_takes_its_time() {
        let head = Head { form: Form::Whole, status: Some(201) };
        let through = |name| Replies::one(note(name)).with_head(head).through(Keeper::default());
        let guard = Arc::new(());
        let mut at_once =
            Replies::one(note("a")).with_head(head).hold(Arc::clone(&guard)).through(Keeper::default()).await;
        assert!(at_once.is_whole() && at_once.head() == head);
        assert!(at_once.next().await.is_some());
        assert_eq!(Arc::strong_count(&guard), 2, "the exchange is not over before its end was seen");
        assert!(at_once.next().await.is_none());
        assert_eq!(Arc::strong_count(&guard), 1);
        assert!(through("out").await.is_whole() && through("end").await.next().await.is_none());
        let mut slow = through("late").await;
        assert!(!slow.is_whole() && slow.head() == head);
        for name in ["before", "late"] {
            assert_eq!(slow.next().await.unwrap().unwrap().method(), Some(name));
        }
        assert!(slow.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_drawn_that_was_not_asked_for() {
        let drawn = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&drawn);
        let endless = futures_util::stream::repeat_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(note("late"))
        });
        let replies = Replies::stream(endless).through(Keeper::default()).await;
        let mut replies = replies.through(Keeper::default()).await;
        for _ in 0..10 {
            assert!(replies.next().await.is_some());
        }
        assert!(drawn.load(Ordering::Relaxed) <= 10);
    }
}

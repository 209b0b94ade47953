//! What waits steps aside: those behind it in the order of messages go ahead, and its client is told that it waits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Direction, Envelope, Form, Head, Origin, Refusal, Replies};
use shadowcat_protocol::{Message, Notification, json, method};
use tokio::time::{Sleep, sleep};

/// How often a client that wants to hear of progress is told that its request is held.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Between what we tell and what the server tells: a server that begins at 1 goes on upwards.
const TELL_STEP: f64 = 1e-6;

type Work = BoxFuture<'static, Result<Replies, Refusal>>;

/// What `work` gives. As soon as it waits because its message is held this resolves all the same: a request to replies
/// that begin with the wait, so that dropping them ends it; anything else goes on as a task, as nobody looks at what
/// comes of it.
pub(super) async fn go_aside(
    mut work: Work,
    origin: &Origin,
    is_request: bool,
    tasks: &Tasks,
) -> Result<Replies, Refusal> {
    let first = std::future::poll_fn(|context| match work.poll_unpin(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if origin.waits.is_open() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    match first.await {
        Some(done) => done,
        None if is_request => Ok(held(work)),
        None => {
            tasks.spawn_until_stop(async move {
                if let Err(refusal) = work.await {
                    tracing::debug!(%refusal, "a held message was not passed on");
                }
            });
            Ok(Replies::none())
        }
    }
}

/// Tells the client of a request that it waits.
pub(super) struct Teller {
    origin: Arc<Origin>,
    /// The progress token that the client gave.
    token: Box<str>,
}

impl Teller {
    /// None if the client does not want to hear of it, or hears it from somebody else.
    pub(super) fn of(envelope: &Envelope) -> Option<Self> {
        let Message::Request(request) = &envelope.message else { return None };
        // What a server asks belongs to a call whose client hears of that; the first thing a server is told is the answer.
        if envelope.direction != Direction::ToServer {
            return None;
        }
        let token = request.progress_token()?;
        let origin = &envelope.origin;
        origin.waits.is_mine_to_tell().then(|| Self { origin: Arc::clone(origin), token: token.into() })
    }

    /// The same replies with word of ours among them while they wait.
    pub(super) fn told(self, replies: Replies) -> Replies {
        if replies.is_whole() {
            return replies;
        }
        let Self { origin, token } = self;
        let head = replies.head();
        Replies::stream(Told { replies, origin, token, last: 0.0, timer: None }).with_head(head)
    }
}

/// Replies that begin with a wait. Their form is a stream, because only a stream can be kept alive.
fn held(work: Work) -> Replies {
    let begun = futures_util::stream::once(work).flat_map(|done| match done {
        Ok(replies) => replies.left_stream(),
        Err(refusal) => futures_util::stream::iter([Err(refusal)]).right_stream(),
    });
    Replies::stream(begun).with_head(Head { form: Form::Stream, status: None })
}

/// Replies with progress of ours among them while their exchange waits.
struct Told {
    replies: Replies,
    origin: Arc<Origin>,
    token: Box<str>,
    /// Progress never goes back (2025-11-25 progress).
    last: f64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Told {
    fn note(&mut self) -> Message {
        self.last += TELL_STEP;
        let (token, progress) = (&self.token, self.last);
        let words = "held by the proxy until somebody decides";
        let params = format!(r#"{{"progressToken":{token},"progress":{progress},"message":"{words}"}}"#);
        Message::Notification(Notification::new(method::PROGRESS, Some(&params)))
    }

    fn hear(&mut self, message: &Message) {
        let Message::Notification(note) = message else { return };
        if note.method() != method::PROGRESS {
            return;
        }
        let progress = note.params().and_then(|params| json::get(params, &["progress"]));
        let progress =
            progress.and_then(|raw| raw.parse().ok()).filter(|progress: &f64| progress.is_finite());
        self.last = progress.map_or(self.last, |progress| self.last.max(progress));
    }
}

impl Stream for Told {
    type Item = Result<Message, Refusal>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(reply) = self.replies.poll_next_unpin(context) {
            self.timer = None;
            if let Some(Ok(message)) = &reply {
                self.hear(message);
            }
            return Poll::Ready(reply);
        }
        if !self.origin.waits.is_open() {
            self.timer = None;
            return Poll::Pending;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(TELL_EVERY)));
        if timer.poll_unpin(context).is_pending() {
            return Poll::Pending;
        }
        self.timer = None;
        let note = self.note();
        // Asked again at once, so that the timer is set anew.
        context.waker().wake_by_ref();
        Poll::Ready(Some(Ok(note)))
    }
}

//! A scene as it is played for one client: what the server said, at its time, and the client's answers waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Back, ExchangeId, Form, Head, Refusal, Replies, UpstreamSide};
use shadowcat_playback::Speed;
use shadowcat_playback::player::{Act, Live, Player, Question, Scene, Step};
use shadowcat_protocol::{Id, Message};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Things that the server does of its own accord at one time, for one client.
const ASIDES_MAX: usize = 256;
/// What follows a notification keeps this distance, where it did on the tape: the TypeScript SDK drops progress that comes
/// in one piece with the answer.
const BREATH: Duration = Duration::from_millis(2);

/// What everything that is played for one connection stands on.
pub(super) struct Stage {
    pub(super) name: Arc<str>,
    pub(super) player: Arc<Player>,
    pub(super) speed: Speed,
    pub(super) back: Arc<dyn Back>,
    pub(super) tasks: Tasks,
    /// Numbers the questions of this connection.
    pub(super) asked: AtomicU64,
    pub(super) asides: Asides,
}

/// The room for what is played beside the calls.
pub(super) struct Asides(Arc<Semaphore>);

impl Default for Asides {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ASIDES_MAX)))
    }
}

impl Stage {
    /// Plays what the server did of its own accord.
    pub(super) fn aside(this: &Arc<Self>, steps: Arc<[Step]>, side: UpstreamSide) {
        let Ok(room) = Arc::clone(&this.asides.0).try_acquire_owned() else {
            tracing::warn!(upstream = %this.name, "too much is played at once: what the server did after a call is left out");
            return;
        };
        let stage = Arc::clone(this);
        this.tasks.spawn_until_stop(async move {
            let _room = room;
            let mut cast = Cast { stage, side, exchange: None, open: Vec::new(), has_spoken: false };
            for step in steps.iter() {
                cast.play(step).await;
            }
        });
    }
}

/// Who says what is played, and what they have asked.
struct Cast {
    stage: Arc<Stage>,
    side: UpstreamSide,
    /// The exchange in whose course it is played.
    exchange: Option<ExchangeId>,
    /// Questions by their number, until they are answered.
    open: Vec<Option<(Question, Replies)>>,
    /// The last thing was a notification in the reply of a call.
    has_spoken: bool,
}

impl Cast {
    /// Plays what goes another way than into the replies of a call.
    async fn play(&mut self, step: &Step) {
        let breath = if std::mem::take(&mut self.has_spoken) { step.gap.min(BREATH) } else { Duration::ZERO };
        let gap = self.stage.speed.scaled(step.gap).max(breath);
        // An answer of the client comes when it comes.
        if !gap.is_zero() && !matches!(step.act, Act::Answered(_)) {
            tokio::time::sleep(gap).await;
        }
        match &step.act {
            Act::Tell(note) => {
                let message = Message::Notification(note.clone());
                if let Err(refusal) = self.stage.back.deliver(message, None, &self.side).await {
                    tracing::debug!(upstream = %self.side.name, %refusal, "a notification was not delivered");
                }
            }
            Act::Ask(question) => self.ask(question).await,
            Act::Answered(number) => self.hear(*number).await,
            Act::Reply(_) | Act::Answer(_) | Act::Silence => {}
        }
    }

    async fn ask(&mut self, question: &Question) {
        let id = Id::from_u64(self.stage.asked.fetch_add(1, Ordering::Relaxed) + 1);
        let message = Message::Request(question.request.with_ids(&id, None));
        let delivered = self.stage.back.deliver(message, self.exchange, &self.side).await;
        self.open.push(match delivered {
            Ok(replies) => Some((question.clone(), replies)),
            Err(refusal) => {
                tracing::warn!(upstream = %self.side.name, %refusal, "a request of the server was not delivered");
                None
            }
        });
    }

    /// Waits for the answer to a question, which may be another than on the tape.
    async fn hear(&mut self, number: usize) {
        let Some((question, mut replies)) = self.open.get_mut(number).and_then(Option::take) else { return };
        if let Ok(Some(answer)) = replies.response().await {
            self.stage.player.heard(&question, &answer);
        }
    }
}

/// A call that is being played.
pub(super) struct Performance {
    cast: Cast,
    scene: Arc<Scene>,
    live: Live,
    at: usize,
    cancelled: CancellationToken,
}

impl Performance {
    pub(super) fn new(
        stage: Arc<Stage>,
        scene: Arc<Scene>,
        live: Live,
        exchange: ExchangeId,
        side: UpstreamSide,
        cancelled: CancellationToken,
    ) -> Self {
        let cast = Cast { stage, side, exchange: Some(exchange), open: Vec::new(), has_spoken: false };
        Self { cast, scene, live, at: 0, cancelled }
    }

    /// What the client of this call hears.
    pub(super) fn replies(self) -> Replies {
        let cancelled = self.cancelled.clone().cancelled_owned();
        let said = futures_util::stream::unfold(self, |mut this| async move {
            this.next().await.map(|message| (Ok::<_, Refusal>(message), this))
        });
        let head = Head { form: Form::Free, status: None };
        Replies::stream(futures_util::StreamExt::take_until(said, cancelled)).with_head(head)
    }

    async fn next(&mut self) -> Option<Message> {
        let scene = Arc::clone(&self.scene);
        while let Some(step) = scene.steps.get(self.at) {
            self.at += 1;
            self.cast.play(step).await;
            match &step.act {
                Act::Reply(note) => {
                    if let Some(note) = self.live.reply(note) {
                        self.cast.has_spoken = true;
                        return Some(Message::Notification(note));
                    }
                }
                Act::Answer(answer) => {
                    if !scene.after.is_empty() {
                        Stage::aside(&self.cast.stage, Arc::clone(&scene.after), self.cast.side.clone());
                    }
                    return Some(Message::Response(self.live.answer(answer)));
                }
                Act::Silence => std::future::pending().await,
                Act::Tell(_) | Act::Ask(_) | Act::Answered(_) => {}
            }
        }
        None
    }
}

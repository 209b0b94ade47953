//! What is common to all that decide over each message of an exchange, one by one: the message itself, and then each of its
//! replies in its turn. Who decides, and by what, is the business of a [`Judge`].
//!
//! | file | holds |
//! |---|---|
//! | `aside.rs` | what waits lets those behind it go ahead |
//! | `scope.rs` | results that are changed are told as for their reader only |
//! | `replies.rs` | the gates that replies pass |
//! | `withdrawn.rs` | who waits here, and learns that nobody waits for him |

mod aside;
mod replies;
mod scope;
mod withdrawn;

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::{BoxFuture, Either, ready};
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Direction, Envelope, Next, Origin, Principal, Refusal, Replies, Rest};
use shadowcat_protocol::caching::Cacheable;
use shadowcat_protocol::{Message, Request};
use shadowcat_rules::{Facts, Speech, World};

use aside::{Teller, go_aside};
use replies::{Judged, Silent};
use scope::Scoped;
pub(crate) use withdrawn::{Waiter, Waiting, hear, withdraws};

/// Decides over the messages of one exchange. It is in a box, because it goes from hand to hand.
pub(crate) trait Judge: Send + Sync + 'static {
    /// What is found of a message that is to be judged.
    type Found: Send + 'static;

    /// Looks at a message, at once; none if it goes on as it is, which is what becomes of nearly every one.
    fn look(&self, message: &Message, direction: Direction) -> Option<Self::Found>;

    /// What is to become of a message of which this was found; what takes time is waited for.
    fn judge(
        &self,
        message: Message,
        direction: Direction,
        found: Self::Found,
    ) -> impl Future<Output = Fate> + Send;

    /// Whether anything that comes back for this request could be of concern.
    fn concerns_replies(&self, request: &Request, direction: Direction) -> bool;

    /// Whether what comes back for such a request may differ by who asks, because something is changed on its way.
    fn may_change(&self, what: Cacheable) -> bool;

    /// From here on messages are the replies to this request.
    fn asks(&mut self, request: Request);

    /// The wait of whoever began the exchange.
    fn waiter(&self) -> &Waiter;
}

/// What is to become of a message.
pub(crate) enum Fate {
    GoesOn(Message, Changed),
    Refused(Refusal),
    /// This takes its place, or that of its answer.
    Answered(Message),
    /// It does not go on.
    Gone,
    /// Nor does anything else of its exchange.
    Silent,
    /// Nobody waits for it.
    Withdrawn,
}

/// What was changed.
#[derive(Default)]
pub(crate) struct Changed {
    /// Anything of the message itself.
    pub(crate) is_any: bool,
    /// Its headers, if they were changed.
    pub(crate) headers: Option<Vec<(Box<str>, Box<str>)>>,
}

/// Judges a message, and what comes back for it.
pub(crate) async fn pass<J: Judge>(
    judge: Box<J>,
    envelope: Envelope,
    next: Next<'_>,
) -> Result<Replies, Refusal> {
    match Way::of(judge, envelope, next) {
        Way::Open(back, dispatched) => Ok(back.judged(dispatched.await?, false).await),
        Way::Judged(work) => work.await,
    }
}

/// The same for a judge that may hold messages for long: those behind one that is held go ahead meanwhile, and who asked
/// is told from time to time that it waits; `tasks` take what nobody waits for.
pub(crate) fn pass_aside<J: Judge>(
    judge: Box<J>,
    envelope: Envelope,
    next: Next<'_>,
    tasks: &Tasks,
) -> impl Future<Output = Result<Replies, Refusal>> + Send {
    let teller = Teller::of(&envelope);
    let (origin, is_request) = (Arc::clone(&envelope.origin), envelope.request_id().is_some());
    // Not in the future, which would hold the envelope once more.
    let way = Way::of(judge, envelope, next);
    async move {
        let replies = match way {
            Way::Open(back, dispatched) => back.judged(dispatched.await?, false).await,
            Way::Judged(work) => go_aside(work, &origin, is_request, tasks).await?,
        };
        Ok(match teller {
            Some(teller) => teller.told(replies),
            None => replies,
        })
    }
}

type Dispatched<'n> = BoxFuture<'n, Result<Replies, Refusal>>;

/// The way of a message.
enum Way<'n, J> {
    /// It goes on as it is.
    Open(Back<J>, Dispatched<'n>),
    /// Something was found of it.
    Judged(Dispatched<'static>),
}

impl<'n, J: Judge> Way<'n, J> {
    fn of(judge: Box<J>, envelope: Envelope, next: Next<'n>) -> Self {
        match judge.look(&envelope.message, envelope.direction) {
            None => Self::Open(Back::of(judge, &envelope), next.run(envelope)),
            Some(found) => Self::Judged(Box::pin(judged(judge, envelope, found, next.keep()))),
        }
    }
}

/// The way of a message of which something was found.
async fn judged<J: Judge>(
    judge: Box<J>,
    envelope: Envelope,
    found: J::Found,
    rest: Rest,
) -> Result<Replies, Refusal> {
    let came = envelope.clone();
    let Envelope { message, direction, origin, headers, is_changed } = envelope;
    let (message, changed) = match judge.judge(message, direction, found).await {
        Fate::GoesOn(message, changed) => (message, changed),
        Fate::Refused(refusal) => return Err(refusal),
        Fate::Answered(message) => return Ok(Replies::one(message)),
        // It has its place in the order of messages: those behind it are not held up.
        Fate::Silent | Fate::Gone if came.request_id().is_some() => {
            return Ok(Replies::none().through(Silent::new(judge)).await);
        }
        Fate::Silent | Fate::Gone | Fate::Withdrawn => return Ok(Replies::none()),
    };
    let back = Back::of(judge, &came);
    drop(came);
    let headers = changed.headers.unwrap_or(headers);
    let is_changed = is_changed || changed.is_any;
    let replies = rest.run(Envelope { message, direction, origin, headers, is_changed }).await?;
    Ok(back.judged(replies, changed.is_any).await)
}

/// The way back, of the replies to a message that went on.
struct Back<J> {
    judge: Box<J>,
    /// Whether any of them could be of concern.
    is_judged: bool,
    scoped: Option<Scoped>,
    /// Which way they travel.
    direction: Direction,
}

impl<J: Judge> Back<J> {
    /// The envelope is the one that came.
    fn of(mut judge: Box<J>, envelope: &Envelope) -> Self {
        let is_judged = match &envelope.message {
            Message::Request(request) if judge.concerns_replies(request, envelope.direction) => {
                judge.asks(request.clone());
                true
            }
            _ => false,
        };
        Self { judge, is_judged, scoped: Scoped::of(envelope), direction: envelope.direction.back() }
    }

    /// The replies to a message that went on changed or not.
    fn judged(self, mut replies: Replies, is_changed: bool) -> impl Future<Output = Replies> + Send {
        let scoped = self.scoped.clone().filter(|scoped| is_changed || self.judge.may_change(scoped.what));
        if let Some(scoped) = scoped {
            // Before it is judged, so that whoever says himself whom it may be told has his way.
            replies = replies.map(move |reply| reply.map(|message| scoped.narrowed(message)));
        }
        match self.gate(&replies) {
            Some(gate) => Either::Left(Box::pin(replies.through(gate))),
            None => Either::Right(ready(replies)),
        }
    }

    /// What the replies have to pass; none if none could be of concern, or all there will be is here and goes on as it is.
    fn gate(self, replies: &Replies) -> Option<Judged<J>> {
        let Self { judge, is_judged, scoped, direction } = self;
        let found = match replies.whole() {
            _ if !is_judged => return None,
            Some(whole) => Some(judge.look(whole?.as_ref().ok()?, direction)?),
            None => None,
        };
        Some(Judged::new(judge, direction, scoped, found))
    }
}

/// What conditions of rules are asked about an exchange.
pub(crate) fn facts<'a>(
    origin: &'a Origin,
    server: &'a str,
    headers: &'a [(Box<str>, Box<str>)],
) -> Facts<'a> {
    Facts {
        session: origin.session.as_ref().map(|session| &*session.0),
        principal: origin.principal.as_ref().map(Principal::name),
        claims: origin.principal.as_ref().map(Principal::claims),
        server: Some(server),
        transport: origin.transport.as_str(),
        revision: origin.revision.as_str(),
        era: origin.revision.era().as_str(),
        upstream: origin.upstream.get().map(|side| Speech {
            transport: side.transport.as_str(),
            revision: side.revision.as_str(),
            era: side.revision.era().as_str(),
        }),
        headers,
    }
}

/// The clock and the dice of this process.
pub(crate) struct Surroundings;

impl World for Surroundings {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn random(&self) -> [u8; 16] {
        let mut random = [0; 16];
        if let Err(error) = getrandom::fill(&mut random) {
            tracing::error!(%error, "the system gives no randomness");
        }
        random
    }
}

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

use std::time::SystemTime;

use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Direction, Envelope, Next, Origin, Principal, Refusal, Replies, Rest};
use shadowcat_protocol::caching::Cacheable;
use shadowcat_protocol::{Message, Request};
use shadowcat_rules::{Facts, Speech, World};

use aside::Sender;
use replies::{Judged, Silent};
use scope::Scoped;
pub(crate) use withdrawn::{Waiter, Waiting, hear};

/// Decides over the messages of one exchange.
pub(crate) trait Judge: Send + Sync + 'static {
    /// What is to become of a message; what takes time is waited for.
    fn judge(&self, message: Message, direction: Direction) -> impl Future<Output = Fate> + Send;

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
pub(crate) async fn pass<J: Judge>(judge: J, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
    way(judge, envelope, next.keep()).await
}

/// The same for a judge that may hold messages for long: those behind one that is held go ahead meanwhile, and who asked
/// is told from time to time that it waits; `tasks` take what nobody waits for.
pub(crate) async fn pass_aside<J: Judge>(
    judge: J,
    envelope: Envelope,
    next: Next<'_>,
    tasks: &Tasks,
) -> Result<Replies, Refusal> {
    let sender = Sender::of(&envelope);
    sender.go_aside(Box::pin(way(judge, envelope, next.keep())), tasks).await
}

async fn way<J: Judge>(mut judge: J, envelope: Envelope, rest: Rest) -> Result<Replies, Refusal> {
    let request = match &envelope.message {
        Message::Request(request) => Some(request.clone()),
        Message::Notification(_) | Message::Response(_) => None,
    };
    let scoped = Scoped::of(&envelope);
    let Envelope { message, direction, origin, headers, is_changed } = envelope;
    let (message, changed) = match judge.judge(message, direction).await {
        Fate::GoesOn(message, changed) => (message, changed),
        Fate::Refused(refusal) => return Err(refusal),
        Fate::Answered(message) => return Ok(Replies::one(message)),
        // It has its place in the order of messages: those behind it are not held up.
        Fate::Silent | Fate::Gone if request.is_some() => {
            return Ok(Replies::none().through(Silent::new(judge)).await);
        }
        Fate::Silent | Fate::Gone | Fate::Withdrawn => return Ok(Replies::none()),
    };
    let headers = changed.headers.unwrap_or(headers);
    let is_changed = is_changed || changed.is_any;
    let envelope = Envelope { message, direction, origin, headers, is_changed };
    let request = request.filter(|request| judge.concerns_replies(request, direction));
    let mut replies = rest.run(envelope).await?;
    if let Some(scoped) = scoped.clone().filter(|scoped| changed.is_any || judge.may_change(scoped.what)) {
        // Before it is judged, so that whoever says himself whom it may be told has his way.
        replies = replies.map(move |reply| reply.map(|message| scoped.narrowed(message)));
    }
    let Some(request) = request else { return Ok(replies) };
    judge.asks(request);
    Ok(replies.through(Judged::new(judge, direction.back(), scoped)).await)
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

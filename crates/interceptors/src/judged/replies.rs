//! The gates that replies pass: each is judged by itself, in its turn.

use async_trait::async_trait;
use shadowcat_pipeline::{Direction, Gate, Refusal, RefusalKind, Replies};
use shadowcat_protocol::Message;

use super::scope::{Scoped, is_public};
use super::{Fate, Judge};

/// Judges the replies to one request.
pub(super) struct Judged<J: Judge> {
    judge: Box<J>,
    direction: Direction,
    scoped: Option<Scoped>,
    /// What was found already of the reply that is drawn first.
    found: Option<J::Found>,
}

impl<J: Judge> Judged<J> {
    pub(super) fn new(
        judge: Box<J>,
        direction: Direction,
        scoped: Option<Scoped>,
        found: Option<J::Found>,
    ) -> Self {
        Self { judge, direction, scoped, found }
    }

    /// Nothing comes any more, and nothing ends: whoever set a limit for the exchange ends it.
    async fn silence(&mut self, behind: &mut Replies) -> Option<Result<Message, Refusal>> {
        *behind = Replies::none();
        self.judge.waiter().silence().await
    }
}

#[async_trait]
impl<J: Judge> Gate for Judged<J> {
    async fn next(&mut self, behind: &mut Replies) -> Option<Result<Message, Refusal>> {
        loop {
            let message = match behind.next().await? {
                Ok(message) => message,
                Err(refusal) => return Some(Err(refusal)),
            };
            let found = self.found.take().or_else(|| self.judge.look(&message, self.direction));
            let Some(found) = found else { return Some(Ok(message)) };
            let is_answer = matches!(message, Message::Response(_));
            let was_public = self.scoped.is_some() && is_answer && is_public(&message);
            // Boxed, so that it is no part of the future of every reply.
            match Box::pin(self.judge.judge(message, self.direction, found)).await {
                Fate::GoesOn(message, changed) => {
                    let narrowing = self.scoped.as_ref().filter(|_| was_public && changed.is_any);
                    return Some(Ok(match narrowing {
                        Some(scoped) => scoped.narrowed(message),
                        None => message,
                    }));
                }
                Fate::Answered(message) => return Some(Ok(message)),
                // What is refused on the way to the answer only does not come.
                Fate::Refused(refusal) if is_answer || is_broken(&refusal) => return Some(Err(refusal)),
                Fate::Gone if is_answer => return self.silence(behind).await,
                Fate::Refused(_) | Fate::Gone => {}
                Fate::Silent => return self.silence(behind).await,
                Fate::Withdrawn => return None,
            }
        }
    }
}

fn is_broken(refusal: &Refusal) -> bool {
    matches!(refusal.kind, RefusalKind::Broken(_))
}

/// No answer at all, to a request that went nowhere.
pub(super) struct Silent<J>(Box<J>);

impl<J: Judge> Silent<J> {
    pub(super) fn new(judge: Box<J>) -> Self {
        Self(judge)
    }
}

#[async_trait]
impl<J: Judge> Gate for Silent<J> {
    async fn next(&mut self, _: &mut Replies) -> Option<Result<Message, Refusal>> {
        self.0.waiter().silence().await
    }
}

//! The gates that replies pass: each is judged by itself, in its turn.

use async_trait::async_trait;
use shadowcat_pipeline::{Direction, Gate, Refusal, RefusalKind, Replies};
use shadowcat_protocol::Message;

use super::exchange::{Exchange, Fate};

/// Judges the replies to one request.
pub(super) struct Judged {
    exchange: Exchange,
    direction: Direction,
}

impl Judged {
    pub(super) fn new(exchange: Exchange, direction: Direction) -> Self {
        Self { exchange, direction }
    }
}

#[async_trait]
impl Gate for Judged {
    async fn next(&mut self, behind: &mut Replies) -> Option<Result<Message, Refusal>> {
        loop {
            let message = match behind.next().await? {
                Ok(message) => message,
                Err(refusal) => return Some(Err(refusal)),
            };
            let is_answer = matches!(message, Message::Response(_));
            match self.exchange.judge(message, self.direction).await {
                Fate::GoesOn(message, _) | Fate::Answered(message) => return Some(Ok(message)),
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

impl Judged {
    /// Nothing comes any more, and nothing ends: whoever set a limit for the exchange ends it.
    async fn silence(&self, behind: &mut Replies) -> Option<Result<Message, Refusal>> {
        *behind = Replies::none();
        self.exchange.silence().await
    }
}

fn is_broken(refusal: &Refusal) -> bool {
    matches!(refusal.kind, RefusalKind::Broken(_))
}

/// No answer at all, to a request that went nowhere.
pub(super) struct Silent(Exchange);

impl Silent {
    pub(super) fn new(exchange: Exchange) -> Self {
        Self(exchange)
    }
}

#[async_trait]
impl Gate for Silent {
    async fn next(&mut self, _: &mut Replies) -> Option<Result<Message, Refusal>> {
        self.0.silence().await
    }
}

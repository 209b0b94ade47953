//! Interceptors around a service, as a list that can be printed.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::{Envelope, Refusal, Replies, Service};

/// A step between the two sides. It may look at an envelope, change it, answer it, refuse it, or pass it on and look
/// at what comes back.
///
/// Called for each message that begins something: requests and notifications, in both directions. Whoever changes a message
/// sets [`Envelope::is_changed`], and leaves its id alone.
///
/// State between a message and its replies is a local variable of `intercept`. What must last as long as the replies
/// (a permit, a timer, a gauge) goes into them with [`Replies::hold`]: `next.run(..).await` returns when the envelope
/// is dispatched, not when the exchange is over.
#[async_trait]
pub trait Interceptor: Send + Sync {
    /// The name in logs and in the printed chain.
    fn name(&self) -> &'static str;

    /// Whether it has anything to do with this envelope or with what comes back for it. One that has not is passed over, which
    /// costs next to nothing.
    fn concerns(&self, _: &Envelope) -> bool {
        true
    }

    /// Takes one envelope that concerns it; `next` is the rest of the path.
    ///
    /// # Cancel safety
    /// The future, and the replies, are dropped when the client is gone or a deadline has passed, at any point at which they
    /// wait.
    async fn intercept(&self, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal>;
}

/// The interceptors every envelope passes, outermost first. One list serves both directions.
#[derive(Clone, Default)]
pub struct Chain(Arc<[Arc<dyn Interceptor>]>);

impl Chain {
    /// A chain of these steps, outermost first.
    pub fn new(steps: Vec<Arc<dyn Interceptor>>) -> Self {
        Self(steps.into())
    }

    /// Sends an envelope through every step and then to `end`.
    pub async fn run(&self, envelope: Envelope, end: Arc<dyn Service>) -> Result<Replies, Refusal> {
        self.before(&end).run(envelope).await
    }

    /// All of it, and then `end`.
    pub fn before<'a>(&'a self, end: &'a Arc<dyn Service>) -> Next<'a> {
        Next { chain: self, at: 0, end }
    }

    /// The names of the steps in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|step| step.name())
    }
}

/// The rest of a chain.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    chain: &'a Chain,
    at: usize,
    end: &'a Arc<dyn Service>,
}

impl<'a> Next<'a> {
    /// Passes the envelope on. The future is that of the next step itself: one around it would hold the envelope once more.
    pub fn run(mut self, envelope: Envelope) -> BoxFuture<'a, Result<Replies, Refusal>> {
        while let Some(step) = self.chain.0.get(self.at) {
            self.at += 1;
            if step.concerns(&envelope) {
                return step.intercept(envelope, self);
            }
        }
        self.end.handle(envelope)
    }

    /// The same for longer than `intercept` lasts: for a step that lets those behind go ahead while its envelope waits.
    pub fn keep(self) -> Rest {
        Rest { chain: self.chain.clone(), at: self.at, end: Arc::clone(self.end) }
    }
}

/// The rest of a chain, kept.
#[derive(Clone)]
pub struct Rest {
    chain: Chain,
    at: usize,
    end: Arc<dyn Service>,
}

impl Rest {
    /// Passes the envelope on.
    pub fn run(&self, envelope: Envelope) -> BoxFuture<'_, Result<Replies, Refusal>> {
        Next { chain: &self.chain, at: self.at, end: &self.end }.run(envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Origin, PeerId, RefusalKind, Transport};
    use shadowcat_protocol::{Id, Message, Notification, Request, Response, Revision};

    struct Echo;

    #[async_trait]
    impl Service for Echo {
        async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
            Ok(match envelope.request_id() {
                Some(id) => Replies::one(Message::Response(Response::result(id, "{}"))),
                None => Replies::none(),
            })
        }
    }

    struct Deny(&'static str);

    #[async_trait]
    impl Interceptor for Deny {
        fn name(&self) -> &'static str {
            self.0
        }
        async fn intercept(&self, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
            if envelope.message.method() == Some("tools/call") {
                return Err(RefusalKind::PolicyDenied.into());
            }
            next.run(envelope).await
        }
    }

    fn envelope(message: Message) -> Envelope {
        let origin = Origin::new(PeerId::next(), Transport::Stdio, Revision::V2025_11_25);
        Envelope::to_server(message, Arc::new(origin))
    }

    #[tokio::test]
    async fn an_envelope_passes_every_step_and_the_end_answers() {
        let chain = Chain::new(vec![Arc::new(Deny("outer")), Arc::new(Deny("inner"))]);
        assert_eq!(chain.names().collect::<Vec<_>>(), ["outer", "inner"]);
        let request = Request::new(&Id::from_u64(1), "ping", None);
        let mut replies = chain.run(envelope(Message::Request(request)), Arc::new(Echo)).await.unwrap();
        assert!(matches!(replies.next().await, Some(Ok(Message::Response(_)))));
        assert!(replies.next().await.is_none());
        let note = Notification::new("notifications/initialized", None);
        let mut replies = chain.run(envelope(Message::Notification(note)), Arc::new(Echo)).await.unwrap();
        assert!(replies.next().await.is_none());
    }

    /// Concerned with nothing.
    struct Bystander;

    #[async_trait]
    impl Interceptor for Bystander {
        fn name(&self) -> &'static str {
            "bystander"
        }
        fn concerns(&self, _: &Envelope) -> bool {
            false
        }
        async fn intercept(&self, _: Envelope, _: Next<'_>) -> Result<Replies, Refusal> {
            Err(RefusalKind::Internal.into())
        }
    }

    #[tokio::test]
    async fn a_step_that_is_not_concerned_is_passed_over() {
        let request = || envelope(Message::Request(Request::new(&Id::from_u64(1), "tools/call", None)));
        let run = async |steps| Chain::new(steps).run(request(), Arc::new(Echo)).await;
        assert!(run(vec![Arc::new(Bystander), Arc::new(Bystander)]).await.is_ok());
        let refusal = run(vec![Arc::new(Bystander), Arc::new(Deny("deny"))]).await.err().unwrap();
        assert_eq!(refusal.kind, RefusalKind::PolicyDenied);
    }

    #[tokio::test]
    async fn a_step_that_refuses_ends_the_path() {
        let chain = Chain::new(vec![Arc::new(Deny("deny"))]);
        let request = Request::new(&Id::from_u64(1), "tools/call", Some(r#"{"name":"x"}"#));
        let refusal = chain.run(envelope(Message::Request(request)), Arc::new(Echo)).await.err().unwrap();
        assert_eq!(refusal.kind, RefusalKind::PolicyDenied);
    }
}

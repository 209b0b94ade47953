//! Contains an interceptor that is not ours: a panic of it costs the exchange, and not the connection that carried it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use shadowcat_pipeline::{Envelope, Gate, Interceptor, Next, Refusal, RefusalKind, Replies};
use shadowcat_protocol::Message;

/// An interceptor of an embedding program. Where it panics, in a message or in one of its replies, the exchange ends with
/// `internal`.
pub struct Contained(Arc<dyn Interceptor>);

impl Contained {
    /// Contains this one.
    pub fn new(interceptor: Arc<dyn Interceptor>) -> Self {
        Self(interceptor)
    }
}

#[async_trait]
impl Interceptor for Contained {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn intercept(&self, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
        let step = async {
            if self.0.concerns(&envelope) {
                self.0.intercept(envelope, next).await
            } else {
                next.run(envelope).await
            }
        };
        // What a panic leaves half-done is the interceptor's own, and it is told to expect that.
        let intercepted = AssertUnwindSafe(step).catch_unwind().await;
        let replies = intercepted.unwrap_or_else(|_| Err(panicked(self.name())))?;
        // What is whole has passed all that it put around it.
        Ok(if replies.is_whole() { replies } else { replies.through(Watched(self.name())).await })
    }
}

/// Catches what the steps behind it throw while a reply is drawn.
struct Watched(&'static str);

#[async_trait]
impl Gate for Watched {
    async fn next(&mut self, behind: &mut Replies) -> Option<Result<Message, Refusal>> {
        AssertUnwindSafe(behind.next()).catch_unwind().await.unwrap_or_else(|_| Some(Err(panicked(self.0))))
    }
}

fn panicked(name: &str) -> Refusal {
    Refusal::new(RefusalKind::Internal).with_cause(format!("the interceptor {name} panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use shadowcat_pipeline::{Chain, Origin, PeerId, Service, Transport};
    use shadowcat_protocol::{Id, Notification, Request, Response, Revision};

    /// Says a word, then answers.
    struct Server;

    #[async_trait]
    impl Service for Server {
        async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
            let id = envelope.request_id().unwrap();
            let note = Message::Notification(Notification::new("notifications/message", None));
            let answer = Message::Response(Response::result(id, "{}"));
            Ok(Replies::stream(stream::iter([Ok(note), Ok(answer)])))
        }
    }

    #[derive(Clone, Copy, PartialEq)]
    enum At {
        Concern,
        Message,
        Answer,
        Nowhere,
    }

    struct Faulty(At);

    #[async_trait]
    impl Interceptor for Faulty {
        fn name(&self) -> &'static str {
            "faulty"
        }

        fn concerns(&self, _: &Envelope) -> bool {
            assert!(self.0 != At::Concern, "on purpose");
            true
        }

        async fn intercept(&self, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
            assert!(self.0 != At::Message, "on purpose");
            let at = self.0;
            Ok(next.run(envelope).await?.inspect(move |reply| {
                assert!(at == At::Nowhere || !matches!(reply, Ok(Message::Response(_))), "on purpose");
            }))
        }
    }

    async fn said(at: At) -> Vec<&'static str> {
        let chain = Chain::new(vec![Arc::new(Contained::new(Arc::new(Faulty(at))))]);
        let origin = Origin::new(PeerId::next(), Transport::Stdio, Revision::V2025_11_25);
        let request = Message::Request(Request::new(&Id::from_u64(1), "ping", None));
        let handled = chain.run(Envelope::to_server(request, Arc::new(origin)), Arc::new(Server)).await;
        let mut replies = match handled {
            Ok(replies) => replies,
            Err(refusal) => return vec![refusal.kind.reason()],
        };
        let mut said = Vec::new();
        while let Some(reply) = replies.next().await {
            said.push(match reply {
                Ok(Message::Response(_)) => "answer",
                Ok(_) => "note",
                Err(refusal) => refusal.kind.reason(),
            });
        }
        said
    }

    #[tokio::test]
    async fn a_panic_ends_its_exchange_with_an_error() {
        assert_eq!(said(At::Nowhere).await, ["note", "answer"]);
        for _ in 0..1_000 {
            assert_eq!(said(At::Concern).await, ["internal"]);
            assert_eq!(said(At::Message).await, ["internal"]);
            assert_eq!(said(At::Answer).await, ["note", "internal"]);
        }
    }
}

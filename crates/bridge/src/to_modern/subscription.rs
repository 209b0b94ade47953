//! One `subscriptions/listen` at the server, and keeping it open.

use std::collections::BTreeSet;
use std::sync::Arc;

use shadowcat_pipeline::subscription::{Pauses, Subscribed, is_unknown};
use shadowcat_pipeline::{Back, ExchangeId, Origin, PeerId, Refusal, Replies};
use shadowcat_protocol::subscription::{Filter, is_of_list};
use shadowcat_protocol::{Message, Notification, Request, method, own};
use tokio::time::Instant;

use crate::meta;
use crate::object::Object;

use super::server::{Discovered, ModernServer, inner};
use super::terms::Terms;

/// Who wants to know, and of what.
pub(super) enum Subscriber {
    /// All sessions, of every list that may change.
    All,
    /// One session, of these resources.
    One { peer: PeerId, terms: Arc<Terms>, client: Arc<dyn Back>, uris: BTreeSet<String> },
}

/// A subscription as it is wanted, open or not.
pub(super) struct Subscription {
    server: Arc<ModernServer>,
    subscriber: Subscriber,
}

impl Subscription {
    pub(super) fn new(server: Arc<ModernServer>, subscriber: Subscriber) -> Self {
        Self { server, subscriber }
    }

    /// Opens it; none if the server offers nothing of what is wanted.
    pub(super) async fn open(&self) -> Result<Option<Subscribed>, Refusal> {
        let filter = self.subscriber.wanted(&*self.server.discover().await?);
        if filter.is_empty() {
            return Ok(None);
        }
        let params = self.subscriber.params(&filter);
        let request = Request::new(&self.server.next_id(), method::LISTEN, Some(&params));
        let origin = Arc::new(self.subscriber.origin(&self.server));
        let opened = Subscribed::open(self.server.send(Message::Request(request), origin)).await;
        opened.map(Some).map_err(|refusal| refusal.with_upstream(&self.server.settings.side.name))
    }

    /// Passes on what changes, for as long as the server tells. Lost, the subscription is opened again, and what may
    /// have changed meanwhile is told as changed. Ends when the server has no such subscription.
    pub(super) async fn keep_open(&self, first: Option<Subscribed>) {
        let mut opened = first;
        let mut pauses = Pauses::default();
        let mut missed = false;
        loop {
            let since = Instant::now();
            let next = match opened.take() {
                Some(opened) => Ok(Some(opened)),
                None => self.open().await,
            };
            match next {
                Ok(Some(opened)) => {
                    if missed {
                        self.tell_missed(&opened.granted).await;
                    }
                    self.pass_on(opened.replies).await;
                    missed = true;
                }
                Ok(None) => return,
                Err(refusal) if is_unknown(&refusal) => {
                    tracing::debug!(upstream = %self.server.settings.side.name, %refusal, "no subscription");
                    return;
                }
                Err(refusal) => {
                    tracing::debug!(upstream = %self.server.settings.side.name, %refusal, "not subscribed yet");
                }
            }
            tokio::time::sleep(pauses.after(since.elapsed())).await;
        }
    }

    async fn pass_on(&self, mut replies: Replies) {
        while let Some(Ok(reply)) = replies.next().await {
            match reply {
                Message::Notification(note) if self.subscriber.wants(note.method()) => {
                    self.tell(untagged(&note)).await;
                }
                Message::Notification(note) => self.server.counters.lose(note.method(), None),
                Message::Request(request) => self.server.counters.lose(request.method(), None),
                Message::Response(_) => return,
            }
        }
    }

    async fn tell_missed(&self, granted: &Filter) {
        for note in granted.all_changed() {
            if self.subscriber.wants(note.method()) {
                self.tell(note).await;
            }
        }
    }

    async fn tell(&self, note: Notification) {
        match &self.subscriber {
            Subscriber::All => {
                if note.method() == method::TOOLS_CHANGED {
                    self.server.tools.doubt();
                }
                self.server.lists.tell(note);
            }
            Subscriber::One { client, .. } => tell(&self.server, client, note).await,
        }
    }
}

/// Tells one client of a change.
pub(super) async fn tell(server: &ModernServer, client: &Arc<dyn Back>, note: Notification) {
    let told = client.deliver(Message::Notification(note), None, &server.settings.side).await;
    if let Err(refusal) = told {
        tracing::debug!(%refusal, "a client was not told of a change");
    }
}

impl Subscriber {
    fn wanted(&self, discovered: &Discovered) -> Filter {
        match self {
            Self::All => Filter::lists(|list| discovered.offers(list)),
            Self::One { uris, .. } if discovered.offers(&["resources", "subscribe"]) => {
                Filter::resources(uris.clone())
            }
            Self::One { .. } => Filter::default(),
        }
    }

    fn wants(&self, notification: &str) -> bool {
        match self {
            Self::All => is_of_list(notification),
            Self::One { .. } => notification == method::RESOURCE_UPDATED,
        }
    }

    fn params(&self, filter: &Filter) -> String {
        let params = Object::default().with("notifications", filter.to_json());
        match self {
            Self::All => params.with("_meta", own::meta("{}")).to_json(),
            Self::One { terms, .. } => terms.stamped(Some(&params.to_json()), None, None),
        }
    }

    fn origin(&self, server: &ModernServer) -> Origin {
        match self {
            Self::All => server.own_origin(),
            Self::One { peer, .. } => inner(ExchangeId::next(), *peer),
        }
    }
}

/// The notification without the subscription it was sent for.
fn untagged(note: &Notification) -> Notification {
    let mut params = Object::of(note.params());
    let tags = params.remove("_meta");
    let kept = Object::of(tags.as_deref()).without(&[meta::SUBSCRIPTION]);
    let params = if kept.is_empty() { params } else { params.with("_meta", kept.to_json()) };
    let params = (!params.is_empty()).then(|| params.to_json());
    Notification::new(note.method(), params.as_deref())
}

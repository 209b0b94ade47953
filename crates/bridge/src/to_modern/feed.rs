//! What changes at a modern server, told to one legacy client: the lists as all sessions hear of them, and resources by
//! a subscription of the session's own, which there is while it follows any.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shadowcat_pipeline::subscription::Subscribed;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Back, PeerId, Refusal, RefusalKind};
use shadowcat_protocol::codes;
use shadowcat_protocol::subscription::{Filter, RESOURCES_MAX, URI_BYTES_MAX, URIS_BYTES_MAX};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::lists::{Following, Heard};
use super::server::ModernServer;
use super::subscription::{Subscriber, Subscription, tell};
use super::terms::Terms;

/// The most sessions with one server that follow resources: half of what a connection carries at a time, because a
/// subscription takes a place of it for as long as it lasts, and calls need some.
pub(super) const SUBSCRIBERS_MAX: usize = 2_048;
/// The most of them that change their subscriptions at a time, for which each needs another place.
const CHANGING_MAX: usize = 64;
/// When a session that found no room to follow resources may come again.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// How long a change of subscriptions may take, with those before it: less than a client's request may be silent.
const CHANGE_MAX: Duration = Duration::from_secs(30);
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// The room that one server has for sessions which follow resources.
pub(super) struct Room {
    places: Arc<Semaphore>,
    changing: Semaphore,
}

impl Default for Room {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(SUBSCRIBERS_MAX)), changing: Semaphore::new(CHANGING_MAX) }
    }
}

/// The changes that one client is told of.
pub(super) struct Feed {
    server: Arc<ModernServer>,
    client: Arc<dyn Back>,
    tasks: Tasks,
    peer: PeerId,
    started: AtomicBool,
    current: tokio::sync::Mutex<Current>,
}

struct Current {
    uris: BTreeSet<String>,
    /// Ends the subscription to them; is cancelled where that has ended by itself.
    end: Option<CancellationToken>,
    /// The session's place among those that follow resources, while it follows any.
    place: Option<OwnedSemaphorePermit>,
}

impl Feed {
    /// A feed that is not open yet, for a client that has subscribed to these resources before.
    pub(super) fn new(
        server: Arc<ModernServer>,
        client: Arc<dyn Back>,
        tasks: Tasks,
        peer: PeerId,
        subscriptions: Vec<String>,
    ) -> Arc<Self> {
        let uris = subscriptions.into_iter().take(RESOURCES_MAX).collect();
        let current = tokio::sync::Mutex::new(Current { uris, end: None, place: None });
        Arc::new(Self { server, client, tasks, peer, started: AtomicBool::new(false), current })
    }

    /// From now on the client is told. It does not wait for the subscriptions.
    pub(super) fn start(self: &Arc<Self>, terms: Arc<Terms>) {
        if self.started.swap(true, Ordering::AcqRel) {
            return;
        }
        let (feed, lists) = (Arc::clone(self), Following::begin(Arc::clone(&self.server)));
        self.tasks.spawn_until_stop(Box::pin(async move { feed.hear(lists).await }));
        let feed = Arc::clone(self);
        self.tasks.spawn_until_stop(Box::pin(async move {
            let mut current = feed.current.lock().await;
            if !current.uris.is_empty() && !current.is_followed() {
                current.place = feed.place().ok();
                if current.place.is_none() {
                    tracing::warn!(
                        "a session goes on without the changes of its resources: too many follow some"
                    );
                    return;
                }
                let subscription = feed.subscription(terms, &current.uris);
                feed.follow(&mut current, subscription, None);
            }
        }));
    }

    async fn hear(&self, mut lists: Following) {
        while let Some(heard) = lists.next().await {
            match heard {
                Heard::Change(note) => tell(&self.server, &self.client, note).await,
                Heard::Missed => {
                    let Ok(discovered) = self.server.discover().await else { continue };
                    for note in Filter::lists(|list| discovered.offers(list)).all_changed() {
                        tell(&self.server, &self.client, note).await;
                    }
                }
            }
        }
    }

    /// Tells of changes of this resource too.
    pub(super) async fn subscribe(&self, terms: Arc<Terms>, uri: String) -> Result<(), Refusal> {
        self.in_time(async {
            let mut current = self.current.lock().await;
            if current.uris.contains(&uri) && current.is_followed() {
                return Ok(());
            }
            if !self.server.discover().await?.offers(&["resources", "subscribe"]) {
                let detail = "the server offers no subscriptions to resources";
                return Err(Refusal::bad_message(codes::METHOD_NOT_FOUND, detail));
            }
            if !current.has_room_for(&uri) {
                let detail = "the session is subscribed to too many resources, or the uri is too long";
                return Err(Refusal::bad_message(codes::INVALID_PARAMS, detail));
            }
            let place = if current.place.is_some() { None } else { Some(self.place()?) };
            let mut uris = current.uris.clone();
            uris.insert(uri.clone());
            let subscription = self.subscription(terms, &uris);
            let opened = self.open(&subscription).await?;
            if !opened.as_ref().is_some_and(|opened| opened.granted.uris.contains(&uri)) {
                let detail = "the server does not tell of changes of this resource";
                return Err(Refusal::bad_message(codes::INVALID_PARAMS, detail));
            }
            current.uris = uris;
            current.place = current.place.take().or(place);
            self.follow(&mut current, subscription, opened);
            Ok(())
        })
        .await
    }

    /// Tells no more of changes of this resource.
    pub(super) async fn unsubscribe(&self, terms: Arc<Terms>, uri: &str) -> Result<(), Refusal> {
        self.in_time(async {
            let mut current = self.current.lock().await;
            let mut uris = current.uris.clone();
            if !uris.remove(uri) {
                return Ok(());
            }
            let subscription = self.subscription(terms, &uris);
            let opened = if uris.is_empty() { None } else { self.open(&subscription).await? };
            current.uris = uris;
            if let Some(opened) = opened {
                self.follow(&mut current, subscription, Some(opened));
            } else {
                current.replace(None);
                current.place = None;
            }
            Ok(())
        })
        .await
    }

    /// Ends the subscriptions.
    pub(super) async fn close(&self) {
        self.tasks.stop();
        self.tasks.join(CLOSE_DEADLINE).await;
        if let Ok(mut current) = self.current.try_lock() {
            current.place = None;
        }
    }

    async fn in_time(&self, change: impl Future<Output = Result<(), Refusal>> + Send) -> Result<(), Refusal> {
        let changed = tokio::time::timeout(CHANGE_MAX, change).await;
        changed.unwrap_or_else(|_| Err(self.server.refusal(RefusalKind::UpstreamTimeout)))
    }

    fn subscription(&self, terms: Arc<Terms>, uris: &BTreeSet<String>) -> Subscription {
        let client = Arc::clone(&self.client);
        let subscriber = Subscriber::One { peer: self.peer, terms, client, uris: uris.clone() };
        Subscription::new(Arc::clone(&self.server), subscriber)
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.server.room.places).try_acquire_owned().map_err(|_| {
            let refusal = self.server.refusal(RefusalKind::Overloaded { retry_after: RETRY_AFTER });
            refusal.with_detail("too many sessions follow resources of this server")
        })
    }

    async fn open(&self, subscription: &Subscription) -> Result<Option<Subscribed>, Refusal> {
        let _changing = self.server.room.changing.acquire().await;
        subscription.open().await
    }

    /// Puts a subscription in the place of the one there is, which goes on until then.
    fn follow(&self, current: &mut Current, subscription: Subscription, opened: Option<Subscribed>) {
        let end = CancellationToken::new();
        let (ended, gone) = (end.clone(), end.clone().drop_guard());
        self.tasks.spawn_until_stop(Box::pin(async move {
            let _gone = gone;
            ended.run_until_cancelled(subscription.keep_open(opened)).await;
        }));
        current.replace(Some(end));
    }
}

impl Current {
    fn is_followed(&self) -> bool {
        self.end.as_ref().is_some_and(|end| !end.is_cancelled())
    }

    fn has_room_for(&self, uri: &str) -> bool {
        let bytes: usize = self.uris.iter().map(String::len).sum();
        let fits = uri.len() <= URI_BYTES_MAX && bytes + uri.len() <= URIS_BYTES_MAX;
        fits && self.uris.len() < RESOURCES_MAX
    }

    fn replace(&mut self, end: Option<CancellationToken>) {
        if let Some(old) = std::mem::replace(&mut self.end, end) {
            old.cancel();
        }
    }
}

//! What changes at a modern server, told to a legacy client: one subscription for each session, opened again when it
//! is lost or when the client wants to know of other resources.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Back, ExchangeId, PeerId, Refusal, RefusalKind, Replies};
use shadowcat_protocol::{Message, Notification, Request, codes, json, method};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::meta;
use crate::object::Object;

use super::server::{Discovered, ModernServer, inner};
use super::terms::Terms;

/// Resources one session may be subscribed to.
const SUBSCRIPTIONS_MAX: usize = 1_000;
/// The longest URI of one: all of them are said again with each change.
const URI_BYTES_MAX: usize = 8 * 1024;
/// How long the server may take to acknowledge a subscription.
const ACK_MAX: Duration = Duration::from_secs(10);
/// How long a change of subscriptions may take, with those before it.
const CHANGE_MAX: Duration = Duration::from_mins(1);
/// The pause before a lost subscription is opened again; it doubles each time, up to this much.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// A subscription that lasted this long was a good one.
const LASTED: Duration = Duration::from_mins(1);
/// Sessions that lost their subscriptions together do not all come back in the same moment.
const SPREAD_MS: u64 = 1_000;
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// The lists that may change: what asks for it in a filter, who offers it, and what tells of it.
const LISTS: [(&str, &str, &str); 3] = [
    ("toolsListChanged", "tools", method::TOOLS_CHANGED),
    ("promptsListChanged", "prompts", method::PROMPTS_CHANGED),
    ("resourcesListChanged", "resources", method::RESOURCES_CHANGED),
];

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
    /// Ends the subscription there is.
    end: Option<CancellationToken>,
}

/// What is asked for, or what was granted of it.
struct Filter {
    lists: Vec<&'static str>,
    uris: BTreeSet<String>,
}

/// A subscription that the server has acknowledged.
struct Opened {
    replies: Replies,
    granted: Filter,
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
        let uris = subscriptions.into_iter().take(SUBSCRIPTIONS_MAX).collect();
        let current = tokio::sync::Mutex::new(Current { uris, end: None });
        Arc::new(Self { server, client, tasks, peer, started: AtomicBool::new(false), current })
    }

    /// Opens the subscription, unless that was done before. The client does not wait for it.
    pub(super) fn start(self: &Arc<Self>, terms: Arc<Terms>) {
        if self.started.swap(true, Ordering::AcqRel) {
            return;
        }
        let feed = Arc::clone(self);
        self.tasks.spawn_until_stop(Box::pin(async move {
            let mut current = feed.current.lock().await;
            if current.end.is_none() {
                feed.follow(&mut current, terms, None);
            }
        }));
    }

    /// Tells of changes of this resource too.
    pub(super) async fn subscribe(self: &Arc<Self>, terms: Arc<Terms>, uri: String) -> Result<(), Refusal> {
        self.in_time(async {
            let mut current = self.current.lock().await;
            if current.uris.contains(&uri) && current.end.is_some() {
                return Ok(());
            }
            if !self.server.discover().await?.offers(&["resources", "subscribe"]) {
                let detail = "the server offers no subscriptions to resources";
                return Err(Refusal::bad_message(codes::METHOD_NOT_FOUND, detail));
            }
            if current.uris.len() >= SUBSCRIPTIONS_MAX || uri.len() > URI_BYTES_MAX {
                let detail = "the session is subscribed to too many resources, or the uri is too long";
                return Err(Refusal::bad_message(codes::INVALID_PARAMS, detail));
            }
            let mut uris = current.uris.clone();
            uris.insert(uri.clone());
            let opened = self.open(&terms, &uris).await?;
            if !opened.as_ref().is_some_and(|opened| opened.granted.uris.contains(&uri)) {
                let detail = "the server does not tell of changes of this resource";
                return Err(Refusal::bad_message(codes::INVALID_PARAMS, detail));
            }
            current.uris = uris;
            self.follow(&mut current, terms, opened);
            Ok(())
        })
        .await
    }

    /// Tells no more of changes of this resource.
    pub(super) async fn unsubscribe(self: &Arc<Self>, terms: Arc<Terms>, uri: &str) -> Result<(), Refusal> {
        self.in_time(async {
            let mut current = self.current.lock().await;
            let mut uris = current.uris.clone();
            if !uris.remove(uri) {
                return Ok(());
            }
            let opened = self.open(&terms, &uris).await?;
            current.uris = uris;
            match opened {
                Some(opened) => self.follow(&mut current, terms, Some(opened)),
                None => current.replace(None),
            }
            Ok(())
        })
        .await
    }

    /// Ends the subscription.
    pub(super) async fn close(&self) {
        self.tasks.stop();
        self.tasks.join(CLOSE_DEADLINE).await;
    }

    async fn in_time(&self, change: impl Future<Output = Result<(), Refusal>> + Send) -> Result<(), Refusal> {
        let changed = tokio::time::timeout(CHANGE_MAX, change).await;
        changed.unwrap_or_else(|_| Err(self.server.refusal(RefusalKind::UpstreamTimeout)))
    }

    /// Puts a subscription in the place of the one there is, which goes on until then.
    fn follow(self: &Arc<Self>, current: &mut Current, terms: Arc<Terms>, opened: Option<Opened>) {
        let end = CancellationToken::new();
        let (feed, uris, ended) = (Arc::clone(self), current.uris.clone(), end.clone());
        self.tasks.spawn_until_stop(Box::pin(async move {
            ended.run_until_cancelled(feed.keep_open(&terms, &uris, opened)).await;
        }));
        current.replace(Some(end));
    }

    /// Passes on what changes, for as long as the server tells. Lost, the subscription is opened again, and what may
    /// have changed meanwhile is told as changed.
    async fn keep_open(&self, terms: &Terms, uris: &BTreeSet<String>, first: Option<Opened>) {
        let mut opened = first;
        let mut pause = PAUSE_MIN;
        let mut missed = false;
        loop {
            let since = Instant::now();
            let next = match opened.take() {
                Some(opened) => Ok(Some(opened)),
                None => self.open(terms, uris).await,
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
                Err(refusal) if is_final(&refusal) => {
                    tracing::debug!(upstream = %self.server.settings.side.name, %refusal, "no subscription");
                    return;
                }
                Err(refusal) => {
                    tracing::debug!(upstream = %self.server.settings.side.name, %refusal, "not subscribed yet");
                }
            }
            if since.elapsed() >= LASTED {
                pause = PAUSE_MIN;
            }
            tokio::time::sleep(pause + self.spread()).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn spread(&self) -> Duration {
        let number = self.server.next_id().as_u64().unwrap_or_default();
        Duration::from_millis(number.wrapping_mul(379) % SPREAD_MS)
    }

    /// A subscription to what the server offers and to these resources; none if that is nothing.
    async fn open(&self, terms: &Terms, uris: &BTreeSet<String>) -> Result<Option<Opened>, Refusal> {
        let filter = Filter::offered(&*self.server.discover().await?, uris);
        if filter.lists.is_empty() && filter.uris.is_empty() {
            return Ok(None);
        }
        let opening = tokio::time::timeout(ACK_MAX, self.acknowledged(terms, &filter)).await;
        opening.unwrap_or_else(|_| Err(self.server.refusal(RefusalKind::UpstreamTimeout))).map(Some)
    }

    async fn acknowledged(&self, terms: &Terms, filter: &Filter) -> Result<Opened, Refusal> {
        let params = terms.stamped(Some(&format!(r#"{{"notifications":{}}}"#, filter.to_json())), None);
        let request = Request::new(&self.server.next_id(), method::LISTEN, Some(&params));
        let origin = Arc::new(inner(ExchangeId::next(), self.peer));
        let mut replies = self.server.send(Message::Request(request), origin).await?;
        while let Some(reply) = replies.next().await {
            match reply? {
                Message::Notification(note) if note.method() == method::LISTEN_ACKNOWLEDGED => {
                    return Ok(Opened { replies, granted: Filter::granted(note.params().unwrap_or("{}")) });
                }
                Message::Response(answer) if answer.error_json().is_some() => {
                    let code = answer.error_code().unwrap_or(codes::INTERNAL_ERROR);
                    return Err(Refusal::bad_message(code, "the server refused the subscription"));
                }
                _ => {}
            }
        }
        let detail = "the server did not acknowledge the subscription";
        Err(self.server.refusal(RefusalKind::UpstreamProtocol).with_detail(detail))
    }

    async fn pass_on(&self, mut replies: Replies) {
        while let Some(Ok(reply)) = replies.next().await {
            match reply {
                Message::Notification(note) if tells_of_change(note.method()) => {
                    self.tell(untagged(&note)).await;
                }
                Message::Notification(_) | Message::Request(_) => self.server.counters.not_carried.add(),
                Message::Response(_) => return,
            }
        }
    }

    async fn tell_missed(&self, granted: &Filter) {
        for (member, _, notification) in LISTS {
            if granted.lists.contains(&member) {
                self.tell(Notification::new(notification, None)).await;
            }
        }
        for uri in &granted.uris {
            let params = format!(r#"{{"uri":{}}}"#, json::quote(uri));
            self.tell(Notification::new(method::RESOURCE_UPDATED, Some(&params))).await;
        }
    }

    async fn tell(&self, note: Notification) {
        let told = self.client.deliver(Message::Notification(note), None, &self.server.settings.side).await;
        if let Err(refusal) = told {
            tracing::debug!(%refusal, "a client was not told of a change");
        }
    }
}

impl Current {
    fn replace(&mut self, end: Option<CancellationToken>) {
        if let Some(old) = std::mem::replace(&mut self.end, end) {
            old.cancel();
        }
    }
}

impl Filter {
    fn offered(discovered: &Discovered, uris: &BTreeSet<String>) -> Self {
        let lists = LISTS.into_iter().filter(|(_, offer, _)| discovered.offers(&[offer, "listChanged"]));
        let uris =
            if discovered.offers(&["resources", "subscribe"]) { uris.clone() } else { BTreeSet::new() };
        Self { lists: lists.map(|(member, ..)| member).collect(), uris }
    }

    fn granted(params: &str) -> Self {
        let granted = |member: &str| json::get(params, &["notifications", member]);
        let lists = LISTS.into_iter().filter(|(member, ..)| granted(member) == Some("true"));
        let uris = json::elements(granted("resourceSubscriptions").unwrap_or("[]")).filter_map(json::string);
        Self {
            lists: lists.map(|(member, ..)| member).collect(),
            uris: uris.map(std::borrow::Cow::into_owned).take(SUBSCRIPTIONS_MAX).collect(),
        }
    }

    fn to_json(&self) -> String {
        let mut filter = Object::default();
        for list in &self.lists {
            filter.set(list, "true");
        }
        if !self.uris.is_empty() {
            let uris: Vec<String> = self.uris.iter().map(|uri| json::quote(uri)).collect();
            filter.set("resourceSubscriptions", format!("[{}]", uris.join(",")));
        }
        filter.to_json()
    }
}

fn tells_of_change(notification: &str) -> bool {
    notification == method::RESOURCE_UPDATED || LISTS.iter().any(|(.., known)| *known == notification)
}

/// The server has no subscriptions: asking again is of no use.
fn is_final(refusal: &Refusal) -> bool {
    matches!(refusal.kind, RefusalKind::BadMessage { code: codes::METHOD_NOT_FOUND, .. })
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

//! The subscription by which the server tells of changes, for as long as anything is kept.
//!
//! What is told before it is acknowledged is not heard: until then, and for what the server does not tell of, answers hold
//! for as long as the server has said.

use std::collections::BTreeSet;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use shadowcat_pipeline::subscription::{Pauses, Subscribed, is_unknown};
use shadowcat_pipeline::{Refusal, RefusalKind, Replies};
use shadowcat_protocol::capabilities::offers;
use shadowcat_protocol::subscription::{Filter, RESOURCES_MAX, URIS_BYTES_MAX};
use shadowcat_protocol::{Message, json, method, own};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::cache::Inside;
use crate::shelf::Change;

/// How long the server may take to say what it tells of.
const DISCOVER_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether anything is kept still.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The least time between two changes of what is subscribed to: each is a subscription in the place of another. It doubles
/// with each, up to the most, and is the least again after as long without any.
const WIDEN_MIN: Duration = Duration::from_secs(1);
const WIDEN_MAX: Duration = Duration::from_secs(30);
/// How long the one before is still heard: what it told last may be on its way.
const LINGER: Duration = Duration::from_secs(1);
/// When a server is asked again that tells of nothing, or of no resource: it may have been upgraded, or have disliked one.
const TELLS_NOTHING_FOR: Duration = Duration::from_mins(10);

type Opening = Pin<Box<dyn Future<Output = Result<Subscribed, Refusal>> + Send>>;

/// Hears of changes as long as there is a cache.
pub(crate) async fn run(cache: Arc<Inside>) {
    let mut pauses = Pauses::default();
    let mut has_missed = false;
    loop {
        while cache.resources().is_none() {
            cache.filled.notified().await;
        }
        let since = Instant::now();
        let Err(refusal) = follow(&cache, &mut has_missed).await else { continue };
        tracing::debug!(upstream = %cache.side.name, %refusal, "nobody tells of changes for now");
        let pause = if is_unknown(&refusal) { TELLS_NOTHING_FOR } else { pauses.after(since.elapsed()) };
        sleep(pause).await;
    }
}

/// Hears of changes until nothing is kept any more, or the server ends it.
async fn follow(cache: &Arc<Inside>, has_missed: &mut bool) -> Result<(), Refusal> {
    let mut following = Following::begin(cache, offered(cache).await?);
    let until = Instant::now() + TELLS_NOTHING_FOR;
    let mut look = true;
    loop {
        if look {
            let Some(uris) = cache.resources() else { return Ok(()) };
            following.want(uris);
            look = false;
        }
        if following.is_idle() && Instant::now() >= until {
            return Ok(());
        }
        following.widen();
        match following.next().await {
            Event::Told(message) => cache.hear(&message),
            Event::Opened => {
                if std::mem::take(has_missed) {
                    cache.drop_changed(&Change::Everything);
                }
            }
            Event::NotOpened(refusal) => return Err(refusal),
            Event::Lost => {
                // What changes from now on nobody would hear of.
                *has_missed = true;
                cache.drop_changed(&Change::Everything);
                let detail = "the server has ended the subscription";
                return Err(Refusal::new(RefusalKind::UpstreamProtocol).with_detail(detail));
            }
            Event::Look => look = true,
        }
    }
}

/// What the server offers, as JSON.
async fn offered(cache: &Inside) -> Result<String, Refusal> {
    let params = format!(r#"{{"_meta":{}}}"#, own::meta("{}"));
    let asking = async { cache.ask(method::DISCOVER, &params).await?.response().await };
    let answer = timeout(DISCOVER_MAX, asking).await;
    let answer = answer.unwrap_or_else(|_| Err(RefusalKind::UpstreamTimeout.into()))?;
    let offers = answer.as_ref().and_then(|answer| json::get(answer.result_json()?, &["capabilities"]));
    let detail = "the server does not say what it offers";
    offers.map(str::to_owned).ok_or_else(|| Refusal::new(RefusalKind::UpstreamProtocol).with_detail(detail))
}

/// What is told, what is to be told, and by which subscriptions.
struct Following<'c> {
    cache: &'c Arc<Inside>,
    offers: String,
    wanted: Filter,
    current: Option<(Filter, Replies)>,
    /// The one before, for a while.
    last: Option<(Instant, Replies)>,
    opening: Option<(Filter, Opening)>,
    /// When the next may be opened, and the pause after the last.
    next_at: Instant,
    pause: Duration,
    /// When it is looked, whatever else happens, whether anything is kept still.
    look_at: Instant,
    /// Until when the server is not asked again to tell of resources, which it has refused.
    no_resources: Option<Instant>,
}

enum Event {
    Told(Message),
    Opened,
    NotOpened(Refusal),
    Lost,
    /// What is kept may be something else by now.
    Look,
}

impl<'c> Following<'c> {
    fn begin(cache: &'c Arc<Inside>, offers: String) -> Self {
        let now = Instant::now();
        Self {
            cache,
            offers,
            wanted: Filter::default(),
            current: None,
            last: None,
            opening: None,
            next_at: now,
            pause: WIDEN_MIN,
            look_at: now + LOOK_EVERY,
            no_resources: None,
        }
    }

    /// These resources are among what is kept.
    fn want(&mut self, uris: BTreeSet<String>) {
        let has = |path: &[&str]| offers(&self.offers, path);
        let mut wanted = Filter::lists(has);
        self.no_resources.take_if(|until| *until <= Instant::now());
        if has(&["resources", "subscribe"]) && self.no_resources.is_none() {
            let mut bytes = 0;
            let fitting = uris.into_iter().take(RESOURCES_MAX).take_while(|uri| {
                bytes += uri.len();
                bytes <= URIS_BYTES_MAX
            });
            wanted.uris = fitting.collect();
        }
        self.wanted = wanted;
    }

    fn is_idle(&self) -> bool {
        self.current.is_none() && self.opening.is_none()
    }

    fn is_enough(&self) -> bool {
        let told = self.current.as_ref().map(|(filter, _)| filter);
        self.wanted.is_empty() || told.is_some_and(|told| told.uris.is_superset(&self.wanted.uris))
    }

    /// Opens what tells of all that is wanted, if that is more than is told of.
    fn widen(&mut self) {
        let now = Instant::now();
        if self.opening.is_some() || self.is_enough() || now < self.next_at {
            return;
        }
        let is_quiet = now >= self.next_at + WIDEN_MAX;
        self.pause = if is_quiet { WIDEN_MIN } else { (self.pause * 2).min(WIDEN_MAX) };
        self.next_at = now + self.pause;
        let params = format!(r#"{{"notifications":{},"_meta":{}}}"#, self.wanted.to_json(), own::meta("{}"));
        let cache = Arc::clone(self.cache);
        let opening = async move { Subscribed::open(cache.ask(method::LISTEN, &params)).await };
        self.opening = Some((self.wanted.clone(), Box::pin(opening)));
    }

    async fn next(&mut self) -> Event {
        let is_waiting = self.opening.is_none() && !self.is_enough();
        let look_at = if is_waiting { self.look_at.min(self.next_at) } else { self.look_at };
        let forget_at = self.last.as_ref().map_or(look_at, |(until, _)| *until);
        tokio::select! {
            told = told(self.current.as_mut()) => match told {
                Some(Ok(message)) if !matches!(message, Message::Response(_)) => Event::Told(message),
                _ => Event::Lost,
            },
            told = told(self.last.as_mut()) => if let Some(Ok(message)) = told {
                Event::Told(message)
            } else {
                self.last = None;
                Event::Look
            },
            opened = opened(&mut self.opening) => self.opened(opened),
            () = self.cache.filled.notified() => Event::Look,
            () = sleep_until(look_at.min(forget_at)) => {
                let now = Instant::now();
                self.last.take_if(|(until, _)| *until <= now);
                if now >= self.look_at {
                    self.look_at = now + LOOK_EVERY;
                }
                Event::Look
            }
        }
    }

    fn opened(&mut self, opened: Result<Subscribed, Refusal>) -> Event {
        let filter = self.opening.take().map(|(filter, _)| filter).unwrap_or_default();
        match opened {
            Ok(subscribed) => {
                let before = self.current.replace((filter, subscribed.replies));
                self.last = before.map(|(_, replies)| (Instant::now() + LINGER, replies));
                Event::Opened
            }
            // It may be one of the resources that it does not want to tell of.
            Err(refusal) if !filter.uris.is_empty() && is_verdict(&refusal) => {
                tracing::debug!(upstream = %self.cache.side.name, %refusal, "changes of resources are not told of");
                self.no_resources = Some(Instant::now() + TELLS_NOTHING_FOR);
                Event::Look
            }
            // What it tells of already it goes on telling of.
            Err(refusal) if self.current.is_some() => {
                tracing::debug!(upstream = %self.cache.side.name, %refusal, "no more is told of than before");
                self.next_at = Instant::now() + LOOK_EVERY;
                Event::Look
            }
            Err(refusal) => Event::NotOpened(refusal),
        }
    }
}

fn is_verdict(refusal: &Refusal) -> bool {
    matches!(refusal.kind, RefusalKind::BadMessage { .. }) && !is_unknown(refusal)
}

/// The next message of a subscription; never, if there is none.
async fn told<T>(open: Option<&mut (T, Replies)>) -> Option<Result<Message, Refusal>> {
    match open {
        Some((_, replies)) => replies.next().await,
        None => pending().await,
    }
}

async fn opened(opening: &mut Option<(Filter, Opening)>) -> Result<Subscribed, Refusal> {
    match opening {
        Some((_, opening)) => opening.await,
        None => pending().await,
    }
}

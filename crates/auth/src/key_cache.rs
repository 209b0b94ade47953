//! The keys of an issuer, kept and kept fresh: from time to time by a task, and sooner when a token names a key that is
//! not there.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm as Jwa;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::discovery;
use crate::fetch::{FETCH_MAX, Fetch, FetchError, Place};
use crate::keys::{Keys, KeysError};
use crate::url::Url;

/// How often keys are asked for that nobody misses.
const REFRESH_EVERY: Duration = Duration::from_mins(5);
/// How often at most, however many unknown keys are named.
const FETCH_PAUSE: Duration = Duration::from_secs(30);

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// At this place.
    At(Place),
    /// Where the issuer's metadata says.
    Metadata,
}

/// Why keys could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyFault {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error("its metadata {0}")]
    Metadata(String),
}

/// The keys of one issuer.
pub struct KeyCache {
    issuer: Url,
    source: KeySource,
    fetch: Arc<dyn Fetch>,
    state: watch::Sender<State>,
    wanted: Notify,
}

struct State {
    keys: Option<Arc<Keys>>,
    /// How often keys were asked for, with or without success.
    rounds: u64,
    is_asking: bool,
    /// From when on they may be asked for again.
    next: Instant,
    fault: Option<KeyFault>,
}

/// What is known of a key.
#[derive(Debug)]
pub(crate) enum Found {
    /// These keys; one of them fits.
    Keys(Arc<Keys>),
    /// None fits.
    NoKey,
    /// It cannot be told: there are no keys, or none that fits and the newest could not be had.
    Nothing,
}

impl KeyCache {
    /// An empty one; [`KeyCache::follow`] fills it.
    pub fn new(issuer: Url, source: KeySource, fetch: Arc<dyn Fetch>) -> Arc<Self> {
        let state = State { keys: None, rounds: 0, is_asking: true, next: Instant::now(), fault: None };
        Arc::new(Self { issuer, source, fetch, state: watch::Sender::new(state), wanted: Notify::new() })
    }

    /// Whose keys these are.
    pub fn issuer(&self) -> &Url {
        &self.issuer
    }

    /// Why the last try to get them failed, unless it did not.
    pub fn fault(&self) -> Option<String> {
        self.state.borrow().fault.as_ref().map(ToString::to_string)
    }

    /// Keeps the keys fresh, for ever. Without it there are none but those that [`KeyCache::load`] has got.
    pub async fn follow(self: Arc<Self>) {
        if self.state.borrow().rounds == 0 {
            self.load().await;
        }
        loop {
            let (earliest, is_well) = {
                let state = self.state.borrow();
                (state.next, state.fault.is_none())
            };
            let latest =
                if is_well { earliest + REFRESH_EVERY.saturating_sub(FETCH_PAUSE) } else { earliest };
            tokio::select! {
                () = tokio::time::sleep_until(latest) => {}
                () = self.until_wanted(earliest) => {}
            }
            self.load().await;
        }
    }

    /// Asks for the keys once.
    pub async fn load(&self) {
        self.state.send_modify(|state| {
            state.is_asking = true;
            state.next = Instant::now() + FETCH_PAUSE;
        });
        let keys = self.ask().await;
        let issuer = &self.issuer;
        match &keys {
            Ok(keys) => tracing::debug!(%issuer, keys = keys.len(), "the keys of an issuer are here"),
            Err(fault) => tracing::warn!(%issuer, %fault, "the keys of an issuer cannot be had"),
        }
        self.state.send_modify(|state| {
            state.is_asking = false;
            state.rounds += 1;
            state.fault = keys.as_ref().err().cloned();
            match keys {
                Ok(keys) => state.keys = Some(Arc::new(keys)),
                // An issuer that can be asked and names none of them has withdrawn those from before.
                Err(KeyFault::Keys(KeysError::None)) => state.keys = None,
                Err(_) => {}
            }
        });
    }

    async fn ask(&self) -> Result<Keys, KeyFault> {
        let place = match &self.source {
            KeySource::At(place) => place.clone(),
            KeySource::Metadata => Place::Url(discovery::keys_of(&self.issuer, &*self.fetch).await?),
        };
        Ok(Keys::parse(&self.fetch.fetch(&place).await?)?)
    }

    /// A wish that comes too early is none: whoever had it was told so.
    async fn until_wanted(&self, earliest: Instant) {
        loop {
            self.wanted.notified().await;
            if Instant::now() >= earliest {
                return;
            }
        }
    }

    /// The keys, one of which may have signed a token with this header. If none is there they are asked for, unless that
    /// was done a moment ago.
    pub(crate) async fn find(&self, id: Option<&str>, algorithm: Jwa) -> Found {
        let found = self.look(id, algorithm);
        if matches!(found, Found::Keys(_)) {
            return found;
        }
        let mut watched = self.state.subscribe();
        let rounds = {
            let state = watched.borrow_and_update();
            if !state.is_asking && Instant::now() < state.next {
                return found;
            }
            state.rounds
        };
        self.wanted.notify_one();
        let asked = watched.wait_for(|state| state.rounds > rounds);
        drop(tokio::time::timeout(FETCH_MAX, asked).await);
        self.look(id, algorithm)
    }

    fn look(&self, id: Option<&str>, algorithm: Jwa) -> Found {
        let state = self.state.borrow();
        match &state.keys {
            Some(keys) if keys.fitting(id, algorithm).next().is_some() => Found::Keys(Arc::clone(keys)),
            Some(_) if state.fault.is_none() && !state.is_asking => Found::NoKey,
            _ => Found::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Documents, set};

    fn cache(documents: &Arc<Documents>) -> Arc<KeyCache> {
        let issuer = Url::parse("https://login.example").unwrap();
        let at = KeySource::At(Place::File("keys".into()));
        KeyCache::new(issuer, at, Arc::clone(documents) as _)
    }

    async fn has(cache: &KeyCache, id: &str) -> bool {
        matches!(cache.find(Some(id), Jwa::RS256).await, Found::Keys(_))
    }

    /// Runs a cache beside what is asked of it.
    async fn beside<T>(cache: &Arc<KeyCache>, asked: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            () = Arc::clone(cache).follow() => unreachable!(),
            answer = asked => answer,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_key_is_asked_for_once_in_thirty_seconds() {
        let documents = Documents::new("keys", &set(&["a"]));
        let cache = cache(&documents);
        beside(&cache, async {
            assert!(has(&cache, "a").await, "the first request waits for the first keys");
            assert_eq!(documents.asked(), 1);
            documents.put("keys", &set(&["a", "b"]));
            assert!(!has(&cache, "b").await, "a moment ago it was not there");
            tokio::time::sleep(FETCH_PAUSE).await;
            let (one, other) = tokio::join!(has(&cache, "b"), has(&cache, "b"));
            assert!(one && other);
            assert_eq!(documents.asked(), 2, "both wait for the same answer");
            for number in 0..100 {
                assert!(!has(&cache, &format!("guess-{number}")).await);
            }
            assert_eq!(documents.asked(), 2);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_refreshed_though_nobody_asks_and_kept_when_that_fails() {
        let documents = Documents::new("keys", &set(&["a"]));
        let cache = cache(&documents);
        beside(&cache, async {
            assert!(has(&cache, "a").await);
            documents.put("keys", &set(&["b"]));
            tokio::time::sleep(REFRESH_EVERY + Duration::from_secs(1)).await;
            assert!(has(&cache, "b").await && !has(&cache, "a").await);
            documents.put("keys", "<html>");
            tokio::time::sleep(REFRESH_EVERY + Duration::from_secs(1)).await;
            assert!(has(&cache, "b").await);
            assert!(cache.fault().unwrap().contains("no JWK set"));
            documents.put("keys", &set(&["c"]));
            tokio::time::sleep(FETCH_PAUSE + Duration::from_secs(1)).await;
            assert!(has(&cache, "c").await);
            assert_eq!(cache.fault(), None);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_may_be_among_those_that_cannot_be_had_is_not_called_unknown() {
        let documents = Documents::new("keys", &set(&["a"]));
        let cache = cache(&documents);
        let found = async |id| cache.find(Some(id), Jwa::RS256).await;
        beside(&cache, async {
            assert!(matches!(found("a").await, Found::Keys(_)));
            assert!(matches!(found("guessed").await, Found::NoKey));
            documents.put("keys", "<html>");
            tokio::time::sleep(FETCH_PAUSE).await;
            for _ in 0..2 {
                assert!(
                    matches!(found("b").await, Found::Nothing),
                    "neither behind a failure nor soon after"
                );
            }
            assert!(matches!(found("a").await, Found::Keys(_)), "and those from before are good");
            documents.put("keys", &set(&["a", "b"]));
            documents.takes(FETCH_MAX * 2);
            tokio::time::sleep(FETCH_PAUSE).await;
            assert!(matches!(found("b").await, Found::Nothing), "they are still under way");
            tokio::time::sleep(FETCH_MAX).await;
            assert!(matches!(found("b").await, Found::Keys(_)));
            assert!(matches!(found("guessed").await, Found::NoKey));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_set_without_a_key_of_use_is_a_fault_and_takes_those_from_before_away() {
        let documents = Documents::new("keys", &set(&["a"]));
        let cache = cache(&documents);
        cache.load().await;
        for useless in [r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","kid":"a","k":"c2VjcmV0"}]}"#] {
            documents.put("keys", useless);
            cache.load().await;
            assert!(cache.fault().unwrap().contains("no key that can be used"), "{useless}");
            assert!(matches!(cache.find(Some("a"), Jwa::RS256).await, Found::Nothing), "{useless}");
        }
        documents.put("keys", &set(&["a"]));
        cache.load().await;
        assert_eq!(cache.fault(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_are_there_are_not_asked_for_at_once() {
        let documents = Documents::new("keys", &set(&["a"]));
        let cache = cache(&documents);
        cache.load().await;
        beside(&cache, async {
            assert!(has(&cache, "a").await);
            tokio::time::sleep(REFRESH_EVERY.saturating_sub(Duration::from_secs(1))).await;
            assert_eq!(documents.asked(), 1);
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(documents.asked(), 2);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn without_any_keys_nobody_is_told_that_a_token_is_bad() {
        let documents = Documents::new("keys", "");
        let cache = cache(&documents);
        beside(&cache, async {
            assert!(matches!(cache.find(Some("a"), Jwa::RS256).await, Found::Nothing));
        })
        .await;
    }
}

//! Where messages wait: bounded in number and bytes, each with a deadline and a verdict for when nobody decides.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use shadowcat_pipeline::{PeerId, Wait};
use shadowcat_protocol::{Limits, Message};
use shadowcat_rules::{Scene, Then};
use tokio::sync::{broadcast, oneshot};
use tokio::time::Instant;

use super::breakpoints::{Breakpoint, BreakpointError, Breakpoints};
use super::feed::{Feed, Happened};
use super::held::{BreakpointId, Cause, Held, HeldId, Stopped, Terms};
use super::metrics::PauseMetrics;
use super::verdict::{By, DecideError, Decision, Released, Verdict, verdict};

/// How messages are held.
#[derive(Clone, Debug)]
pub struct Settings {
    /// No longer than this, unless whatever holds a message says otherwise.
    pub deadline: Duration,
    /// What becomes of those that nobody has let go by then, or that there is no room for.
    pub then: Then,
    /// Messages at most at one time.
    pub held_max: usize,
    /// Their bytes at most.
    pub bytes_max: usize,
    /// What an edited message has to keep to.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_mins(5),
            then: Then::Block,
            held_max: 1_000,
            bytes_max: 64 * 1024 * 1024,
            limits: Limits::default(),
        }
    }
}

/// Where messages wait until somebody lets them go. Clones are the same lot.
#[derive(Clone, Debug)]
pub struct Lot(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    places: Mutex<Places>,
    breakpoints: Breakpoints,
    feed: broadcast::Sender<Happened>,
    metrics: PauseMetrics,
}

#[derive(Debug, Default)]
struct Places {
    taken: BTreeMap<HeldId, Place>,
    bytes: usize,
    last: u64,
    is_closed: bool,
}

#[derive(Debug)]
struct Place {
    held: Arc<Held>,
    bytes: usize,
    release: oneshot::Sender<Released>,
}

impl Lot {
    /// An empty lot.
    pub fn new(settings: Settings, metrics: PauseMetrics) -> Self {
        let feed = Feed::sender();
        let (places, breakpoints) = (Mutex::default(), Breakpoints::default());
        Self(Arc::new(Inner { settings, places, breakpoints, feed, metrics }))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a message until somebody lets it go, for as long as its terms say, or the proxy ends.
    ///
    /// # Cancel safety
    /// Dropped, the message is let go: whoever waited for it is gone.
    pub async fn hold(&self, stopped: Stopped) -> Released {
        let Terms { held_for, then } = stopped.terms;
        let held_for = held_for.unwrap_or(self.0.settings.deadline);
        let then = then.unwrap_or(self.0.settings.then);
        let until = Instant::now() + held_for;
        let (held, mut release) = match self.take_in(stopped, held_for, then) {
            Ok(taken) => taken,
            Err(by) => return unheard(then, by),
        };
        let _wait = Wait::begin(&held.stopped.origin);
        let _occupied = Occupied { lot: self, id: held.id };
        if let Ok(Ok(released)) = tokio::time::timeout_at(until, &mut release).await {
            return released;
        }
        self.let_go(held.id, unheard(then, By::Deadline));
        // Somebody may have been faster; what was decided first counts.
        release.try_recv().unwrap_or_else(|_| unheard(then, By::Deadline))
    }

    fn take_in(
        &self,
        stopped: Stopped,
        held_for: Duration,
        then: Then,
    ) -> Result<(Arc<Held>, oneshot::Receiver<Released>), By> {
        let bytes = stopped.bytes();
        let since = SystemTime::now();
        let mut places = self.places();
        let is_full = places.taken.len() >= self.0.settings.held_max
            || places.bytes.saturating_add(bytes) > self.0.settings.bytes_max;
        if is_full || places.is_closed {
            let by = if places.is_closed { By::Shutdown } else { By::Bound };
            drop(places);
            self.turned_away(&stopped, then, &by);
            return Err(by);
        }
        places.last += 1;
        let id = HeldId(places.last);
        let held = Held { id, stopped, since, until: since + held_for, then, is_abandoned: false };
        let held = Arc::new(held);
        let (release, released) = oneshot::channel();
        places.bytes += bytes;
        places.taken.insert(id, Place { held: Arc::clone(&held), bytes, release });
        // Under the lock, so that nobody hears of its release first.
        self.0.metrics.held(places.taken.len(), places.bytes);
        self.tell(Happened::Held(Arc::clone(&held)));
        drop(places);
        let (exchange, cause) = (held.stopped.origin.exchange, &held.stopped.cause);
        tracing::info!(%id, %exchange, %cause, message = held.kind(), method = held.method(), "held");
        Ok((held, released))
    }

    /// There is no room, or no time left.
    fn turned_away(&self, stopped: &Stopped, then: Then, by: &By) {
        if *by == By::Bound {
            self.0.metrics.refused();
        }
        let verdict = Verdict::of(then, "").word();
        let (exchange, cause) = (stopped.origin.exchange, &stopped.cause);
        tracing::warn!(%exchange, %cause, %by, verdict, "not held");
        stopped.origin.deeds.add(format!("{cause}: {verdict} by {by}"));
    }

    /// Lets a message go; says whether it was held until now.
    fn let_go(&self, id: HeldId, released: Released) -> bool {
        let mut places = self.places();
        let Some(place) = places.take(id) else { return false };
        self.release(&mut places, place, released);
        true
    }

    fn release(&self, places: &mut Places, place: Place, released: Released) {
        let Place { held, release, .. } = place;
        let (id, cause) = (held.id, &held.stopped.cause);
        let word = if released.by == By::Gone { "gone" } else { released.verdict.word() };
        self.0.metrics.released(word, places.taken.len(), places.bytes);
        let exchange = held.stopped.origin.exchange;
        let reason = released.reason.as_deref();
        tracing::info!(%id, %exchange, %cause, verdict = word, by = %released.by, reason, "let go");
        let because = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        held.stopped.origin.deeds.add(format!("{cause} ({id}): {word} by {}{because}", released.by));
        let (verdict, by) = (released.verdict.word(), released.by.clone());
        let reason = released.reason.clone();
        // Nobody waits any more if the message is gone, which is said by `Gone` then.
        drop(release.send(released));
        self.tell(Happened::Released { held, verdict, by, reason });
    }

    fn tell(&self, happened: Happened) {
        // Nobody listens, most of the time.
        drop(self.0.feed.send(happened));
    }

    /// All messages that are held, the oldest first.
    pub fn list(&self) -> Vec<Arc<Held>> {
        self.places().taken.values().map(|place| Arc::clone(&place.held)).collect()
    }

    /// One that is held.
    pub fn get(&self, id: HeldId) -> Option<Arc<Held>> {
        self.places().taken.get(&id).map(|place| Arc::clone(&place.held))
    }

    /// Lets a message go as somebody has decided.
    ///
    /// # Errors
    /// If it is not held any more, or what is put in its place cannot stand there; it is held on then.
    pub fn decide(&self, id: HeldId, decision: &Decision) -> Result<(), DecideError> {
        // Read outside the lock: an edited message may be long.
        let held = self.get(id).ok_or(DecideError::Gone(id))?;
        let verdict = verdict(decision, &held.stopped, &self.0.settings.limits)?;
        let reason = decision.reason.as_deref().map(Arc::from);
        let released = Released { verdict, by: By::Decision(Arc::clone(&decision.by)), reason };
        if self.let_go(id, released) { Ok(()) } else { Err(DecideError::Gone(id)) }
    }

    /// Gives every message the verdict for when nobody decides, at once, and from now on those that come.
    pub fn close(&self) {
        let mut places = self.places();
        places.is_closed = true;
        while let Some(id) = places.taken.keys().next().copied() {
            if let Some(place) = places.take(id) {
                let released = unheard(place.held.then, By::Shutdown);
                self.release(&mut places, place, released);
            }
        }
    }

    /// Lets go of all that this client sent or would be told: it is gone.
    pub fn leave(&self, peer: PeerId) {
        let mut places = self.places();
        let of_peer = places.taken.values().filter(|place| place.held.stopped.origin.peer == peer);
        let ids: Vec<HeldId> = of_peer.map(|place| place.held.id).collect();
        for id in ids {
            if let Some(place) = places.take(id) {
                self.release(&mut places, place, gone());
            }
        }
    }

    /// What happens from now on.
    pub fn subscribe(&self) -> Feed {
        Feed::of(self.0.feed.subscribe())
    }

    /// The breakpoints that are set, the oldest first.
    pub fn breakpoints(&self) -> Vec<Breakpoint> {
        self.0.breakpoints.list()
    }

    /// Sets a breakpoint: whatever fits the expression is held, in both directions. It concerns exchanges that begin from
    /// now on.
    ///
    /// # Errors
    /// If the expression cannot be read, or there are too many.
    pub fn add_breakpoint(&self, expression: &str, terms: Terms) -> Result<Breakpoint, BreakpointError> {
        let added = self.0.breakpoints.add(expression, terms)?;
        tracing::info!(id = %added.id, filter = %added.filter, "a breakpoint is set");
        Ok(added)
    }

    /// Takes a breakpoint away; says whether it was there. What it holds stays held.
    pub fn remove_breakpoint(&self, id: BreakpointId) -> bool {
        let was_there = self.0.breakpoints.remove(id);
        if was_there {
            tracing::info!(%id, "a breakpoint is taken away");
        }
        was_there
    }

    /// Whether there is any breakpoint: all that it costs when nobody wants anything held.
    pub fn is_watched(&self) -> bool {
        !self.0.breakpoints.is_empty()
    }

    /// The breakpoint that this message fits, the oldest if there are several, and for how long it holds.
    pub fn breakpoint_of(&self, message: &Message, scene: &Scene<'_>) -> Option<(BreakpointId, Terms)> {
        self.0.breakpoints.hit(message, scene)
    }
}

impl Places {
    fn take(&mut self, id: HeldId) -> Option<Place> {
        let place = self.taken.remove(&id)?;
        self.bytes -= place.bytes;
        Some(place)
    }
}

/// What becomes of a message about which nobody decided.
fn unheard(then: Then, by: By) -> Released {
    let sentence = match by {
        By::Bound => "too many messages are held",
        By::Shutdown => "the proxy ends, and nobody has let the message go",
        _ => "nobody has let the message go in time",
    };
    Released { verdict: Verdict::of(then, sentence), by, reason: None }
}

/// What becomes of a message whose sender is gone.
fn gone() -> Released {
    Released { verdict: Verdict::Drop, by: By::Gone, reason: None }
}

/// The place of a message that somebody waits for.
struct Occupied<'l> {
    lot: &'l Lot,
    id: HeldId,
}

impl Drop for Occupied<'_> {
    fn drop(&mut self) {
        self.lot.let_go(self.id, gone());
    }
}

impl Held {
    /// Whether it is held for want of an approval.
    pub fn is_approval(&self) -> bool {
        matches!(self.stopped.cause, Cause::Approval(_))
    }
}

//! Where messages wait: bounded in number and bytes, each with a deadline and a verdict for when nobody decides.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use shadowcat_pipeline::{PeerId, Wait};
use shadowcat_protocol::{Limits, Message};
use shadowcat_rules::{Scene, Then};
use tokio::sync::broadcast;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::approvals::{Approval, Claim, Grants};
use super::breakpoints::{Breakpoint, BreakpointError, Breakpoints};
use super::feed::{Feed, Happened};
use super::held::{BreakpointId, Cause, Held, HeldId, Stopped, Terms};
use super::metrics::PauseMetrics;
use super::verdict::{By, DecideError, Decision, Released, Verdict, Wanted, verdict};
use crate::judged::Surroundings;

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
    /// Calls that need an approval; of several that a call fits, the first.
    pub approvals: Vec<Approval>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_mins(5),
            then: Then::Block,
            held_max: 1_000,
            bytes_max: 64 * 1024 * 1024,
            limits: Limits::default(),
            approvals: Vec::new(),
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
    grants: Grants,
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
    until: Instant,
    release: oneshot::Sender<Released>,
    /// The question about it goes with it.
    _question: Option<DropGuard>,
}

impl Lot {
    /// An empty lot.
    pub fn new(settings: Settings, metrics: PauseMetrics) -> Self {
        let feed = Feed::sender();
        let (places, breakpoints, grants) = (Mutex::default(), Breakpoints::default(), Grants::default());
        Self(Arc::new(Inner { settings, places, breakpoints, grants, feed, metrics }))
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
        let (held, release) = match self.take_in(stopped, held_for, then) {
            Ok(taken) => taken,
            Err(by) => return unheard(then, by),
        };
        let _wait = Wait::begin(&held.stopped.origin);
        let mut occupied = Occupied { lot: self, id: held.id, release };
        match tokio::time::timeout_at(until, &mut occupied.release).await {
            Ok(Ok(released)) => released,
            // Its sender has left.
            Ok(Err(_)) => gone(),
            Err(_) => {
                self.let_go(held.id, unheard(then, By::Deadline));
                // Somebody may have been faster; what was decided first counts.
                occupied.release.try_recv().unwrap_or_else(|_| gone())
            }
        }
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
        self.forget_expired(&mut places);
        // A call that comes again takes its place again, under the number that somebody may be looking at.
        let again =
            stopped.claim.as_ref().and_then(|claim| places.abandoned(claim)).and_then(|id| places.take(id));
        let is_full = places.taken.len() >= self.0.settings.held_max
            || places.bytes.saturating_add(bytes) > self.0.settings.bytes_max;
        if is_full || places.is_closed {
            let by = if places.is_closed { By::Shutdown } else { By::Bound };
            drop(places);
            self.turned_away(&stopped, then, &by);
            return Err(by);
        }
        let id = again.map_or_else(|| places.number(), |again| again.held.id);
        let held = Held { id, stopped, since, until: since + held_for, then, is_abandoned: false };
        let held = Arc::new(held);
        let (release, released) = oneshot::channel();
        places.bytes += bytes;
        let until = Instant::now() + held_for;
        let approver = held.stopped.approver.as_ref();
        let question = approver.map(|approver| approver.ask(self.clone(), Arc::clone(&held)));
        places
            .taken
            .insert(id, Place { held: Arc::clone(&held), bytes, until, release, _question: question });
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
        if stopped.is_approval() {
            self.0.metrics.approval(if *by == By::Bound { "refused" } else { "shutdown" });
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
        if let Some(outcome) = outcome(&held, &released) {
            self.0.metrics.approval(outcome);
        }
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
        // Nobody waits any more if the message is gone. If it was approved, that is kept for when the call comes again.
        let missed = release.send(released).err();
        if let (Some(claim), Some(Released { verdict: Verdict::Resume, by: By::Decision(_), .. })) =
            (&held.stopped.claim, missed)
        {
            self.grant(claim);
        }
        self.tell(Happened::Released { held, verdict, by, reason });
    }

    /// Its sender is gone. A call that needs an approval stays, so that one can still be given.
    fn part(&self, places: &mut Places, id: HeldId) {
        if let Some(place) = places.taken.get_mut(&id).filter(|place| place.held.stopped.claim.is_some()) {
            place.held = Arc::new(Held { is_abandoned: true, ..(*place.held).clone() });
            // Whoever decides now finds nobody waiting.
            place.release = oneshot::channel().0;
            tracing::info!(%id, "the caller of a held call is gone; an approval is kept for when it comes again");
            let held = Arc::clone(&place.held);
            self.tell(Happened::Held(held));
        } else if let Some(place) = places.take(id) {
            self.release(places, place, gone());
        }
    }

    /// Lets go of calls that nobody has approved in time, nor waits for. Whoever looks into the lot sees none of them; called
    /// from time to time this keeps the figures as true, and the feed.
    pub fn sweep(&self) {
        self.forget_expired(&mut self.places());
    }

    fn forget_expired(&self, places: &mut Places) {
        let now = Instant::now();
        let expired = places.taken.values().filter(|place| place.held.is_abandoned && place.until <= now);
        let expired: Vec<HeldId> = expired.map(|place| place.held.id).collect();
        for id in expired {
            if let Some(place) = places.take(id) {
                self.release(places, place, unheard(Then::Block, By::Deadline));
            }
        }
    }

    fn grant(&self, claim: &Claim) {
        if self.0.grants.add(claim) {
            tracing::info!(grant_for = ?claim.grant_for, "an approval is kept for when its call comes again");
        } else {
            tracing::warn!("an approval is lost: too many wait for their call to come again");
        }
    }

    /// Whether any call needs an approval.
    pub(super) fn approves(&self) -> bool {
        !self.0.settings.approvals.is_empty()
    }

    /// The approval that this request to the server needs, if any. One that cannot be judged needs it.
    pub(super) fn approval_of(&self, message: &Message, scene: &Scene<'_>) -> Option<&Approval> {
        let needs =
            |approval: &&Approval| approval.meant.holds(message, scene, &Surroundings).unwrap_or(true);
        self.0.settings.approvals.iter().find(needs)
    }

    /// The approvals whose webhook failed repeatedly and is being left alone.
    pub fn left_alone(&self) -> impl Iterator<Item = &str> {
        self.0.settings.approvals.iter().filter_map(|approval| approval.approver.as_ref()?.left_alone())
    }

    /// Approvals whose call is to come again.
    pub(super) fn grants(&self) -> &Grants {
        &self.0.grants
    }

    pub(super) fn metrics(&self) -> &PauseMetrics {
        &self.0.metrics
    }

    fn tell(&self, happened: Happened) {
        // Nobody listens, most of the time.
        drop(self.0.feed.send(happened));
    }

    /// All messages that are held, the oldest first.
    pub fn list(&self) -> Vec<Arc<Held>> {
        let mut places = self.places();
        self.forget_expired(&mut places);
        places.taken.values().map(|place| Arc::clone(&place.held)).collect()
    }

    /// One that is held.
    pub fn get(&self, id: HeldId) -> Option<Arc<Held>> {
        let mut places = self.places();
        self.forget_expired(&mut places);
        places.taken.get(&id).map(|place| Arc::clone(&place.held))
    }

    /// Lets a message go as somebody has decided.
    ///
    /// # Errors
    /// If it is not held any more, or what is put in its place cannot stand there; it is held on then.
    pub fn decide(&self, id: HeldId, decision: &Decision) -> Result<(), DecideError> {
        // Read outside the lock: an edited message may be long.
        let held = self.get(id).ok_or(DecideError::Gone(id))?;
        if held.is_abandoned && !matches!(decision.wanted, Wanted::Resume | Wanted::Block) {
            return Err(DecideError::Bad("its caller is gone: resume or block it".to_owned()));
        }
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
            self.part(&mut places, id);
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
    fn number(&mut self) -> HeldId {
        self.last += 1;
        HeldId(self.last)
    }

    /// The same call, whose caller is gone.
    fn abandoned(&self, claim: &Claim) -> Option<HeldId> {
        let is_same = |place: &&Place| {
            let other = place.held.stopped.claim.as_ref();
            place.held.is_abandoned && other.is_some_and(|other| other.call == claim.call)
        };
        self.taken.values().find(is_same).map(|place| place.held.id)
    }

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

/// How it ended with the approval that this message needs, if it needs one.
fn outcome(held: &Held, released: &Released) -> Option<&'static str> {
    held.is_approval().then_some(match (&released.by, &released.verdict) {
        (By::Decision(_), Verdict::Resume | Verdict::Edit(_)) => "granted",
        (By::Decision(_), _) => "denied",
        (By::Deadline, _) => "expired",
        (By::Shutdown, _) => "shutdown",
        (By::Bound, _) => "refused",
        (By::Gone, _) => "gone",
    })
}

/// What becomes of a message whose sender is gone.
fn gone() -> Released {
    Released { verdict: Verdict::Drop, by: By::Gone, reason: None }
}

/// The place of a message that somebody waits for.
struct Occupied<'l> {
    lot: &'l Lot,
    id: HeldId,
    release: oneshot::Receiver<Released>,
}

impl Drop for Occupied<'_> {
    fn drop(&mut self) {
        let mut places = self.lot.places();
        // Who was released or sent away has no place any more; one of the same number is that of a call that came again.
        if matches!(self.release.try_recv(), Err(TryRecvError::Empty)) {
            self.lot.part(&mut places, self.id);
        }
    }
}

impl Held {
    /// Whether it is held for want of an approval.
    pub fn is_approval(&self) -> bool {
        self.stopped.is_approval()
    }
}

impl Stopped {
    fn is_approval(&self) -> bool {
        matches!(self.cause, Cause::Approval(_))
    }
}

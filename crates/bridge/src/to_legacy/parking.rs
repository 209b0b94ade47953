//! Calls whose client was asked something and has not come back: each waits here, its exchange with the server open.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{ExchangeId, Principal, Refusal, RefusalKind};
use shadowcat_protocol::Message;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::call::Call;
use super::round::Round;
use super::settings::ToLegacySettings;
use crate::counters::Counters;
use crate::seal::{KEY_LIFE, NoKey, Seal};

/// When a client that found no room for its call may come again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Used states of calls to be made again that are remembered.
const USED_MAX: usize = 10_000;

/// The calls that wait for their client.
pub(super) struct Parking {
    settings: ToLegacySettings,
    seal: Arc<Seal>,
    counters: Arc<Counters>,
    tasks: Tasks,
    since: Instant,
    parked: Mutex<HashMap<u64, Parked>>,
    used: Mutex<Used>,
}

/// A waiting call, as those find it who want to go on with it. The call itself is with the task that watches it.
struct Parked {
    principal: Option<Principal>,
    wake: CancellationToken,
    call: oneshot::Receiver<Call>,
}

/// What a state stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A call that waits under this number.
    Parked(u64),
    /// A call that has ended, and is to be made again.
    Again(Visit),
}

/// A page that was to be visited before a call is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visit {
    number: u64,
    /// Counted from the beginning of the table.
    until: Duration,
}

/// The visits after which a call was made again: each is good for one.
#[derive(Default)]
struct Used {
    until: BTreeMap<u64, Duration>,
    /// Of all up to this one it is not known any more whether they were used.
    forgotten: u64,
}

impl Used {
    /// Whether a visit is good now: in time, and not used.
    fn is_good(&self, visit: Visit, now: Duration) -> bool {
        visit.until >= now && visit.number > self.forgotten && !self.until.contains_key(&visit.number)
    }

    /// Uses a visit, if it is good.
    fn take(&mut self, visit: Visit, now: Duration) -> bool {
        while let Some(first) = self.until.first_entry().filter(|first| *first.get() < now) {
            first.remove();
        }
        if !self.is_good(visit, now) {
            return false;
        }
        if self.until.len() >= USED_MAX
            && let Some((number, _)) = self.until.pop_first()
        {
            self.forgotten = number;
        }
        self.until.insert(visit.number, visit.until);
        true
    }
}

impl Parking {
    pub(super) fn new(
        settings: ToLegacySettings,
        seal: Arc<Seal>,
        counters: Arc<Counters>,
        tasks: Tasks,
    ) -> Arc<Self> {
        let settings = ToLegacySettings { parked_for: settings.parked_for.min(KEY_LIFE), ..settings };
        Arc::new(Self {
            settings,
            seal,
            counters,
            tasks,
            since: Instant::now(),
            parked: Mutex::default(),
            used: Mutex::default(),
        })
    }

    pub(super) fn gather(&self) -> Duration {
        self.settings.gather
    }

    pub(super) fn seal(&self) -> &Seal {
        &self.seal
    }

    fn parked(&self) -> MutexGuard<'_, HashMap<u64, Parked>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call wait; what its client gets meanwhile.
    pub(super) fn park(self: &Arc<Self>, call: Call) -> Result<Message, Refusal> {
        let number = ExchangeId::next().get();
        let state = self.seal_text(&call.round, &format!("p{number}"));
        let (back, returned) = oneshot::channel();
        let wake = CancellationToken::new();
        let principal = call.round.principal.clone();
        let parked = Parked { principal, wake: wake.clone(), call: returned };
        let entered = state.and_then(|state| self.enter(number, parked).map(|()| state));
        let state = match entered {
            Ok(state) => state,
            Err(refusal) => {
                self.tasks.spawn(call.give_up());
                return Err(refusal);
            }
        };
        let response = call.input_required(&state);
        let this = Arc::clone(self);
        self.tasks.spawn(async move { this.watch(number, call, wake, back).await });
        Ok(Message::Response(response))
    }

    fn enter(&self, number: u64, entry: Parked) -> Result<(), Refusal> {
        let mut parked = self.parked();
        // Those that nobody knows by a name may be anybody, and not one who takes too much.
        let same = entry.principal.as_ref().map_or(0, |principal| {
            parked.values().filter(|other| other.principal.as_ref() == Some(principal)).count()
        });
        if parked.len() >= self.settings.parked_max || same >= self.settings.parked_per_principal_max {
            let refusal = Refusal::new(RefusalKind::Overloaded { retry_after: RETRY_AFTER });
            return Err(refusal.with_detail("too many calls wait for their client's answers"));
        }
        parked.insert(number, entry);
        self.counters.parked.add();
        Ok(())
    }

    fn remove(&self, number: u64) -> Option<Parked> {
        let parked = self.parked().remove(&number)?;
        self.counters.parked.take();
        Some(parked)
    }

    /// Keeps a call going until its client is back, or until it is too late.
    async fn watch(&self, number: u64, mut call: Call, wake: CancellationToken, back: oneshot::Sender<Call>) {
        let late = tokio::time::sleep(self.settings.parked_for);
        tokio::pin!(late);
        let stop = self.tasks.stop_signal();
        let is_late = loop {
            tokio::select! {
                biased;
                () = wake.cancelled() => break false,
                () = stop.cancelled() => break false,
                () = &mut late => break true,
                () = call.wait() => {}
            }
        };
        // In the table, it is nobody else's; taken out, somebody waits for it, even if it is late.
        if self.remove(number).is_some() {
            if is_late {
                self.counters.expired.add();
            }
            tracing::debug!(is_late, "a call is given up: its client did not come back with the answers");
            call.give_up().await;
        } else if let Err(call) = back.send(call) {
            call.give_up().await;
        }
    }

    /// Takes a waiting call out, once.
    pub(super) async fn take(&self, number: u64) -> Option<Call> {
        let parked = self.remove(number)?;
        parked.wake.cancel();
        parked.call.await.ok()
    }

    /// The state of a call that has ended and is to be made again.
    pub(super) fn seal_visit(&self, round: &Round) -> Result<String, Refusal> {
        let until = self.since.elapsed() + self.settings.parked_for;
        self.seal_text(round, &format!("a{}.{}", ExchangeId::next().get(), until.as_millis()))
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a call may be made again after this visit: once, and not too late.
    pub(super) fn may_repeat(&self, visit: Visit) -> bool {
        self.used().is_good(visit, self.since.elapsed())
    }

    /// Says the same, and that the call is made now.
    pub(super) fn repeats(&self, visit: Visit) -> bool {
        self.used().take(visit, self.since.elapsed())
    }

    fn seal_text(&self, round: &Round, text: &str) -> Result<String, Refusal> {
        let binding = round.binding();
        let sealed = self.seal.seal(&binding.each_ref().map(String::as_str), text.as_bytes());
        sealed.map_err(|NoKey| Refusal::new(RefusalKind::Internal).with_cause(NoKey))
    }

    /// What a state stands for, if it was made here, for this principal and this call.
    pub(super) fn open(&self, round: &Round, state: &str) -> Option<State> {
        let binding = round.binding();
        let text = self.seal.open(&binding.each_ref().map(String::as_str), state).ok()?;
        let text = str::from_utf8(&text).ok()?;
        if let Some(number) = text.strip_prefix('p') {
            return number.parse().ok().map(State::Parked);
        }
        let (number, until) = text.strip_prefix('a')?.split_once('.')?;
        let until = Duration::from_millis(until.parse().ok()?);
        Some(State::Again(Visit { number: number.parse().ok()?, until }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_is_good_for_one_call_also_when_too_many_are_remembered() {
        let minute = Duration::from_mins(1);
        let visit = |number| Visit { number, until: minute };
        let mut used = Used::default();
        assert!(used.take(visit(7), Duration::ZERO));
        assert!(!used.take(visit(7), minute), "a second time");
        for number in 10..10 + USED_MAX as u64 {
            assert!(used.take(visit(number), Duration::ZERO), "{number}");
        }
        assert_eq!((used.until.len(), used.forgotten), (USED_MAX, 7));
        assert!(!used.take(visit(7), Duration::ZERO) && !used.take(visit(6), Duration::ZERO));
        assert!(!used.take(visit(9), minute * 2), "too late");
        assert!(used.until.is_empty(), "what is too old is not kept");
    }
}

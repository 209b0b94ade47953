//! The children of one upstream: how many may live, when another may be started, and a few that are started before
//! anybody asks. A child that was handed out never comes back: it has spoken to somebody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::backoff::{Breaker, Denied, Policy, Restarts};
use super::child::{Child, Limits, Nursery, SpawnError};
use super::child_exit::Exit;
use super::guard::Guard;
use super::spec::Command;

/// How long the warm stock waits after a program that could not be started.
const SPAWN_RETRY: Duration = Duration::from_secs(30);

/// How an upstream's children are run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Children alive at the same time, warm ones included.
    pub live_max: usize,
    /// Callers that may wait for a place.
    pub waiting_max: usize,
    /// How long a caller waits for a place, and for the pause after a crash.
    pub wait: Duration,
    /// Children kept ready.
    pub warm: usize,
    /// Bounds of each child.
    pub limits: Limits,
    /// When a child may follow one that crashed.
    pub restarts: Policy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            live_max: 32,
            waiting_max: 256,
            wait: Duration::from_secs(10),
            warm: 0,
            limits: Limits::default(),
            restarts: Policy::default(),
        }
    }
}

/// Why no child was started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The program could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The server crashes again and again, or has just crashed and rests for longer than a caller waits.
    #[error("the server keeps crashing; its last words: {}", last_stderr.as_deref().unwrap_or("none"))]
    BreakerOpen {
        /// The last line that the last crashed child wrote to stderr.
        last_stderr: Option<Box<str>>,
        /// When to ask again.
        retry_after: Duration,
    },
    /// All places are taken and the wait for one was in vain.
    #[error("all {live_max} places for children are taken")]
    Overloaded {
        /// The number of places.
        live_max: usize,
    },
    /// The proxy ends.
    #[error("shutting down")]
    ShuttingDown,
}

/// What a health page or a metric wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Places taken: children that run, warm ones among them, and those about to be started.
    pub live: usize,
    /// Children ready to be handed out.
    pub warm: usize,
    /// Children started since the beginning.
    pub spawned: u64,
    /// Exits since the beginning.
    pub exits: u64,
    /// Those of them that nobody had asked for.
    pub crashes: u64,
    /// Whether children may be started.
    pub breaker: Breaker,
}

/// Starts the children of one upstream.
#[derive(Clone, Debug)]
pub struct Launcher(Arc<Yard>);

#[derive(Debug)]
struct Yard {
    command: Command,
    settings: Settings,
    nursery: Nursery,
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    state: Mutex<State>,
    /// Wakes the task that keeps the warm stock.
    stock_changed: Notify,
}

#[derive(Debug)]
struct State {
    restarts: Restarts,
    warm: VecDeque<Child>,
    spawned: u64,
    exits: u64,
    crashes: u64,
    last_stderr: Option<Box<str>>,
}

impl Launcher {
    /// A launcher for `command`; it starts filling its warm stock at once and has to be created within a runtime.
    pub fn new(command: Command, settings: Settings, guard: Guard) -> Self {
        let restarts = Restarts::new(settings.restarts.clone());
        let state =
            State { restarts, warm: VecDeque::new(), spawned: 0, exits: 0, crashes: 0, last_stderr: None };
        let yard = Arc::new(Yard {
            nursery: Nursery::new(guard),
            places: Arc::new(Semaphore::new(settings.live_max)),
            waiting: Arc::new(Semaphore::new(settings.waiting_max)),
            state: Mutex::new(state),
            stock_changed: Notify::new(),
            command,
            settings,
        });
        if yard.settings.warm > 0 {
            yard.nursery.tasks().spawn_until_stop(keep_stock(Arc::downgrade(&yard)));
        }
        Self(yard)
    }

    /// A child that nobody has spoken to: a warm one, or one started now. Waits for a place, and for the pause after a
    /// crash, for at most [`Settings::wait`] each.
    ///
    /// # Cancel safety
    /// A place is given back and a child stopped when this is dropped.
    pub async fn launch(&self) -> Result<Child, LaunchError> {
        if let Some(child) = self.0.take_warm() {
            return Ok(child);
        }
        let stop = self.0.nursery.tasks().stop_signal();
        stop.run_until_cancelled(self.0.start()).await.unwrap_or(Err(LaunchError::ShuttingDown))
    }

    /// Figures of this moment.
    pub fn stats(&self) -> Stats {
        let state = self.0.lock();
        Stats {
            live: self.0.settings.live_max.saturating_sub(self.0.places.available_permits()),
            warm: state.warm.iter().filter(|child| child.process.is_running()).count(),
            spawned: state.spawned,
            exits: state.exits,
            crashes: state.crashes,
            breaker: state.restarts.breaker(),
        }
    }

    /// Stops all children at the same time; what is left at the deadline is killed. Says whether all are gone.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        let gone = self.0.nursery.shutdown(deadline).await;
        self.0.lock().warm.clear();
        gone
    }
}

impl Yard {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_warm(&self) -> Option<Child> {
        let mut state = self.lock();
        while let Some(child) = state.warm.pop_front() {
            self.stock_changed.notify_one();
            if child.process.is_running() && !self.nursery.is_stopping() {
                return Some(child);
            }
        }
        None
    }

    async fn start(self: &Arc<Self>) -> Result<Child, LaunchError> {
        if let Err(denied) = self.check() {
            self.refuse_if_too_long(denied)?;
        }
        let place = self.place().await?;
        let deadline = Instant::now() + self.settings.wait;
        loop {
            let denied = match self.permit_start() {
                Ok(()) => return Ok(self.spawn(place)?),
                Err(denied) => denied,
            };
            let pause = self.refuse_if_too_long(denied)?;
            // Others may have crashed meanwhile and prolonged the pause.
            if Instant::now() + pause > deadline {
                return Err(self.refusal(pause));
            }
            sleep(pause).await;
        }
    }

    fn check(&self) -> Result<(), Denied> {
        self.lock().restarts.check(Instant::now())
    }

    fn permit_start(&self) -> Result<(), Denied> {
        self.lock().restarts.start(Instant::now())
    }

    fn refuse_if_too_long(&self, denied: Denied) -> Result<Duration, LaunchError> {
        match denied {
            Denied::Pause(pause) if pause <= self.settings.wait => Ok(pause),
            Denied::Pause(wait) | Denied::Open(wait) => Err(self.refusal(wait)),
        }
    }

    fn refusal(&self, retry_after: Duration) -> LaunchError {
        LaunchError::BreakerOpen { last_stderr: self.lock().last_stderr.clone(), retry_after }
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, LaunchError> {
        let overloaded = || LaunchError::Overloaded { live_max: self.settings.live_max };
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = self.waiting.try_acquire().map_err(|_| overloaded())?;
        let place = timeout(self.settings.wait, Arc::clone(&self.places).acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or_else(overloaded)
    }

    fn spawn(self: &Arc<Self>, place: OwnedSemaphorePermit) -> Result<Child, SpawnError> {
        let yard = Arc::downgrade(self);
        let at_exit = move |exit: &Exit| {
            if let Some(yard) = yard.upgrade() {
                yard.note(exit);
            }
            place
        };
        let spawned = Child::spawn(&self.command, &self.settings.limits, &self.nursery, at_exit);
        let mut state = self.lock();
        match &spawned {
            Ok(_) => state.spawned += 1,
            Err(_) => state.restarts.not_started(Instant::now()),
        }
        spawned
    }

    fn note(&self, exit: &Exit) {
        let mut state = self.lock();
        state.exits += 1;
        if !exit.asked {
            state.crashes += 1;
            state.last_stderr = exit.stderr.last().cloned();
            state.restarts.exited(Instant::now(), exit.up, exit.served, chance());
        }
        self.stock_changed.notify_one();
    }

    /// Starts one warm child if one is missing; says how long to wait before the next look, nothing if the stock is
    /// full or all places are taken.
    fn restock(self: &Arc<Self>) -> Option<Duration> {
        let missing = {
            let mut state = self.lock();
            state.warm.retain(|child| child.process.is_running());
            state.warm.len() < self.settings.warm
        };
        if !missing {
            return None;
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        if let Err(Denied::Pause(wait) | Denied::Open(wait)) = self.permit_start() {
            return Some(wait);
        }
        match self.spawn(place) {
            Ok(child) => {
                self.lock().warm.push_back(child);
                Some(Duration::ZERO)
            }
            Err(cause) => {
                tracing::warn!(server = &*self.command.name, error = %cause, "no warm child could be started");
                Some(SPAWN_RETRY)
            }
        }
    }
}

/// Keeps the warm stock for as long as anybody holds the launcher.
async fn keep_stock(yard: Weak<Yard>) {
    /// A look now and then even if nothing was heard of: places are given back without a word, launchers dropped too.
    const LOOK: Duration = Duration::from_secs(5);
    while let Some(held) = yard.upgrade() {
        match held.restock() {
            // Nothing that happens meanwhile makes this wait shorter.
            Some(wait) => {
                drop(held);
                sleep(wait).await;
            }
            None => {
                let _changed_or_time_to_look = timeout(LOOK, held.stock_changed.notified()).await;
            }
        }
    }
}

/// A number in 0..1.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
#[path = "warm_tests.rs"]
mod tests;

//! Sessions over a store that fails as told, in paused time.

use shadowcat_pipeline::task::Tasks;

use super::Durability::{MemoryOnly, Queued};
use super::*;
use crate::contract::written;
use crate::testing::{Flaky, Mood, key, record};

struct Bench {
    store: Arc<Flaky>,
    sessions: Arc<Sessions>,
    tasks: Tasks,
}

fn limits() -> SessionsLimits {
    SessionsLimits::default()
}

fn small(cached: usize, pending_max: usize) -> SessionsLimits {
    let mut limits = limits();
    limits.cache.records_max = cached;
    limits.write.pending_max = pending_max;
    limits
}

impl Bench {
    fn new(limits: SessionsLimits) -> Self {
        Self::on(Flaky::new(), limits)
    }

    fn on(store: Arc<Flaky>, limits: SessionsLimits) -> Self {
        let (sessions, worker) = Sessions::new(Arc::clone(&store) as Arc<dyn SessionStore>, limits);
        let tasks = Tasks::new();
        tasks.spawn(worker.run(tasks.stop_signal()));
        Self { store, sessions: Arc::new(sessions), tasks }
    }

    async fn written(&self) -> bool {
        written(&self.sessions, Duration::from_secs(10)).await
    }

    async fn stop(&self) {
        self.tasks.stop();
        assert!(self.tasks.join(Duration::from_mins(1)).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_outlives_the_process_and_its_cache() {
    let bench = Bench::new(limits());
    assert_eq!(bench.sessions.insert(record("a")).unwrap(), Queued);
    bench.stop().await;
    let next = Bench::on(Arc::clone(&bench.store), limits());
    assert_eq!(next.sessions.get(&key("a")).await.unwrap().as_deref(), Some(&record("a")));
    next.sessions.get(&key("a")).await.unwrap();
    assert_eq!(next.store.loads(), 1);
    assert!(next.sessions.get(&key("b")).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_left_the_cache_before_it_was_written_is_still_found() {
    let bench = Bench::new(small(1, 100));
    bench.store.set(Mood::Unreachable);
    for name in ["a", "b", "c"] {
        bench.sessions.insert(record(name)).unwrap();
    }
    bench.sessions.update(&key("a"), |record| record.requests += 1).await.unwrap().unwrap();
    bench.sessions.get(&key("b")).await.unwrap().unwrap();
    assert_eq!(bench.sessions.get(&key("a")).await.unwrap().unwrap().requests, 1);
    assert_eq!(bench.sessions.stats().cached, 1);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_events_at_once_stay_bounded_and_go_in_batches_of_fifty() {
    let bench = Bench::new(limits());
    for number in 0..10_000 {
        let name = (number % 1_000).to_string();
        if number < 1_000 {
            bench.sessions.insert(record(&name)).unwrap();
        } else {
            bench.sessions.update(&key(&name), |record| record.log_level = None).await.unwrap().unwrap();
        }
    }
    assert!(bench.sessions.stats().queued <= 1_000);
    assert!(bench.written().await);
    assert_eq!(bench.store.len(), 1_000);
    assert!(bench.store.batches().iter().all(|size| *size <= 50));
    assert_eq!(bench.store.stored(&key("7")).unwrap().version(), 10);
    assert_eq!((bench.sessions.stats().queued, bench.sessions.stats().queued_bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn counters_wait_for_company_and_everything_else_does_not() {
    let bench = Bench::new(limits());
    bench.sessions.insert(record("a")).unwrap();
    assert!(bench.written().await);
    for _ in 0..100 {
        bench.sessions.update(&key("a"), |record| record.requests += 1).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(bench.store.batches().len(), 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((bench.store.batches().len(), bench.store.stored(&key("a")).unwrap().requests), (2, 100));
    bench.sessions.update(&key("a"), |record| record.upstream_token = None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(bench.store.stored(&key("a")).unwrap().upstream_token, None);
}

#[tokio::test(start_paused = true)]
async fn an_ended_session_is_gone_at_once_and_for_good() {
    let bench = Bench::new(limits());
    bench.sessions.insert(record("a")).unwrap();
    assert!(bench.written().await);
    bench.store.set(Mood::Unreachable);
    assert_eq!(bench.sessions.remove(&key("a")).await, Queued);
    assert_eq!(bench.sessions.remove(&key("a")).await, Queued);
    assert!(bench.sessions.get(&key("a")).await.unwrap().is_none());
    assert!(bench.sessions.update(&key("a"), |_| ()).await.unwrap().is_none());
    bench.store.set(Mood::Well);
    assert!(bench.written().await);
    assert_eq!(bench.store.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_written_leaves_memory_and_is_still_known() {
    let bench = Bench::new(limits());
    bench.sessions.insert(record("a")).unwrap();
    let end = |record: &mut Record| {
        for state in [State::Closing, State::Closed] {
            record.step(state).unwrap();
        }
    };
    bench.sessions.update(&key("a"), end).await.unwrap();
    assert_eq!(bench.sessions.stats().cached, 1);
    assert!(bench.written().await);
    assert_eq!(bench.sessions.stats().cached, 0);
    assert_eq!(bench.sessions.get(&key("a")).await.unwrap().unwrap().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_degrades_and_heals_within_five_seconds() {
    let bench = Bench::new(limits());
    bench.store.set(Mood::Unreachable);
    bench.sessions.insert(record("a")).unwrap();
    tokio::time::sleep(Duration::from_mins(1)).await;
    let reason = "session store unreachable".to_owned();
    assert_eq!(bench.sessions.health(), Health::Degraded { reason });
    assert!(bench.sessions.get(&key("a")).await.unwrap().is_some());
    let retries = bench.sessions.stats().retries;
    assert!((25..50).contains(&retries), "pauses grow to two seconds: {retries} in a minute");
    bench.store.set(Mood::Well);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.sessions.health(), Health::Durable);
    assert_eq!(bench.store.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_flags_sessions_and_writes_them_when_the_store_is_back() {
    let bench = Bench::new(small(5, 2));
    bench.store.set(Mood::Unreachable);
    let outcomes = ["a", "b", "c", "d"].map(|name| bench.sessions.insert(record(name)).unwrap());
    assert_eq!(outcomes, [Queued, Queued, MemoryOnly, MemoryOnly]);
    assert_eq!(bench.sessions.stats().memory_only, 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let reason = "session store unreachable; 2 sessions are kept in memory only".to_owned();
    assert_eq!(bench.sessions.health(), Health::Degraded { reason });
    assert!(bench.sessions.get(&key("d")).await.unwrap().is_some());
    bench.store.set(Mood::Well);
    assert!(bench.written().await);
    assert_eq!((bench.store.len(), bench.sessions.health()), (4, Health::Durable));
}

#[tokio::test(start_paused = true)]
async fn a_flagged_session_that_leaves_the_cache_is_counted_as_lost() {
    let bench = Bench::new(small(2, 1));
    bench.store.set(Mood::Unreachable);
    for name in ["a", "b", "c", "d"] {
        bench.sessions.insert(record(name)).unwrap();
    }
    let stats = bench.sessions.stats();
    assert_eq!((stats.cached, stats.queued, stats.memory_only, stats.lost), (2, 1, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn one_session_the_store_refuses_does_not_hold_up_the_others() {
    let bench = Bench::new(limits());
    bench.store.set(Mood::RefusesPoison);
    for name in ["a", "poison", "b"] {
        bench.sessions.insert(record(name)).unwrap();
    }
    assert!(bench.written().await);
    assert_eq!((bench.store.len(), bench.sessions.stats().failed), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_costs_no_more_than_the_deadlines() {
    let bench = Bench::new(limits());
    bench.store.set(Mood::Hangs);
    let started = Instant::now();
    let failed = bench.sessions.get(&key("a")).await;
    assert!(matches!(failed, Err(SessionsError::Store(StoreError::TimedOut))));
    assert_eq!(started.elapsed(), limits().load_deadline);
    bench.sessions.insert(record("b")).unwrap();
    assert!(!bench.written().await);
    bench.tasks.stop();
    assert!(bench.tasks.join(limits().write.write_deadline + limits().write.flush_deadline).await);
    assert_eq!(bench.sessions.stats().lost, 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_written_when_the_worker_is_stopped() {
    let bench = Bench::new(limits());
    for number in 0..120 {
        bench.sessions.insert(record(&number.to_string())).unwrap();
        bench.sessions.update(&key(&number.to_string()), |record| record.requests = 9).await.unwrap();
    }
    bench.stop().await;
    assert_eq!(bench.store.len(), 120);
    assert_eq!(bench.store.stored(&key("119")).unwrap().requests, 9);
    assert_eq!(bench.sessions.insert(record("late")).unwrap(), MemoryOnly);
    assert!(!bench.written().await, "nothing is written after the end");
}

#[tokio::test(start_paused = true)]
async fn an_end_during_a_fetch_is_not_undone_by_it() {
    let bench = Bench::new(limits());
    bench.sessions.insert(record("a")).unwrap();
    bench.stop().await;
    let next = Bench::on(Arc::clone(&bench.store), limits());
    next.store.set(Mood::Hangs);
    let fetching = async {
        let _outcome = next.sessions.get(&key("a")).await;
    };
    let ending = async {
        next.store.asked().await;
        next.sessions.remove(&key("a")).await;
        next.store.set(Mood::Well);
    };
    tokio::join!(fetching, ending);
    assert!(next.sessions.get(&key("a")).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_record_may_not_outgrow_its_limit() {
    let bench = Bench::new(limits());
    bench.sessions.insert(record("a")).unwrap();
    let long = "x".repeat(RECORD_BYTES_MAX);
    let refused = bench.sessions.update(&key("a"), |record| record.log_level = Some(long.clone())).await;
    assert!(matches!(refused, Err(SessionsError::TooLarge { .. })));
    assert_eq!(*bench.sessions.get(&key("a")).await.unwrap().unwrap(), record("a"));
    let mut huge = record("b");
    huge.log_level = Some(long);
    assert!(matches!(bench.sessions.insert(huge), Err(SessionsError::TooLarge { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_update_cannot_move_a_session_to_another_key_or_version() {
    let bench = Bench::new(limits());
    bench.sessions.insert(record("a")).unwrap();
    bench.sessions.update(&key("a"), |it| *it = record("b")).await.unwrap();
    let found = bench.sessions.get(&key("a")).await.unwrap().unwrap();
    assert_eq!((found.key(), found.version()), (&key("a"), 2));
    assert!(bench.sessions.get(&key("b")).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_old_expires_in_cache_queue_and_store() {
    let bench = Bench::new(small(2, 100));
    for name in ["a", "b", "c"] {
        bench.sessions.insert(record(name)).unwrap();
    }
    assert!(bench.written().await);
    bench.store.set(Mood::Unreachable);
    bench.sessions.insert(record("queued")).unwrap();
    bench.sessions.update(&key("queued"), |record| record.errors = 1).await.unwrap();
    assert_eq!(bench.sessions.expire(record("a").last_used_ms + 1).await.unwrap(), 3);
    bench.store.set(Mood::Well);
    assert!(bench.written().await);
    let stats = bench.sessions.stats();
    assert_eq!((bench.store.len(), stats.cached, stats.cached_bytes, stats.queued), (0, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_an_update_leaves_the_session_as_it_was() {
    let bench = Bench::new(limits());
    bench.sessions.insert(record("a")).unwrap();
    let sessions = Arc::clone(&bench.sessions);
    let doomed = Tasks::new();
    doomed.spawn(async move {
        let _outcome =
            sessions.update(&key("a"), |_| panic!("on purpose")).await.map(|none: Option<()>| none);
    });
    assert!(doomed.join(Duration::from_secs(1)).await);
    assert_eq!(*bench.sessions.get(&key("a")).await.unwrap().unwrap(), record("a"));
}

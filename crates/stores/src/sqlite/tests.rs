//! The SQLite store against the contract, damage, a full disk, other programs and sudden death.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shadowcat_pipeline::task::Tasks;
use shadowcat_protocol::Revision;
use shadowcat_session::contract::{self, written};
use shadowcat_session::{CacheLimits, Handshake, Health, SessionId, Sessions, SessionsLimits, State};
use tempfile::TempDir;

use super::*;

const PATIENCE: Duration = Duration::from_mins(2);

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data").join("sessions.db");
    (folder, path)
}

fn record(number: usize) -> Arc<Record> {
    let key = Key::new(Namespace::reverse("test"), SessionId::parse(&format!("id-{number:05}")).unwrap());
    let mut record = Record::new(key, Revision::V2025_11_25, "everything", 1_000);
    record.handshake =
        Some(Arc::new(Handshake::new("{\"p\":1}".repeat(150), "{\"r\":1}".repeat(150)).unwrap()));
    Arc::new(record)
}

/// The same, with its handshake done, so that it is written at once.
fn living(number: usize) -> Record {
    let mut living = Record::clone(&record(number));
    living.step(State::Initializing).and_then(|()| living.step(State::Active)).unwrap();
    living
}

fn records(count: usize) -> Vec<Arc<Record>> {
    (0..count).map(record).collect()
}

/// A whole store of so many records, closed.
async fn filled(path: &Path, count: usize) {
    let store = SqliteStore::open(path).unwrap();
    store.save(&records(count)).await.unwrap();
    store.close().await.unwrap();
}

/// Waits until the store is in trouble, and says which.
async fn trouble(sessions: &Sessions) -> Health {
    let noticed = async {
        while sessions.health() == Health::Durable {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sessions.health()
    };
    tokio::time::timeout(PATIENCE, noticed).await.unwrap()
}

fn refusal(path: &Path) -> String {
    match SqliteStore::open(path) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_holds_to_the_contract() {
    let (_folder, path) = folder();
    contract::check(Arc::new(SqliteStore::open(path).unwrap())).await.unwrap();
}

#[tokio::test]
async fn records_are_there_after_a_restart() {
    let (_folder, path) = folder();
    filled(&path, 3).await;
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.load(record(2).key()).await.unwrap().as_ref(), Some(&*record(2)));
    assert_eq!(store.count().await.unwrap(), 3);
    store.close().await.unwrap();
}

#[tokio::test]
async fn only_this_user_may_read_it() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).unwrap();
    store.save(&records(1)).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(path.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{entry:?}");
        names.push(entry.file_name());
    }
    names.sort();
    assert_eq!(names, ["sessions.db", "sessions.db-shm", "sessions.db-wal"]);
    store.close().await.unwrap();
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "closing leaves one file");
}

/// A killed process leaves the files as they are at that moment, and so does a copy of them.
#[tokio::test]
async fn what_was_saved_survives_a_process_that_never_closed() {
    let (_folder, path) = folder();
    let running = SqliteStore::open(&path).unwrap();
    let all = records(500);
    for batch in all.chunks(50) {
        running.save(batch).await.unwrap();
    }
    let copy = path.with_file_name("copy.db");
    fs::copy(&path, &copy).unwrap();
    let log = fs::read(path.with_file_name("sessions.db-wal")).unwrap();
    fs::write(path.with_file_name("copy.db-wal"), &log).unwrap();
    let after = SqliteStore::open(&copy).unwrap();
    assert_eq!(after.count().await.unwrap(), 500);
    after.close().await.unwrap();

    // Killed in the middle of a write: the torn batch is gone as a whole, the ones before it are whole.
    fs::copy(&path, &copy).unwrap();
    fs::write(path.with_file_name("copy.db-wal"), &log[..log.len() - 1_000]).unwrap();
    let torn = SqliteStore::open(&copy).unwrap();
    let count = torn.count().await.unwrap();
    assert!(count < 500 && count.is_multiple_of(50), "{count} records");
    torn.close().await.unwrap();
    running.close().await.unwrap();
}

/// F23. What SQLite then does at each commit is its own matter, and well tested.
#[tokio::test]
async fn each_commit_is_synced_so_that_a_power_cut_takes_none() {
    let (_folder, path) = folder();
    for _ in ["made", "opened again"] {
        let store = SqliteStore::open(&path).unwrap();
        let read =
            |name: &'static str| store.call(move |it| it.pragma_query_value(None, name, |row| row.get(0)));
        let synchronous: rusqlite::types::Value = read("synchronous").await.unwrap();
        let journal: rusqlite::types::Value = read("journal_mode").await.unwrap();
        assert_eq!(
            (synchronous, journal),
            (2.into(), "wal".to_owned().into()),
            "FULL, with a write-ahead log"
        );
        store.close().await.unwrap();
    }
}

/// S10: more sessions at once than may wait for the disk.
#[tokio::test]
async fn ten_thousand_events_at_once_stay_bounded_and_all_reach_the_file() {
    const EVENTS: usize = 10_000;
    const WAITING_MAX: usize = 1_000;
    let (_folder, path) = folder();
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    let mut limits = SessionsLimits::default();
    limits.write.pending_max = WAITING_MAX;
    // What finds no place in the queue waits in the cache.
    limits.cache = CacheLimits { records_max: EVENTS, bytes_max: 64 * 1024 * 1024 };
    // Each write is synced to the disk, and a busy machine's may take a good part of a second for that.
    limits.write.batch_max = 500;
    let (sessions, worker) = Sessions::new(Arc::clone(&store) as _, limits);
    let owner = Tasks::new();
    owner.spawn(worker.run(owner.stop_signal()));
    for number in 0..EVENTS {
        sessions.insert(living(number)).unwrap();
        assert!(sessions.stats().queued <= WAITING_MAX);
    }
    assert_eq!(sessions.stats().queued + sessions.stats().memory_only, EVENTS);
    assert!(written(&sessions, PATIENCE).await);
    let stats = sessions.stats();
    assert_eq!((stats.queued, stats.queued_bytes, stats.memory_only, stats.lost), (0, 0, 0, 0));
    assert_eq!(store.count().await.unwrap(), EVENTS as u64);
    owner.stop();
    assert!(owner.join(PATIENCE).await);
    store.close().await.unwrap();
}

/// S3.
#[tokio::test]
async fn a_forward_and_a_reverse_session_with_one_id_do_not_see_each_other() {
    let (_folder, path) = folder();
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    let (sessions, worker) = Sessions::new(Arc::clone(&store) as _, SessionsLimits::default());
    let owner = Tasks::new();
    owner.spawn(worker.run(owner.stop_signal()));
    let [forward, reverse] = [Namespace::forward("up"), Namespace::reverse("up")]
        .map(|namespace| Key::new(namespace, SessionId::parse("the-same").unwrap()));
    for key in [&forward, &reverse] {
        sessions.insert(Record::new(key.clone(), Revision::V2025_11_25, "up", 1)).unwrap();
    }
    sessions.update(&forward, |record| record.requests = 7).await.unwrap().unwrap();
    assert_eq!(sessions.get(&reverse).await.unwrap().unwrap().requests, 0);
    sessions.remove(&reverse).await;
    assert!(written(&sessions, PATIENCE).await);
    assert_eq!(store.load(&forward).await.unwrap().unwrap().requests, 7);
    assert!(store.load(&reverse).await.unwrap().is_none());
    owner.stop();
    assert!(owner.join(PATIENCE).await);
    store.close().await.unwrap();
}

/// Another program's end of a session, as `shadowcat sessions kill` writes it.
#[tokio::test]
async fn an_end_that_another_program_writes_is_told_until_it_is_complete_and_outranks_what_is_written_later()
{
    let (_folder, path) = folder();
    let (ours, theirs) = (SqliteStore::open(&path).unwrap(), SqliteStore::open(&path).unwrap());
    let (killed, namespace) = (living(1), Namespace::reverse("test"));
    ours.save(&[Arc::new(killed.clone()), Arc::new(living(2))]).await.unwrap();
    assert!(ours.ended_elsewhere(&namespace).await.unwrap().is_empty());
    theirs.save(&[Arc::new(killed.ended().unwrap())]).await.unwrap();
    for look in ["the first", "one after nothing came of the first"] {
        let other = Namespace::reverse("other");
        assert!(ours.ended_elsewhere(&other).await.unwrap().is_empty(), "whoever else looks changes nothing");
        assert_eq!(ours.ended_elsewhere(&namespace).await.unwrap(), [killed.key().clone()], "{look}");
    }
    ours.save(&[Arc::new(killed.clone())]).await.unwrap();
    assert_eq!(ours.load(killed.key()).await.unwrap().unwrap().state(), State::Closing);
    ours.delete(&[killed.key().clone()]).await.unwrap();
    assert!(ours.ended_elsewhere(&namespace).await.unwrap().is_empty());
    for store in [ours, theirs] {
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_with_its_path_and_the_remedy() {
    let (_folder, path) = folder();
    fs::create_dir(path.parent().unwrap()).unwrap();
    let cases: [(&[u8], &str); 5] = [
        (b"", "it is empty"),
        (
            b"listen: 127.0.0.1:8080\n# not a database, but a text of some length\n",
            "it is not an SQLite file",
        ),
        (b"SQLite format 3\0", "it is cut off"),
        (b"SQLite", "it is cut off"),
        (&[0; 4_096], "it is not an SQLite file"),
    ];
    for (content, what) in cases {
        fs::write(&path, content).unwrap();
        let told = refusal(&path);
        assert!(told.contains(&format!("{} is damaged: {what}; put a copy", path.display())), "{told}");
        assert_eq!(fs::read(&path).unwrap(), content, "it is left as it was");
    }
}

#[test]
fn a_store_of_another_program_is_refused() {
    let (_folder, path) = folder();
    fs::create_dir(path.parent().unwrap()).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE sessions (id)").unwrap();
    assert!(refusal(&path).contains("it is an SQLite file, but not a session store"));
}

#[tokio::test]
async fn a_store_of_a_newer_release_is_refused_and_left_alone() {
    let (_folder, path) = folder();
    filled(&path, 1).await;
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    assert!(refusal(&path).ends_with(
        "has format 7, and this release knows up to 1; run the newer release, or name another file"
    ));
}

#[tokio::test]
async fn a_log_without_its_file_is_refused() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).unwrap();
    store.save(&records(1)).await.unwrap();
    fs::copy(path.with_file_name("sessions.db-wal"), path.with_file_name("lost.db-wal")).unwrap();
    assert!(refusal(&path.with_file_name("lost.db")).contains("its -wal is still there"));
    store.close().await.unwrap();
}

#[tokio::test]
async fn wherever_the_file_is_cut_it_is_refused() {
    let (_folder, path) = folder();
    filled(&path, 60).await;
    let whole = fs::read(&path).unwrap();
    for cut in
        (0..whole.len()).step_by(1_777).chain([1, 15, 16, 100, 511, 512, 4_096, 8_192, whole.len() - 1])
    {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(refusal(&path).contains("sessions.db is damaged"), "cut at {cut}");
    }
}

/// Any flipped byte is either noticed, or lies where nothing is kept: what opens has every record as it was.
#[tokio::test]
async fn wherever_a_byte_is_flipped_it_is_refused_or_nothing_is_lost() {
    let (_folder, path) = folder();
    filled(&path, 60).await;
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    // A fixed spread over the file, and all of the header.
    let places = (0..100).chain((100..whole.len()).step_by(whole.len() / 150));
    for place in places {
        let mut flipped = whole.clone();
        flipped[place] ^= 0x55;
        fs::write(&path, &flipped).unwrap();
        match SqliteStore::open(&path) {
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("sessions.db"), "byte {place}: {error}");
            }
            Ok(store) => {
                let page = store.list(None, PAGE_MAX, None).await.unwrap();
                let expected: Vec<Record> = records(60).iter().map(|record| Record::clone(record)).collect();
                assert_eq!(page.records, expected, "byte {place}");
                store.close().await.unwrap();
            }
        }
        for suffix in ["-wal", "-shm"] {
            let _absent = fs::remove_file(path.with_file_name(format!("sessions.db{suffix}")));
        }
    }
    assert!(refused > 100, "{refused} refused");
}

#[tokio::test]
async fn one_damaged_record_does_not_hide_the_others() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).unwrap();
    store.save(&records(3)).await.unwrap();
    store
        .call(|connection| connection.execute("UPDATE sessions SET record = '{}' WHERE id = 'id-00001'", []))
        .await
        .unwrap();
    let failed = store.load(record(1).key()).await;
    assert!(matches!(failed, Err(StoreError::CorruptRecord { .. })));
    assert_eq!(store.list(None, 10, None).await.unwrap().records.len(), 2);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_keeps_reads_going_and_heals_by_itself() {
    let (_folder, path) = folder();
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    store.save(&records(20)).await.unwrap();
    let pages = |max: i64| {
        move |connection: &mut Connection| {
            connection.pragma_update_and_check(None, "max_page_count", max, |_row| Ok(()))
        }
    };
    store.call(pages(1)).await.unwrap();
    assert!(matches!(
        store.save(&[record(1_000), record(1_001), record(1_002), record(1_003)]).await,
        Err(StoreError::Full(_))
    ));

    let (sessions, worker) =
        Sessions::new(Arc::clone(&store) as Arc<dyn SessionStore>, SessionsLimits::default());
    let tasks = Tasks::new();
    tasks.spawn(worker.run(tasks.stop_signal()));
    for record in records(200).split_off(100) {
        sessions.insert(Record::clone(&record)).unwrap();
    }
    assert_eq!(trouble(&sessions).await, Health::Degraded { reason: "session store full".to_owned() });
    for number in [3, 150] {
        assert!(sessions.get(record(number).key()).await.unwrap().is_some(), "{number} is still there");
    }
    store.call(pages(1_000_000)).await.unwrap();
    assert!(written(&sessions, PATIENCE).await);
    assert_eq!((sessions.health(), store.count().await.unwrap()), (Health::Durable, 120));
    tasks.stop();
    assert!(tasks.join(PATIENCE).await);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_lock_of_another_program_delays_writes_and_nothing_else() {
    let (_folder, path) = folder();
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    store.save(&records(1)).await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert!(matches!(store.save(&[record(1)]).await, Err(StoreError::Busy(_))));
    assert!(store.load(record(0).key()).await.unwrap().is_some(), "reading goes on");

    let (sessions, worker) =
        Sessions::new(Arc::clone(&store) as Arc<dyn SessionStore>, SessionsLimits::default());
    let tasks = Tasks::new();
    tasks.spawn(worker.run(tasks.stop_signal()));
    sessions.insert(Record::clone(&record(1))).unwrap();
    sessions.remove(record(0).key()).await;
    assert!(matches!(trouble(&sessions).await, Health::Degraded { .. }));
    other.execute_batch("COMMIT").unwrap();
    assert!(written(&sessions, PATIENCE).await);
    assert_eq!(store.count().await.unwrap(), 1);
    tasks.stop();
    assert!(tasks.join(PATIENCE).await);
    store.close().await.unwrap();
}

#[tokio::test]
async fn more_calls_than_may_wait_are_refused() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).unwrap();
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
    let blocked = store.call(move |_connection| {
        let _released = wait.recv();
        Ok(())
    });
    let flood = async {
        let calls: Vec<_> = (0..400).map(|_| store.count()).collect();
        let mut waiting = Vec::new();
        let mut overloaded = 0;
        for mut call in calls {
            match poll_once(&mut call).await {
                Some(Err(StoreError::Overloaded)) => overloaded += 1,
                Some(other) => panic!("answered while the thread was held: {other:?}"),
                None => waiting.push(call),
            }
        }
        go.send(()).unwrap();
        for call in waiting {
            call.await.unwrap();
        }
        overloaded
    };
    let (outcome, overloaded) = tokio::join!(blocked, flood);
    outcome.unwrap();
    assert!(overloaded >= 400 - 257, "{overloaded} refused");
    store.close().await.unwrap();
}

/// What the future gives if it is ready now.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut future = Some(future);
    std::future::poll_fn(move |context| {
        let ready = future.take().map(|future| std::pin::Pin::new(future).poll(context));
        std::task::Poll::Ready(match ready {
            Some(std::task::Poll::Ready(output)) => Some(output),
            _ => None,
        })
    })
    .await
}

#[tokio::test]
async fn closing_does_what_waits_first() {
    let (_folder, path) = folder();
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    let done = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&done);
    let job = store.call(move |_connection| {
        seen.store(true, Ordering::SeqCst);
        Ok(())
    });
    let (outcome, closed) = tokio::join!(job, store.close());
    outcome.unwrap();
    closed.unwrap();
    assert!(done.load(Ordering::SeqCst));
    assert!(matches!(store.count().await, Err(StoreError::Closed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_programs_may_start_on_one_file_at_once() {
    let (_folder, path) = folder();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || open::open(&path).map(drop))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap().unwrap();
    }
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
}

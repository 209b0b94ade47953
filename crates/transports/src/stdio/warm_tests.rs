use std::ffi::OsString;

use super::super::spec::Environment;
use super::*;

const LONG: Duration = Duration::from_mins(1);

fn command<const N: usize>(argv: [&str; N]) -> Command {
    let mut words = argv.map(OsString::from).into_iter();
    Command {
        name: "test".into(),
        program: words.next().unwrap(),
        args: words.collect(),
        cwd: None,
        environment: Environment::default().with("PATH", "/usr/local/bin:/usr/bin:/bin"),
    }
}

fn launcher<const N: usize>(argv: [&str; N], settings: Settings) -> Launcher {
    Launcher::new(command(argv), settings, Guard::none())
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn launch_error(launcher: &Launcher) -> LaunchError {
    launcher.launch().await.expect_err("no child")
}

#[tokio::test]
async fn a_place_is_given_back_when_its_child_is_gone() {
    let settings = Settings { live_max: 1, wait: LONG, ..Settings::default() };
    let launcher = launcher(["cat"], settings);
    let first = launcher.launch().await.unwrap();
    assert_eq!(launcher.stats().live, 1);
    let (second, _) = tokio::join!(launcher.launch(), first.process.stop());
    drop(second.unwrap());
    assert!(launcher.shutdown(LONG).await);
    let stats = launcher.stats();
    assert_eq!((stats.live, stats.spawned, stats.exits, stats.crashes), (0, 2, 2, 0));
}

#[tokio::test]
async fn beyond_the_cap_a_caller_waits_and_is_refused() {
    let settings = Settings { live_max: 1, wait: Duration::from_millis(20), ..Settings::default() };
    let launcher = launcher(["cat"], settings);
    let _first = launcher.launch().await.unwrap();
    assert!(matches!(launch_error(&launcher).await, LaunchError::Overloaded { live_max: 1 }));
}

#[tokio::test]
async fn beyond_the_waiting_places_a_caller_is_refused_at_once() {
    let settings = Settings { live_max: 1, waiting_max: 0, wait: LONG, ..Settings::default() };
    let launcher = launcher(["cat"], settings);
    let _first = launcher.launch().await.unwrap();
    assert!(matches!(launch_error(&launcher).await, LaunchError::Overloaded { .. }));
}

#[tokio::test]
async fn a_crash_loop_opens_the_breaker_and_its_last_words_are_told() {
    let launcher = launcher(["sh", "-c", "echo out of memory >&2; exit 1"], Settings::default());
    for _ in 0..5 {
        launcher.launch().await.unwrap().process.exit().wait().await.unwrap();
    }
    let LaunchError::BreakerOpen { last_stderr, retry_after } = launch_error(&launcher).await else {
        panic!("the breaker is closed");
    };
    assert_eq!(last_stderr.as_deref(), Some("out of memory"));
    assert!(retry_after > Duration::from_secs(20));
    let stats = launcher.stats();
    assert!(matches!(stats.breaker, Breaker::Open(_)));
    assert_eq!((stats.spawned, stats.crashes), (5, 5));
}

#[tokio::test]
async fn exits_that_were_asked_for_do_not_count() {
    let launcher = launcher(["cat"], Settings::default());
    for _ in 0..20 {
        launcher.launch().await.unwrap().process.stop().await.unwrap();
    }
    assert_eq!(launcher.stats().breaker, Breaker::Closed);
    assert_eq!(launcher.stats().crashes, 0);
}

#[tokio::test]
async fn a_warm_child_is_handed_out_and_replaced() {
    let launcher = launcher(["cat"], Settings { warm: 1, ..Settings::default() });
    until("one child is warm", || launcher.stats().warm == 1).await;
    let child = launcher.launch().await.unwrap();
    until("the stock is full again", || launcher.stats().warm == 1).await;
    assert_eq!(launcher.stats().spawned, 2);
    assert!(child.process.is_running());
    assert!(launcher.shutdown(LONG).await);
    assert_eq!(launcher.stats().live, 0);
}

#[tokio::test]
async fn a_warm_child_that_died_is_not_handed_out() {
    let launcher = launcher(["cat"], Settings { warm: 1, ..Settings::default() });
    until("one child is warm", || launcher.stats().warm == 1).await;
    let id = launcher.0.lock().warm[0].process.id();
    let id = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    until("it is gone", || launcher.stats().crashes == 1).await;
    assert!(launcher.launch().await.unwrap().process.is_running());
}

#[tokio::test]
async fn failing_starts_are_named_and_leave_no_descriptor_behind() {
    fn descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }
    let missing = launcher(["/no/such/program"], Settings::default());
    let forbidden = launcher(["/etc/passwd"], Settings::default());
    assert!(matches!(launch_error(&missing).await, LaunchError::Spawn(SpawnError::NotFound(_))));
    let before = descriptors();
    for _ in 0..500 {
        assert!(matches!(launch_error(&missing).await, LaunchError::Spawn(SpawnError::NotFound(_))));
        assert!(matches!(
            launch_error(&forbidden).await,
            LaunchError::Spawn(SpawnError::PermissionDenied(_))
        ));
    }
    // Other tests of this process open and close theirs meanwhile; a leak would be three for each start.
    assert!(descriptors() < before + 500, "{before} -> {}", descriptors());
    assert_eq!(missing.stats().live, 0);
}

#[tokio::test]
async fn nothing_is_launched_after_a_shutdown() {
    let launcher = launcher(["cat"], Settings { warm: 1, ..Settings::default() });
    assert!(launcher.shutdown(LONG).await);
    assert!(matches!(launch_error(&launcher).await, LaunchError::ShuttingDown));
    assert_eq!(launcher.stats().live, 0);
}

#[tokio::test]
async fn all_children_are_stopped_together() {
    let limits = Limits { grace: Duration::ZERO, ..Limits::default() };
    let launcher = launcher(["sleep", "1004"], Settings { limits, ..Settings::default() });
    let mut children = Vec::new();
    for _ in 0..10 {
        children.push(launcher.launch().await.unwrap());
    }
    assert!(launcher.shutdown(LONG).await);
    assert!(children.iter().all(|child| child.process.exit().now().unwrap().asked));
    assert_eq!(launcher.stats().live, 0);
}

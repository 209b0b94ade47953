//! The roles of guard and proxy are played by this test program, started again with one test selected and a word on
//! its command line that no ordinary run has.

use std::io::BufReader;
use std::os::unix::process::ExitStatusExt;
use std::process::Command as StdCommand;

use super::super::child::{Limits, Nursery};
use super::super::spec::{Command as Spec, Environment};
use super::*;

const GUARD_ROLE: &str = "--skip=role-of-the-guard";
const PROXY_ROLE: &str = "--skip=role-of-the-proxy";
const LONG: Duration = Duration::from_mins(1);

/// Arguments that make this program run one test in a role.
fn role(test: &str, role: &str) -> Vec<OsString> {
    let path = module_path!().split_once("::").unwrap().1;
    [format!("{path}::{test}").as_str(), "--exact", "--nocapture", role].map(OsString::from).to_vec()
}

fn plays(role: &str) -> bool {
    std::env::args().any(|word| word == role)
}

/// A guard whose processes have `mark` on their command line.
fn guard(mark: &str) -> Guard {
    let mut args = role("as_guard", GUARD_ROLE);
    args.push(mark.into());
    Guard::new(std::env::current_exe().unwrap(), args)
}

fn alive(id: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Process ids of the guards with this mark.
fn guards(mark: &str) -> Vec<i32> {
    let ours = std::process::id().to_string();
    let ids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        let words = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        parent == Some(&ours) && alive(*id) && String::from_utf8_lossy(&words).contains(mark)
    })
    .collect()
}

/// Waits for a guard with this mark that is not the one before it.
async fn guard_after(before: i32, mark: &str) -> i32 {
    let found = async {
        loop {
            // Of one look: between two of them the one before may die, and there would be none and yet no longer that.
            if let Some(other) = guards(mark).into_iter().find(|id| *id != before) {
                return other;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(LONG, found).await.expect("a guard")
}

fn wait_until(what: &str, deadline: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + deadline;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        pause();
    }
}

/// A child and a grandchild that both ignore SIGTERM; the child says both their ids on stderr.
fn stubborn() -> Spec {
    let script = "trap '' TERM; sh -c 'trap \"\" TERM; echo pid $$ >&2; while :; do sleep 1; done' & \
                  echo pid $$ >&2; while :; do sleep 1; done";
    Spec {
        name: "stubborn".into(),
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        cwd: None,
        environment: Environment::default().with("PATH", "/usr/bin:/bin"),
    }
}

#[test]
fn as_guard() {
    if plays(GUARD_ROLE) {
        run(io::stdin().lock());
    }
}

/// Starts children, tells their ids, and waits to be killed.
#[tokio::test]
async fn as_proxy() {
    if !plays(PROXY_ROLE) {
        return;
    }
    let nursery = Nursery::new(guard("--skip=of-a-killed-proxy"));
    let mut children = Vec::new();
    for _ in 0..2 {
        children.push(super::super::Child::spawn(&stubborn(), &Limits::default(), &nursery, |_| ()).unwrap());
    }
    for child in &children {
        while child.process.last_stderr(2).len() < 2 {
            tokio::time::sleep(POLL).await;
        }
        for line in child.process.last_stderr(2) {
            eprintln!("{line}");
        }
    }
    std::future::pending::<()>().await;
}

#[test]
fn children_are_gone_soon_after_the_proxy_was_killed() {
    let mut proxy = StdCommand::new(std::env::current_exe().unwrap())
        .args(role("as_proxy", PROXY_ROLE))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let words = BufReader::new(proxy.stderr.take().unwrap()).lines();
    let ids = words.map_while(Result::ok).filter_map(|line| line.strip_prefix("pid ")?.parse().ok());
    let ids: Vec<i32> = ids.take(4).collect();
    assert!(ids.iter().all(|&id| alive(id)), "{ids:?}");
    proxy.kill().unwrap();
    proxy.wait().unwrap();
    wait_until("children are gone", Duration::from_secs(2), || !ids.iter().any(|&id| alive(id)));
    assert_eq!(ids.len(), 4);
}

/// A child in a group of its own that lives until it is killed.
fn child() -> (Child, Pid) {
    let mut cat = Command::new("cat");
    let child = cat.stdin(Stdio::piped()).process_group(0).kill_on_drop(true).spawn().unwrap();
    let group = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    (child, group)
}

#[tokio::test]
async fn a_guard_that_died_is_replaced_and_told_what_lives() {
    const MARK: &str = "--skip=of-a-killed-guard";
    let guard = guard(MARK);
    let (mut child, group) = child();
    guard.add(group);
    let first = guard_after(0, MARK).await;
    rustix::process::kill_process(Pid::from_raw(first).unwrap(), Signal::KILL).unwrap();
    guard_after(first, MARK).await;
    assert!(guard.shutdown(LONG).await);
    let status = tokio::time::timeout(LONG, child.wait()).await.expect("an end").unwrap();
    // SIGTERM is how a guard begins; without one the proxy would have sent SIGKILL.
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
}

#[tokio::test]
async fn a_shutdown_without_a_guard_process_ends_the_groups_too() {
    let guard = Guard::new("/no/such/guard".into(), Vec::new());
    let (mut child, group) = child();
    guard.add(group);
    assert!(guard.shutdown(LONG).await);
    let status = tokio::time::timeout(LONG, child.wait()).await.expect("an end").unwrap();
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
}

#[tokio::test]
async fn a_group_that_was_reaped_is_forgotten() {
    let guard = guard("--skip=of-a-reaped-group");
    let (mut child, group) = child();
    guard.add(group);
    guard.remove(group);
    assert!(guard.shutdown(LONG).await);
    assert!(child.try_wait().unwrap().is_none());
}

#[test]
fn only_well_formed_commands_are_followed() {
    let mut live = HashSet::new();
    for line in ["+10", "+11", "-10", "+1", "+0", "+-5", "+x", "", "é", "11", "+12 "] {
        follow(line, &mut live);
    }
    assert_eq!(live, [Pid::from_raw(11).unwrap()].into());
}

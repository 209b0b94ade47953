use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use bytes::Bytes;

use super::super::child_stdin::WriteError;
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

fn sh(script: &str) -> Command {
    command(["sh", "-c", script])
}

/// No grace: for children that do not end by themselves.
fn hasty() -> Limits {
    Limits { grace: Duration::ZERO, ..Limits::default() }
}

fn spawn(command: &Command, limits: &Limits) -> (Child, Nursery) {
    let nursery = Nursery::new(Guard::none());
    let child = Child::spawn(command, limits, &nursery, |_| ()).unwrap();
    (child, nursery)
}

async fn text(child: &mut Child) -> Option<String> {
    let line = timeout(LONG, child.lines.next_line()).await.expect("a line in time")?;
    Some(String::from_utf8(line.expect("a line within the limit").to_vec()).unwrap())
}

async fn all(command: &Command) -> Vec<String> {
    let (mut child, _nursery) = spawn(command, &Limits::default());
    let mut lines = Vec::new();
    while let Some(line) = text(&mut child).await {
        lines.push(line);
    }
    lines
}

async fn exit(child: &Child) -> Arc<Exit> {
    timeout(LONG, child.process.exit().wait()).await.expect("an exit in time").unwrap()
}

/// Waits for a state of the machine that nothing announces.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn alive(id: i32) -> bool {
    // The state follows the name, which is in brackets; a dead process waits there for its parent as `Z`.
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Our children that carry `mark` in their command line, and those that are dead and were not reaped.
fn children(mark: &str) -> usize {
    let ours = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    processes
        .filter(|path| {
            let stat = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
            let parent =
                stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1).map(str::to_owned));
            parent.as_deref() == Some(ours.as_str()) && command_line(path).contains(mark)
        })
        .count()
}

fn command_line(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path.join("cmdline")).unwrap_or_default()).into_owned()
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn lines_go_in_and_come_out() {
    let (mut child, _nursery) = spawn(&command(["cat"]), &Limits::default());
    for line in ["{\"a\":1}", "", "zwei"] {
        child.writer.write_line(Bytes::copy_from_slice(line.as_bytes())).await.unwrap();
    }
    assert_eq!(text(&mut child).await.as_deref(), Some("{\"a\":1}"));
    assert_eq!(text(&mut child).await.as_deref(), Some("zwei"));
    let exit = child.process.stop().await.unwrap();
    assert!(exit.asked && exit.status.unwrap().success());
}

#[tokio::test]
async fn no_shell_touches_the_arguments() {
    let argv = ["printf", "%s\\n", "a b", "it's \"quoted\"", "$(id) `id` $HOME", "*", "; exit 1", "\\"];
    assert_eq!(all(&command(argv)).await, &argv[2..]);
}

#[tokio::test]
async fn a_child_sees_exactly_the_environment_it_was_given() {
    let mut command = command(["env"]);
    let snapshot =
        [("HOME", "/root"), ("LC_ALL", "C"), ("GITHUB_TOKEN", "secret"), ("PATH", "/usr/bin:/bin")];
    command.environment = Environment::inherit(
        snapshot.map(|(name, value)| (name.into(), value.into())),
        super::super::spec::INHERITED.iter().copied(),
    )
    .with("API_KEY", "declared");
    let seen: BTreeSet<String> = all(&command).await.into_iter().collect();
    let expected = ["API_KEY=declared", "HOME=/root", "LC_ALL=C", "PATH=/usr/bin:/bin"];
    assert_eq!(seen, expected.map(String::from).into());
}

#[tokio::test]
async fn a_child_runs_where_it_was_told_and_inherits_no_file_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().canonicalize().unwrap();
    let _open = std::fs::File::create(place.join("secret")).unwrap();
    let mut command = sh("pwd; for fd in /proc/$$/fd/*; do readlink $fd; done");
    command.cwd = Some(place.clone());
    let lines = all(&command).await;
    assert_eq!(lines[0], place.to_str().unwrap());
    assert!(lines.iter().filter(|line| line.starts_with("pipe:")).count() >= 3, "{lines:?}");
    assert!(!lines.iter().any(|line| line.ends_with("secret")), "{lines:?}");
}

#[tokio::test]
async fn an_exit_is_told_with_its_status_and_last_words() {
    let (mut child, _nursery) =
        spawn(&sh("echo one; echo oops >&2; echo why >&2; exit 3"), &Limits::default());
    assert_eq!(text(&mut child).await.as_deref(), Some("one"));
    assert_eq!(text(&mut child).await, None);
    let exit = exit(&child).await;
    assert_eq!(exit.status.unwrap().code(), Some(3));
    assert_eq!(exit.stderr, ["oops".into(), "why".into()]);
    assert!(!exit.asked);
    assert_eq!(exit.to_string(), "exit status: 3");
}

#[tokio::test]
async fn a_killed_child_is_told_with_its_signal() {
    let (child, _nursery) = spawn(&command(["sleep", "1000"]), &Limits::default());
    rustix::process::kill_process(Pid::from_raw(child.process.id()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(exit(&child).await.to_string(), "signal: 9 (SIGKILL)");
}

#[tokio::test]
async fn everything_a_child_wrote_before_it_ended_is_read() {
    let lines = all(&command(["perl", "-e", "print qq(line $_\\n) for 1..20000; print q(cut)"])).await;
    assert_eq!(lines.len(), 20_001);
    assert_eq!(lines[19_999..], ["line 20000".to_owned(), "cut".to_owned()]);
}

#[tokio::test]
async fn who_left_the_group_with_our_pipes_does_not_keep_the_child_alive() {
    let script = "perl -e 'use POSIX; POSIX::setsid(); sleep 1000' & echo $!";
    let (mut child, _nursery) = spawn(&sh(script), &Limits::default());
    let runaway = text(&mut child).await.unwrap().parse().unwrap();
    assert_eq!(text(&mut child).await, None);
    assert!(exit(&child).await.status.unwrap().success());
    // It may have been caught before it left.
    let _gone = rustix::process::kill_process(Pid::from_raw(runaway).unwrap(), Signal::KILL);
}

#[tokio::test]
async fn a_child_that_ignores_everything_is_killed_with_its_group() {
    let limits = Limits { term_wait: Duration::from_millis(50), ..hasty() };
    let script = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done'; echo no";
    let (mut child, _nursery) = spawn(&sh(script), &limits);
    let grandchild = text(&mut child).await.unwrap().parse().unwrap();
    assert!(alive(grandchild));
    let exit = child.process.stop().await.unwrap();
    assert_eq!(exit.to_string(), "signal: 9 (SIGKILL)");
    until("the grandchild is gone", || !alive(grandchild)).await;
}

#[tokio::test]
async fn grandchildren_do_not_outlive_a_child_that_crashed() {
    let (mut child, _nursery) = spawn(&sh("sleep 1000 & echo $!; exit 1"), &Limits::default());
    let grandchild = text(&mut child).await.unwrap().parse().unwrap();
    exit(&child).await;
    until("the grandchild is gone", || !alive(grandchild)).await;
}

#[tokio::test]
async fn a_grandchild_that_keeps_talking_on_stderr_does_not_keep_a_child_alive_that_crashed() {
    let script = "(while :; do echo x >&2; sleep 0.02; done) & echo $!; exit 1";
    let (mut child, _nursery) = spawn(&sh(script), &Limits::default());
    let grandchild = text(&mut child).await.unwrap().parse().unwrap();
    let exit = exit(&child).await;
    assert_eq!((exit.status.unwrap().code(), exit.asked), (Some(1), false));
    until("the grandchild is gone", || !alive(grandchild)).await;
}

#[tokio::test]
async fn who_left_the_group_and_keeps_talking_on_stdout_does_not_keep_the_lines_from_ending() {
    let chatter = "POSIX::setsid(); $| = 1; while (1) { print qq(x\n); select undef, undef, undef, 0.02 }";
    let script = format!("perl -MPOSIX -e '{chatter}' & read line; exit 1");
    let (mut child, _nursery) = spawn(&sh(&script), &Limits::default());
    assert_eq!(text(&mut child).await.as_deref(), Some("x"), "it has left the group");
    child.writer.write_line(Bytes::from_static(b"go")).await.unwrap();
    let lines = async { while text(&mut child).await.is_some() {} };
    timeout(LONG, lines).await.expect("an end of the lines");
    assert_eq!(exit(&child).await.status.unwrap().code(), Some(1));
}

#[tokio::test]
async fn a_dropped_child_is_stopped() {
    let (child, nursery) = spawn(&command(["sleep", "1001"]), &hasty());
    let id = child.process.id();
    drop(child);
    until("the child is gone", || !alive(id)).await;
    assert!(nursery.shutdown(LONG).await);
}

#[tokio::test]
async fn a_hundred_children_leave_nothing_behind() {
    let mark = "never mind the mark 7f3a";
    for _ in 0..100 {
        let (mut child, _nursery) =
            spawn(&command(["sh", "-c", "read line; echo $line", mark]), &Limits::default());
        child.writer.write_line(Bytes::from_static(b"hello")).await.unwrap();
        assert_eq!(text(&mut child).await.as_deref(), Some("hello"));
        assert!(child.process.stop().await.is_some());
    }
    assert_eq!(children(mark), 0);
}

#[tokio::test]
async fn a_nursery_kills_at_its_deadline() {
    let (child, nursery) = spawn(&command(["sleep", "1002"]), &Limits { grace: LONG, ..Limits::default() });
    let watch = child.process.exit().clone();
    assert!(nursery.shutdown(Duration::from_millis(50)).await);
    let exit = watch.now().unwrap();
    assert!(exit.asked);
    assert!(!exit.status.unwrap().success());
}

#[tokio::test]
async fn a_giant_line_costs_no_more_memory_than_the_limit() {
    const MIB: usize = 1024 * 1024;
    let script = "my $block = 'x' x 1048576; print $block for 1..256; print qq(\\nafter\\n)";
    let limits = Limits { line_bytes_max: 4 * MIB, ..Limits::default() };
    let (mut child, _nursery) = spawn(&command(["perl", "-e", script]), &limits);
    let before = resident_bytes();
    let line = timeout(LONG, child.lines.next_line()).await.unwrap().unwrap();
    assert_eq!(line.unwrap_err().bytes, 256 * MIB);
    let grown = resident_bytes().saturating_sub(before);
    // Other tests of this process allocate too; the line, had it been kept, would be 256 MiB.
    assert!(grown < 96 * MIB, "{grown}");
    assert_eq!(text(&mut child).await.as_deref(), Some("after"));
}

#[tokio::test]
async fn a_flood_of_stderr_does_not_hold_up_an_answer() {
    let script = "$| = 1; my $block = ('noise ' x 15 . qq(\\n)) x 10000; print STDERR $block for 1..100; \
                  my $line = <STDIN>; print $line; <STDIN>";
    let (mut child, _nursery) = spawn(&command(["perl", "-e", script]), &Limits::default());
    child.writer.write_line(Bytes::from_static(b"ping")).await.unwrap();
    assert_eq!(text(&mut child).await.as_deref(), Some("ping"));
    let exit = child.process.stop().await.unwrap();
    assert_eq!(exit.stderr, vec![Box::from("noise ".repeat(15).trim_end()); STDERR_LINES_MAX]);
}

#[tokio::test]
async fn a_child_that_never_reads_fills_its_own_queue_only() {
    let limits = Limits { queue_bytes_max: 64 * 1024, write_wait: Duration::from_millis(50), ..hasty() };
    let (deaf, _nursery) = spawn(&command(["sleep", "1003"]), &limits);
    let line = Bytes::from(vec![b'x'; 16 * 1024]);
    let mut taken = 0;
    let refused = loop {
        match deaf.writer.write_line(line.clone()).await {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, WriteError::QueueFull { .. }));
    // The queue and what fits into a pipe.
    assert!(taken <= 64 * 1024 / line.len() + 1024 * 1024 / line.len(), "{taken}");
    let (mut other, _nursery) = spawn(&command(["cat"]), &limits);
    other.writer.write_line(Bytes::from_static(b"well")).await.unwrap();
    assert_eq!(text(&mut other).await.as_deref(), Some("well"));
    assert!(deaf.process.stop().await.is_some());
}

#[tokio::test]
async fn a_child_that_closes_its_input_and_lives_is_told_from_one_that_is_stopped() {
    let (mut child, _nursery) = spawn(&sh("exec <&-; echo closed; exec sleep 1004"), &hasty());
    assert_eq!(text(&mut child).await.as_deref(), Some("closed"));
    while child.writer.write_line(Bytes::from_static(b"x")).await.is_ok() {}
    timeout(LONG, child.writer.shut().cancelled()).await.expect("word of the closed input");
    assert!(child.process.is_running());
    let (stopped, _nursery) = spawn(&command(["sleep", "1005"]), &hasty());
    let shut = stopped.writer.shut();
    stopped.process.stop().await.unwrap();
    assert!(!shut.is_cancelled());
}

#[tokio::test]
async fn a_writer_to_a_dead_child_is_told() {
    let (child, _nursery) = spawn(&command(["true"]), &Limits::default());
    exit(&child).await;
    assert_eq!(child.writer.write_line(Bytes::from_static(b"x")).await, Err(WriteError::Closed));
}

//! R1, R2, F18, F22: what is on the tape is what was on the wire, through kills and full disks.

use std::path::{Path, PathBuf};
use std::process::Command;

use shadowcat_tests::client::{Client, INITIALIZED, call, initialize};
use shadowcat_tests::proxy::{Reverse, before_command, before_url, program};
use shadowcat_tests::raw::post;
use shadowcat_tests::server::{Answers, HttpServer, HttpSettings, member};
use shadowcat_tests::wait::{found, soon, until};

use crate::edge::session;
use crate::harness::child;
use crate::modern::tool;

const NEWEST: &str = "2025-11-25";

/// The one tape in a directory.
pub(crate) fn tape(directory: &Path) -> Option<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files.pop()
}

/// The lines of a kind.
fn records(directory: &Path, kind: &str) -> Vec<String> {
    let Some(file) = tape(directory) else { return Vec::new() };
    let text = std::fs::read(file).unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    let quoted = format!("\"{kind}\"");
    text.lines().filter(|line| member(line, "record").as_ref() == Some(&quoted)).map(str::to_owned).collect()
}

/// The messages that passed one point of the path, one way.
fn messages(directory: &Path, hop: &str, direction: &str) -> Vec<String> {
    let (hop, direction) = (format!("\"{hop}\""), format!("\"{direction}\""));
    let frames = records(directory, "frame").into_iter();
    let frames = frames.filter(|line| member(line, "hop").as_ref() == Some(&hop));
    let frames = frames.filter(|line| member(line, "direction").as_ref() == Some(&direction));
    frames.map(|line| member(&line, "message").unwrap()).collect()
}

pub(crate) fn recorded(reverse: Reverse, directory: &Path) -> Reverse {
    reverse.argument("--record").argument(directory.to_str().unwrap())
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

#[tokio::test]
async fn r1_the_tape_holds_every_message_byte_for_byte_and_nothing_else() {
    let server =
        HttpServer::start(HttpSettings { answers: Answers::Stream, ..HttpSettings::default() }).await;
    for reverse in [before_url(&server.url()), before_command(&[child()])] {
        let directory = tempfile::tempdir().unwrap();
        let proxy = recorded(reverse, directory.path()).start().await;
        let mut client = Client::http(proxy.address);
        let (mut sent, mut received) = (vec![initialize("0", NEWEST), INITIALIZED.to_owned()], Vec::new());
        received.push(client.handshake(NEWEST).await);
        let odd = r#"{"n":9007199254740993,"one":1.0,"text":"\u00e9"}"#;
        for id in ["1", "\"1\""] {
            sent.push(call(id, "echo", odd, ""));
            received.push(client.request(sent.last().unwrap()).await);
        }
        sent.push(call("2", "chatter", "{}", r#""_meta":{"progressToken":"p"}"#));
        client.send(sent.last().unwrap()).await;
        let question = client.message("elicitation/create").await;
        let own = member(&question, "id").unwrap();
        let answer = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept"}}}}"#);
        client.send(&answer(&own)).await;
        received.push(client.response("2").await);
        // The chain sees a question of the server before it gets its id towards the client.
        sent.push(answer("\"ask-1\""));
        received.push(question.replacen(&format!("\"id\":{own}"), "\"id\":\"ask-1\"", 1));
        received.extend(client.left());
        until("all frames are on the tape", || {
            messages(directory.path(), "edge", "to_server").len() >= sent.len()
                && messages(directory.path(), "edge", "to_client").len() >= received.len()
        })
        .await;
        assert_eq!(sorted(messages(directory.path(), "edge", "to_server")), sorted(sent));
        assert_eq!(sorted(messages(directory.path(), "edge", "to_client")), sorted(received));
        let answer = tool("\"m\"", "echo").send(proxy.address).await.message().await;
        found("the modern answer", || {
            messages(directory.path(), "edge", "to_client").contains(&answer).then_some(())
        })
        .await;
        for frame in records(directory.path(), "frame") {
            for name in ["seq", "at_us", "time", "exchange", "client", "action"] {
                assert!(member(&frame, name).is_some(), "{name} is missing: {frame}");
            }
        }
        proxy.process.signal(rustix::process::Signal::TERM);
        proxy.process.ended().await;
        assert_eq!(records(directory.path(), "end").len(), 1, "a tape closed in order says so");
    }
}

#[tokio::test]
async fn r2_f22_after_kill_9_every_acknowledged_frame_is_read_and_at_most_one_is_torn() {
    let server = HttpServer::start(HttpSettings::default()).await;
    for round in 0..8 {
        let directory = tempfile::tempdir().unwrap();
        let proxy = recorded(before_url(&server.url()), directory.path()).start().await;
        let id = session(&proxy, NEWEST).await;
        let fill = "x".repeat(2000);
        let load = async {
            for number in 0.. {
                let text = call(&number.to_string(), "echo", &format!(r#"{{"fill":"{fill}"}}"#), "");
                let asked = post("/mcp", &text).header("Mcp-Session-Id", &id);
                if asked.attempt(proxy.address).await.is_err() {
                    return;
                }
            }
        };
        let kill = async {
            let mut acknowledged = 0.0;
            while acknowledged < f64::from(20 + 11 * round) {
                acknowledged = proxy.metric("shadowcat_tape_frames_total").await;
            }
            proxy.process.signal(rustix::process::Signal::KILL);
            acknowledged
        };
        let ((), acknowledged) =
            soon("the end of the load", Box::pin(async { tokio::join!(load, kill) })).await;
        proxy.process.ended().await;
        let text = std::fs::read(tape(directory.path()).unwrap()).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        let torn = text.lines().filter(|line| member(line, "record").is_none()).count();
        assert!(torn <= 1, "{torn} torn lines");
        let shown = Command::new(program())
            .args(["tape", "show", "--messages"])
            .arg(tape(directory.path()).unwrap())
            .output()
            .unwrap();
        let frames = records(directory.path(), "frame").len();
        let kept = f64::from(u32::try_from(frames).unwrap());
        assert!(kept >= acknowledged, "{frames} of {acknowledged} that were said to be in the file");
        let lines = String::from_utf8(shown.stdout).unwrap().lines().count();
        assert!(
            lines >= frames,
            "{lines} lines for {frames} frames: {}",
            String::from_utf8_lossy(&shown.stderr)
        );
    }
}

#[test]
fn a_tape_that_cannot_be_begun_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let full_disk = "trap '' XFSZ; ulimit -S -f 0; exec \"$0\" \"$@\"";
    let mut forward = Command::new("sh");
    forward.args(["-c", full_disk]).arg(program()).args(["forward", "--record"]).arg(directory.path());
    let output = forward.args(["--", "true"]).stdin(std::process::Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("cannot create the tape"), "{told}");
    assert_eq!(tape(directory.path()), None);
}

/// Calls that are made before there is room again, and after.
const WITHOUT_ROOM: u64 = 200;
const WITH_ROOM: u64 = 20;

#[tokio::test]
async fn f18_a_full_disk_fails_no_call_and_the_tape_says_exactly_how_much_it_lacks() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let reverse =
        recorded(before_url(&server.url()), directory.path()).config("sessions:\n  store: memory\n");
    let proxy = reverse.file_bytes_max(64 * 1024).start().await;
    let id = session(&proxy, NEWEST).await;
    let fill = "x".repeat(2000);
    let calls = async |numbers: std::ops::Range<u64>| {
        for number in numbers {
            let text = call(&number.to_string(), "echo", &format!(r#"{{"fill":"{fill}"}}"#), "");
            let answer = post("/mcp", &text).header("Mcp-Session-Id", &id).send(proxy.address).await;
            assert_eq!(answer.status, 200, "call {number}");
            assert!(member(&answer.message().await, "result").is_some());
        }
    };
    let lost = async || proxy.metric("shadowcat_tape_lost_total").await;
    calls(0..WITHOUT_ROOM).await;
    soon("the loss is counted", async { while lost().await < 1.0 {} }).await;
    let (_, health) = proxy.page("/health").await;
    assert_eq!(member(&health, "status").as_deref(), Some("\"degraded\""), "{health}");

    proxy.make_room();
    let healthy = async || member(&proxy.page("/health").await.1, "status").as_deref() == Some("\"ok\"");
    soon("the tape is written again", async { while !healthy().await {} }).await;
    calls(WITHOUT_ROOM..WITHOUT_ROOM + WITH_ROOM).await;
    let told = lost().await;
    proxy.process.signal(rustix::process::Signal::TERM);
    proxy.process.ended().await;

    // The handshake is three messages, a call is two.
    let all = 3 + 2 * (WITHOUT_ROOM + WITH_ROOM);
    let frames = records(directory.path(), "frame");
    let gaps = records(directory.path(), "lost");
    let number = |record: &String, name: &str| member(record, name).unwrap().parse::<u64>().unwrap();
    let lost: u64 = gaps.iter().map(|gap| number(gap, "count")).sum();
    assert_eq!(frames.len() as u64 + lost, all, "{gaps:?}");
    assert!(lost > 0, "{gaps:?}");
    assert_eq!(told.to_string(), lost.to_string(), "the metric says the same");
    let end = records(directory.path(), "end").pop().unwrap();
    assert_eq!((number(&end, "frames"), number(&end, "lost")), (frames.len() as u64, lost));
    // Each number once: on a frame, or within a gap.
    let gap = |gap: &String| number(gap, "since")..number(gap, "since") + number(gap, "count");
    let mut numbers: Vec<_> =
        frames.iter().map(|frame| number(frame, "seq")).chain(gaps.iter().flat_map(gap)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=all).collect::<Vec<_>>());
}

#[tokio::test]
async fn r3_credentials_do_not_reach_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let proxy = recorded(before_command(&[child()]), directory.path()).start().await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    let secret = "hunter2-canary-value";
    let answer = client.request(&call("1", "echo", &format!(r#"{{"password":"{secret}"}}"#), "")).await;
    assert!(answer.contains(secret), "the call itself is untouched");
    until("the frames are on the tape", || messages(directory.path(), "edge", "to_client").len() >= 2).await;
    let text = std::fs::read_to_string(tape(directory.path()).unwrap()).unwrap();
    assert!(!text.contains(secret), "{text}");
}

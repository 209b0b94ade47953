//! A tape from the outside: recorded through a chain, read back from its file.

mod killed;
mod rotation;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::{
    Action, End, Frame, Header, Health, Keys, Kind, Record, Settings, State, Summary, Tap, Tape,
    is_being_written, open, render,
};
use async_trait::async_trait;
use bytes::Bytes;
use shadowcat_pipeline::{
    Chain, Direction, Envelope, Origin, PeerId, Refusal, RefusalKind, Replies, Service, SessionTag,
    Transport, UpstreamSide,
};
use shadowcat_protocol::{Limits, Message, Response, Revision};

/// Those of a directory, none of which is encrypted.
fn list(dir: &Path) -> std::io::Result<Vec<crate::Listed>> {
    crate::list(dir, &Keys::default())
}

const DEADLINE: Duration = Duration::from_secs(30);

/// Answers with the params; refuses what is called `refuse`.
struct Server;

#[async_trait]
impl Service for Server {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let side = UpstreamSide {
            name: "echo".into(),
            transport: Transport::Stdio,
            revision: Revision::V2025_06_18,
        };
        envelope.origin.upstream.set(side).unwrap();
        match &envelope.message {
            Message::Request(request) if request.method() == "refuse" => {
                Err(Refusal::new(RefusalKind::UpstreamTimeout).with_cause("/secret/path"))
            }
            Message::Request(request) => {
                let result = request.params().unwrap_or("{}");
                Ok(Replies::one(Message::Response(Response::result(request.id(), result))))
            }
            Message::Notification(_) | Message::Response(_) => Ok(Replies::none()),
        }
    }
}

fn message(text: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).unwrap()
}

/// Sends a message through a recorder and takes all that comes back.
async fn send(chain: &Chain, text: &str) {
    let mut origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2025_11_25);
    origin.session = Some(SessionTag("a1b2c3d4".into()));
    let envelope = Envelope::to_server(message(text), Arc::new(origin));
    if let Ok(mut replies) = chain.run(envelope, Arc::new(Server)).await {
        while replies.next().await.is_some() {}
    }
}

fn chain(tape: &Tape) -> Chain {
    Chain::new(vec![Arc::new(tape.recorder("edge"))])
}

fn records(path: &Path) -> Vec<Record> {
    open(path, &Keys::default()).unwrap().map(Result::unwrap).collect()
}

fn frames(path: &Path) -> Vec<Frame> {
    let frame = |record| if let Record::Frame(frame) = record { Some(*frame) } else { None };
    records(path).into_iter().filter_map(frame).collect()
}

#[tokio::test]
async fn every_message_of_both_directions_is_on_the_tape() {
    let dir = tempfile::tempdir().unwrap();
    let tape = Tape::create(dir.path(), Settings::default()).unwrap();
    let chain = chain(&tape);
    send(&chain, "{\"jsonrpc\":\"2.0\",\n \"id\":\"a\",\"method\":\"tools/call\",\"params\":{\"n\":1.0}}")
        .await;
    send(&chain, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    send(&chain, r#"{"jsonrpc":"2.0","id":2,"method":"refuse"}"#).await;
    let summary = tape.close(DEADLINE).await;
    assert_eq!(summary, Summary { frames: 5, lost: 0, complete: true });

    let records = records(&tape.path());
    assert!(matches!(&records[0], Record::Header(header) if header.redacted && header.major == 1));
    assert_eq!(records.last(), Some(&Record::End(End { frames: 5, lost: 0 })));

    let frames = frames(&tape.path());
    assert_eq!(frames.iter().map(|frame| frame.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(frames.windows(2).all(|pair| pair[0].at_us <= pair[1].at_us));
    let [call, result, note, refused_call, refusal] = frames.as_slice() else { panic!("five frames") };

    assert_eq!(call.message, r#"{"jsonrpc":"2.0", "id":"a","method":"tools/call","params":{"n":1.0}}"#);
    assert!(call.unfolded && !note.unfolded);
    assert_eq!((call.direction, result.direction), (Direction::ToServer, Direction::ToClient));
    assert_eq!((call.kind, result.kind, note.kind), (Kind::Request, Kind::Response, Kind::Notification));
    assert_eq!((call.method.as_deref(), result.method.as_deref()), (Some("tools/call"), None));
    assert_eq!(call.exchange, result.exchange);
    assert_ne!(call.exchange, note.exchange);
    assert!(result.took_us.is_some() && call.took_us.is_none());
    assert_eq!((result.client.transport.as_str(), result.client.era.as_str()), ("http", "legacy"));
    let upstream = result.upstream.as_ref().unwrap();
    assert_eq!((upstream.name.as_str(), upstream.transport.as_str()), ("echo", "stdio"));
    assert_eq!((upstream.revision.as_str(), call.session.as_deref()), ("2025-06-18", Some("a1b2c3d4")));

    assert_eq!((&refused_call.action, refusal.exchange), (&Action::Passed, refused_call.exchange));
    assert_eq!(refusal.action, Action::Refused { reason: "upstream_timeout".to_owned() });
    assert!(refusal.message.contains("-31002") && !refusal.message.contains("/secret/path"));
}

#[tokio::test]
async fn what_was_translated_says_so_beside_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let tape = Tape::create(dir.path(), Settings::default()).unwrap();
    let steps = [tape.recorder("edge"), tape.recorder("wire").translated()];
    let chain = Chain::new(steps.into_iter().map(|step| Arc::new(step) as _).collect());
    send(&chain, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#).await;
    tape.close(DEADLINE).await;
    let frames = frames(&tape.path());
    let seen: Vec<_> = frames.iter().map(|frame| (frame.hop.as_str(), &frame.action)).collect();
    let (passed, translated) = (&Action::Passed, &Action::Translated);
    assert_eq!(seen, [("edge", passed), ("wire", translated), ("wire", translated), ("edge", passed)]);
    assert!(render::line(&frames[1]).contains("~> tools/call"), "{}", render::line(&frames[1]));
}

#[tokio::test]
async fn a_secret_never_reaches_the_file_unless_redaction_is_switched_off() {
    let dir = tempfile::tempdir().unwrap();
    let call =
        r#"{"jsonrpc":"2.0","id":1,"method":"hunter2?token=canary","params":{"password":"canary-hunter2"}}"#;
    for redact in [true, false] {
        let tape = Tape::create(dir.path(), Settings { redact, ..Settings::default() }).unwrap();
        send(&chain(&tape), call).await;
        tape.close(DEADLINE).await;
        let text = std::fs::read_to_string(tape.path()).unwrap();
        assert_eq!(text.contains("canary"), !redact);
        assert_eq!(frames(&tape.path())[0].redactions, if redact { 2 } else { 0 });
    }
}

#[tokio::test]
async fn a_tape_is_private_and_listed_while_it_is_written_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("deep/tapes");
    let tape = Tape::create(&dir, Settings::default()).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&tape.path())), (0o700, 0o600));
    send(&chain(&tape), r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await;
    assert!(tape.flush(DEADLINE).await);
    let [open] = list(&dir).unwrap().try_into().unwrap();
    assert_eq!((open.state, open.frames, open.path.as_path()), (State::Open, 2, tape.path().as_path()));
    tape.close(DEADLINE).await;
    let [closed] = list(&dir).unwrap().try_into().unwrap();
    assert_eq!((closed.state, closed.frames, closed.lost), (State::Complete, 2, 0));
    assert!(closed.tape.is_some() && closed.created.is_some());

    let bytes = std::fs::read(tape.path()).unwrap();
    std::fs::write(tape.path(), &bytes[..bytes.len() - 3]).unwrap();
    assert_eq!(list(&dir).unwrap()[0].state, State::Torn);
    std::fs::write(tape.path(), b"not a tape\n").unwrap();
    assert_eq!(list(&dir).unwrap()[0].state, State::Damaged);
}

#[tokio::test]
async fn a_tap_sees_what_a_reader_will_see() {
    let dir = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shown = Arc::clone(&seen);
    let tap = Tap::new(move |frame: &Frame| shown.lock().unwrap().push(frame.clone()));
    let tape = Tape::create(dir.path(), Settings { tap: Some(tap), ..Settings::default() }).unwrap();
    send(
        &chain(&tape),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","token":"x"}}"#,
    )
    .await;
    tape.close(DEADLINE).await;
    assert_eq!(*seen.lock().unwrap(), frames(&tape.path()));
    let line = render::line(&seen.lock().unwrap()[0]);
    assert!(line.ends_with("  a1b2c3d4  -> tools/call echo  #1"), "{line}");
}

#[tokio::test]
async fn what_is_recorded_after_the_end_is_lost_and_no_call_fails() {
    let dir = tempfile::tempdir().unwrap();
    let tape = Tape::create(dir.path(), Settings::default()).unwrap();
    let monitor = tape.monitor();
    assert_eq!(monitor.health(), Health::Recording);
    tape.close(DEADLINE).await;
    send(&chain(&tape), r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await;
    assert_eq!((monitor.stats().frames, monitor.stats().lost), (0, 2));
    assert_eq!(tape.close(DEADLINE).await.frames, 0);
}

#[tokio::test]
async fn a_writer_that_cannot_follow_costs_frames_and_the_count_is_exact() {
    const MESSAGES: u64 = 2_000;
    let dir = tempfile::tempdir().unwrap();
    let (go, gate) = std::sync::mpsc::sync_channel::<()>(0);
    let gate = Mutex::new(gate);
    // Holds the writer at its first frame until all messages have passed.
    let tap = Tap::new(move |frame: &Frame| {
        if frame.seq == 1 {
            let _ = gate.lock().unwrap().recv_timeout(DEADLINE);
        }
    });
    let settings = Settings { queue_frames_max: 100, tap: Some(tap), ..Settings::default() };
    let tape = Tape::create(dir.path(), settings).unwrap();
    let chain = chain(&tape);
    for _ in 0..MESSAGES {
        send(&chain, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    }
    assert!(matches!(tape.monitor().health(), Health::Degraded { lost, .. } if lost > 0));
    go.send(()).unwrap();
    let summary = tape.close(DEADLINE).await;
    assert_eq!(summary.frames + summary.lost, MESSAGES);
    let told: u64 = records(&tape.path())
        .iter()
        .map(|record| if let Record::Lost(lost) = record { lost.count } else { 0 })
        .sum();
    assert_eq!((told, frames(&tape.path()).len() as u64), (summary.lost, summary.frames));
    assert_eq!(records(&tape.path()).last(), Some(&Record::End(End { frames: summary.frames, lost: told })));
}

#[tokio::test]
async fn a_tape_says_whether_it_is_being_written() {
    let dir = tempfile::tempdir().unwrap();
    let tape = Tape::create(dir.path(), Settings::default()).unwrap();
    assert!(is_being_written(&tape.path()).unwrap());
    tape.close(DEADLINE).await;
    assert!(!is_being_written(&tape.path()).unwrap());
}

#[test]
fn a_directory_that_cannot_be_made_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let fault = Tape::create(&file.join("tapes"), Settings::default()).unwrap_err();
    let text = fault.to_string();
    assert!(text.contains("file/tapes for tapes: make it writable or name another"), "{text}");
}

/// Prints a figure and asserts none: `cargo test --release -p shadowcat-tape -- --nocapture speed`.
#[tokio::test]
async fn speed_of_the_writer_with_redaction() {
    const EXCHANGES: u32 = 5_000;
    let dir = tempfile::tempdir().unwrap();
    let tape = Tape::create(dir.path(), Settings::default()).unwrap();
    let chain = chain(&tape);
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","_meta":{{"progressToken":1}},"arguments":{{"text":"{}"}}}}}}"#,
        "all is well ".repeat(15)
    );
    let begun = Instant::now();
    for _ in 0..EXCHANGES {
        send(&chain, &text).await;
    }
    let passed = begun.elapsed();
    let summary = tape.close(DEADLINE).await;
    let written = begun.elapsed();
    println!(
        "{} frames of {} bytes: passed in {passed:?}, written in {written:?}",
        summary.frames,
        text.len()
    );
    println!("{} us a frame, {} lost", written.as_micros() / u128::from(summary.frames), summary.lost);
    assert_eq!(summary.frames + summary.lost, u64::from(EXCHANGES) * 2);
}

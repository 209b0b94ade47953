//! F22: a program that is killed in the middle of writing.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{DEADLINE, chain, send};
use crate::{Key, Keys, ReadError, Record, Rotate, Settings, Tape, open};

const CHILD_DIR: &str = "SHADOWCAT_TAPE_TEST_DIR";
const CHILD_WAY: &str = "SHADOWCAT_TAPE_TEST_WAY";
/// All in all; the ways of writing take turns.
const KILLS: usize = 200;
const WAYS: [&str; 3] = ["plain", "encrypted", "rotated"];

fn key() -> Key {
    Key::parse(&"ab".repeat(32)).unwrap()
}

fn settings(way: &str) -> Settings {
    Settings {
        key: (way == "encrypted").then(key),
        rotate: Rotate { bytes: (way == "rotated").then_some(32 * 1024), ..Rotate::default() },
        ..Settings::default()
    }
}

/// The half of the next test that is killed: writes for ever and says how many frames are in the file.
#[tokio::test]
async fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let way = std::env::var_os(CHILD_WAY).unwrap().into_string().unwrap();
    let tape = Tape::create(Path::new(&dir), settings(&way)).unwrap();
    let chain = chain(&tape);
    let begun = Instant::now();
    let filler = "x".repeat(700);
    for id in 0_u64.. {
        // A parent that died does not leave this behind.
        if begun.elapsed() > DEADLINE {
            return;
        }
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping","params":{{"x":"{filler}"}}}}"#);
        send(&chain, &text).await;
        if id % 16 == 0 && tape.flush(DEADLINE).await {
            let mut out = std::io::stdout().lock();
            writeln!(out, "written {}", tape.monitor().stats().frames).unwrap();
            out.flush().unwrap();
        }
    }
}

/// Kills a child behind so many of its lines; how many frames it had acknowledged by then.
fn kill_one(dir: &Path, way: &str, mut left: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "tests::killed::child_that_writes_until_it_is_killed",
            "--nocapture",
            "--test-threads=1",
        ])
        .envs([(CHILD_DIR, dir.as_os_str().to_owned()), (CHILD_WAY, OsString::from(way))])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut acknowledged = 0;
    for line in lines {
        // The harness writes the test's name before the first line.
        let Some((_, count)) = line.split_once("written ") else { continue };
        acknowledged = count.parse().unwrap();
        left = left.saturating_sub(1);
        if left == 0 {
            // It writes on while this is decided, so that it is hit anywhere.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    acknowledged
}

/// How many frames are on a tape, all in order, and how many places of it are torn.
fn whole_and_torn(path: &Path) -> (u64, usize) {
    let keys: Keys = [key()].into_iter().collect();
    let (mut frames, mut torn) = (0, 0);
    for record in open(path, &keys).unwrap() {
        match record {
            Ok(Record::Frame(frame)) => {
                frames += 1;
                assert_eq!(frame.seq, frames, "in order and none left out");
            }
            Ok(Record::Header(_) | Record::End(_)) => {}
            Ok(Record::Lost(lost)) => panic!("{lost:?}"),
            Err(ReadError::Torn { .. }) => torn += 1,
            Err(fault) => panic!("{}: {fault}", path.display()),
        }
    }
    (frames, torn)
}

#[test]
fn a_writer_killed_200_times_leaves_every_acknowledged_frame_and_at_most_one_torn_tail_each() {
    for kill in 0..KILLS {
        let (dir, way) = (tempfile::tempdir().unwrap(), WAYS[kill % WAYS.len()]);
        let acknowledged = kill_one(dir.path(), way, 1 + kill * 7 % 12);
        let (mut frames, mut torn) = (0, 0);
        for tape in crate::files(dir.path()).unwrap() {
            let (more, torn_here) = whole_and_torn(&tape);
            (frames, torn) = (frames + more, torn + torn_here);
        }
        assert!(torn <= 1, "{way}: {torn} torn");
        assert!(acknowledged > 0 && frames >= acknowledged, "{way}: {frames} of {acknowledged}");
    }
}

//! What is on the tape and what is not.

use super::*;

use crate::recorder::testing::{CALL, captured, message, origin};
use shadowcat_pipeline::Direction;
use shadowcat_pipeline::Origin;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FINE: &str = r#"{"jsonrpc":"2.0","id":3,"result":{}}"#;
const FAILED: &str = r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32602,"message":"no"}}"#;
const TOOL_FAILED: &str = r#"{"jsonrpc":"2.0","id":3,"result":{"isError":true,"content":[]}}"#;
const PROGRESS: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;

/// A call: its request, some progress, the answer after so many milliseconds.
fn call(ask: &str, answer: &str, took_ms: u64) -> Vec<Captured> {
    call_of(&origin(), ask, answer, took_ms)
}

fn call_of(origin: &Arc<Origin>, ask: &str, answer: &str, took_ms: u64) -> Vec<Captured> {
    let asked = Instant::now();
    let later = asked + Duration::from_millis(took_ms);
    let back = Direction::ToClient;
    let base = Captured { origin: Arc::clone(origin), ..captured() };
    vec![
        Captured { message: message(ask), passed_at: asked, ..base.clone() },
        Captured { message: message(PROGRESS), direction: back, ..base.clone() },
        Captured { message: message(answer), passed_at: later, direction: back, asked: Some(asked), ..base },
    ]
}

fn select(share: f64, errors: bool, slower_ms: Option<u64>) -> Select {
    let sample = Sample::new(share, errors, slower_ms.map(Duration::from_millis)).unwrap();
    Select::new(Scope { sample: Some(sample), only: None }).unwrap()
}

/// How many of the messages were written.
fn written(select: &mut Select, messages: Vec<Captured>) -> usize {
    let mut out = Vec::new();
    for message in messages {
        select.take(message, &mut out);
    }
    out.len()
}

#[test]
fn a_share_is_a_number_from_nothing_to_all() {
    for wrong in [-0.1, 1.1, f64::NAN] {
        assert_eq!(Sample::new(wrong, false, None), None);
    }
    assert_eq!(written(&mut select(0.0, false, None), call(CALL, FINE, 0)), 0);
    assert_eq!(written(&mut select(1.0, false, None), call(CALL, FINE, 0)), 3);
}

#[test]
fn a_call_is_recorded_as_a_whole_or_not_at_all() {
    for waits in [false, true] {
        let mut select = select(0.5, waits, None);
        let mut calls = 0;
        for _ in 0..1_000 {
            match written(&mut select, call(CALL, FINE, 0)) {
                0 => {}
                3 => calls += 1,
                other => panic!("{other} messages of a call"),
            }
        }
        assert!((350..650).contains(&calls), "{calls} of 1000");
        assert_eq!(select.skipped(), 3 * (1_000 - calls));
        assert!(select.open.is_empty() && select.bytes == 0);
    }
}

#[test]
fn what_fails_or_is_slow_is_recorded_all_the_same() {
    for answer in [FAILED, TOOL_FAILED] {
        assert_eq!(written(&mut select(0.0, true, None), call(CALL, answer, 0)), 3);
        assert_eq!(written(&mut select(0.0, false, Some(100)), call(CALL, answer, 0)), 0);
    }
    let mut refused = call(CALL, FAILED, 0);
    refused[2].refused = Some("upstream_timeout");
    assert_eq!(written(&mut select(0.0, true, None), refused), 3);
    assert_eq!(written(&mut select(0.0, false, Some(100)), call(CALL, FINE, 101)), 3);
    assert_eq!(written(&mut select(0.0, true, Some(100)), call(CALL, FINE, 100)), 0);
}

#[test]
fn a_handshake_is_always_recorded() {
    let ask = r#"{"jsonrpc":"2.0","id":3,"method":"initialize","params":{}}"#;
    for waits in [false, true] {
        let mut select = select(0.0, waits, None);
        assert_eq!(written(&mut select, call(ask, FINE, 0)), 3);
        assert!(select.open.is_empty());
    }
}

#[test]
fn what_does_not_fit_into_memory_is_recorded_and_so_is_the_rest_of_it() {
    let mut select = select(0.0, true, None);
    let filler =
        format!(r#"{{"jsonrpc":"2.0","id":3,"method":"x","params":{{"f":"{}"}}}}"#, "x".repeat(1 << 20));
    let mut firsts = Vec::new();
    let (mut out, mut asked) = (Vec::new(), 0);
    while out.is_empty() {
        let mut messages = call(&filler, FINE, 0).into_iter();
        select.take(messages.next().unwrap(), &mut out);
        firsts.push(messages.collect::<Vec<_>>());
        asked += 1;
    }
    assert!(asked > 20 && select.bytes <= OPEN_BYTES_MAX);
    assert_eq!(written(&mut select, firsts.remove(0)), 2, "the oldest was given out");
    assert_eq!(written(&mut select, firsts.remove(0)), 0, "the next still waits, and is fine");
    out.clear();
    select.rest(&mut out);
    assert_eq!(out.len(), asked - 2, "how they end is not known");
}

/// Those whose end decides nothing are not held back by the filter.
fn only(filter: &str) -> Select {
    Select::new(Scope { sample: None, only: Some(filter.parse().unwrap()) }).unwrap()
}

/// How many of the messages of a call are written: with its first one, and in all.
fn kept(filter: &str, ask: &str, answer: &str, took_ms: u64) -> (usize, usize) {
    let mut select = only(filter);
    let mut messages = call(ask, answer, took_ms);
    let later = messages.split_off(1);
    let first = written(&mut select, messages);
    let all = first + written(&mut select, later);
    assert!(select.open.is_empty() && select.bytes == 0 && select.skipped() == 3 - all as u64);
    (first, all)
}

#[test]
fn a_filter_decides_as_early_as_it_can() {
    for filter in
        ["~m tools/call", "~t echo", "~session a1b2c3d4 & ~to server", "~client http", "!~principal *"]
    {
        assert_eq!(kept(filter, CALL, FINE, 0), (1, 3), "{filter}");
    }
    for filter in ["~m tools/list", "~t ech & ~e", "~session other", "~to client", "~principal *"] {
        assert_eq!(kept(filter, CALL, FAILED, 0), (0, 0), "{filter}");
    }
    for filter in ["~e", "~c -32602", "~d >=100ms", "~b Progress | ~bs no", "~t echo & ~e"] {
        assert_eq!(kept(filter, CALL, FAILED, 100), (0, 3), "{filter}");
        assert_eq!(kept(filter, CALL, FINE, 0), (0, 0), "{filter}");
    }
}

#[test]
fn a_handshake_is_recorded_for_whoever_may_have_calls_that_fit() {
    let ask = r#"{"jsonrpc":"2.0","id":3,"method":"initialize","params":{}}"#;
    assert_eq!(kept("~t echo & ~e", ask, FINE, 0), (1, 3));
    assert_eq!(kept("~t echo & !~session a1b2c3d4", ask, FINE, 0), (0, 0));
}

#[test]
fn a_question_in_the_middle_of_a_call_is_judged_by_itself_and_sampled_with_the_call() {
    let question = r#"{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage","params":{}}"#;
    let interrupted = |select: &mut Select, answer: &str| {
        let asked = origin();
        let mut inner = Origin::clone(&origin());
        inner.related = Some(asked.exchange);
        let mut call = call_of(&asked, CALL, answer, 0);
        let end = call.pop().unwrap();
        call.extend(call_of(&Arc::new(inner), question, FINE, 0));
        call.push(end);
        written(select, call)
    };
    assert_eq!(interrupted(&mut only("~m tools/call"), FINE), 3);
    assert_eq!(interrupted(&mut only("~m sampling/*"), FINE), 3);
    assert_eq!(interrupted(&mut only("~e"), FAILED), 3, "of the call alone");
    assert_eq!(interrupted(&mut select(0.0, true, None), FAILED), 6);
    assert_eq!(interrupted(&mut select(0.0, true, None), FINE), 0);
    let both = Scope { sample: Sample::new(0.0, true, None), only: Some("!~m sampling/*".parse().unwrap()) };
    assert_eq!(interrupted(&mut Select::new(both.clone()).unwrap(), FAILED), 3);
    assert_eq!(interrupted(&mut Select::new(both).unwrap(), FINE), 0);
}

#[test]
fn what_is_out_of_the_filter_is_not_recorded_for_want_of_memory() {
    let mut select = only("~e");
    let filler =
        format!(r#"{{"jsonrpc":"2.0","id":3,"method":"x","params":{{"f":"{}"}}}}"#, "x".repeat(1 << 20));
    let mut calls: Vec<_> = (0..40).map(|_| call(&filler, FINE, 0)).collect();
    for call in &mut calls {
        assert_eq!(written(&mut select, vec![call.remove(0)]), 0);
        assert!(select.bytes <= OPEN_BYTES_MAX);
    }
    for call in calls {
        assert_eq!(written(&mut select, call), 0);
    }
    assert_eq!((select.open.len(), select.bytes, select.skipped()), (0, 0, 120));
}

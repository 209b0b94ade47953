use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, future};
use shadowcat_pipeline::{Direction, Origin, PeerId, Transport};
use shadowcat_protocol::{Id, Message, Notification, Request, Response, Revision, method};
use shadowcat_rules::{Outcome, Then};

use super::*;

fn lot(settings: Settings) -> Lot {
    Lot::new(settings, PauseMetrics::default())
}

fn stopped(message: Message, cause: Cause) -> Stopped {
    let origin = Origin::new(PeerId::next(), Transport::Stdio, Revision::V2025_11_25);
    Stopped {
        message,
        asked: None,
        direction: Direction::ToServer,
        origin: Arc::new(origin),
        server: "up".into(),
        cause,
        terms: Terms::default(),
        claim: None,
        approver: None,
    }
}

fn call(id: u64) -> Stopped {
    let request = Request::new(&Id::from_u64(id), method::TOOLS_CALL, Some(r#"{"name":"echo"}"#));
    stopped(Message::Request(request), Cause::Breakpoint(BreakpointId(1)))
}

fn note() -> Stopped {
    stopped(Message::Notification(Notification::new(method::PROGRESS, None)), Cause::Rule("r".into()))
}

fn decision(wanted: Wanted) -> Decision {
    Decision { wanted, reason: Some("because".to_owned()), by: "api".into() }
}

fn only(lot: &Lot) -> Arc<Held> {
    let list = lot.list();
    assert_eq!(list.len(), 1);
    Arc::clone(&list[0])
}

/// What becomes of one message of which `decide` decides.
async fn decided(stopped: Stopped, wanted: Wanted) -> Released {
    let lot = lot(Settings::default());
    let (released, ()) = tokio::join!(lot.hold(stopped), async {
        lot.decide(only(&lot).id, &decision(wanted)).unwrap();
    });
    assert!(lot.list().is_empty());
    assert_eq!((released.by.word(), released.reason.as_deref()), ("api", Some("because")));
    released
}

#[tokio::test]
async fn each_verdict_reaches_the_message_it_is_about() {
    assert!(matches!(decided(call(7), Wanted::Resume).await.verdict, Verdict::Resume));
    assert!(matches!(decided(note(), Wanted::Drop).await.verdict, Verdict::Drop));
    let blocked = decided(call(7), Wanted::Block).await.verdict;
    assert!(matches!(&blocked, Verdict::Block(sentence) if sentence == "because"), "{blocked:?}");
    let text = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"other"}}"#;
    let Verdict::Edit(edited) = decided(call(7), Wanted::Edit(text.into())).await.verdict else { panic!() };
    assert_eq!(edited.text(), text);
    let outcome = Outcome::Result(r#"{"x":1}"#.to_owned());
    let Verdict::Answer(answer) = decided(call(7), Wanted::Answer(outcome)).await.verdict else { panic!() };
    assert_eq!(answer.text(), r#"{"jsonrpc":"2.0","id":7,"result":{"x":1}}"#);
}

#[tokio::test]
async fn what_cannot_stand_there_is_refused_and_the_message_stays_held() {
    let lot = lot(Settings::default());
    let answer = Response::result(&Id::from_u64(3), "{}");
    let answer = stopped(Message::Response(answer), Cause::Breakpoint(BreakpointId(1)));
    let mut waits = [call(7), answer, note()].map(|stopped| Box::pin(lot.hold(stopped)));
    for wait in &mut waits {
        assert!(futures_util::poll!(wait).is_pending());
    }
    let told = |number: u64, wanted: Wanted| match lot.decide(HeldId(number), &decision(wanted)) {
        Ok(()) => panic!("{number} was let go"),
        Err(error) => error.to_string(),
    };
    let edit = |text: &'static str| Wanted::Edit(text.into());
    assert_eq!(told(1, edit(r#"{"jsonrpc":"2.0","id":7,"#)), "the message is not JSON at byte 24");
    for text in [
        r#"{"jsonrpc":"2.0","id":8,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":"7","method":"ping"}"#,
        r#"{"jsonrpc":"2.0","method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":7,"result":{}}"#,
    ] {
        assert_eq!(told(1, edit(text)), "the edited message must stay a request with the id 7", "{text}");
    }
    let text = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
    assert_eq!(told(2, edit(text)), "the edited message must stay an answer with the id 3");
    assert_eq!(told(3, edit(text)), "the edited message must stay a notification, which has no id");
    let outcome = |text: &str| Wanted::Answer(Outcome::Result(text.to_owned()));
    assert_eq!(told(1, outcome(r#"{}},"x":{"#)), "`result` is not JSON");
    assert_eq!(told(3, outcome("{}")), "a notification has no answer; resume, edit, drop or block it");
    assert_eq!(told(9, Wanted::Resume), "h-9 is not held: it was let go before, or never was");
    assert_eq!(lot.list().len(), 3);
    for number in 1..=3 {
        lot.decide(HeldId(number), &decision(Wanted::Resume)).unwrap();
    }
    assert!(waits.into_iter().all(|wait| wait.now_or_never().is_some()));
    assert!(told(1, Wanted::Resume).contains("let go before"), "once and not twice");
}

#[tokio::test(start_paused = true)]
async fn at_its_deadline_a_message_gets_the_verdict_that_was_said() {
    let lot = lot(Settings { deadline: Duration::from_secs(30), ..Settings::default() });
    let begun = tokio::time::Instant::now();
    let released = lot.hold(call(1)).await;
    assert_eq!((begun.elapsed().as_secs(), released.by.word()), (30, "deadline"));
    assert!(matches!(released.verdict, Verdict::Block(sentence) if sentence.contains("in time")));
    let terms = Terms { held_for: Some(Duration::from_secs(2)), then: Some(Then::Continue) };
    let released = lot.hold(Stopped { terms, ..call(1) }).await;
    assert_eq!((begun.elapsed().as_secs(), released.verdict.word()), (32, "resume"));
    assert!(lot.list().is_empty());
}

#[tokio::test]
async fn who_goes_away_leaves_nothing_behind() {
    let lot = lot(Settings::default());
    let mut feed = lot.subscribe();
    let mut waits = Box::pin(lot.hold(call(1)));
    assert!(futures_util::poll!(&mut waits).is_pending());
    let held = only(&lot);
    drop(waits);
    assert!(lot.list().is_empty());
    assert_eq!(lot.decide(held.id, &decision(Wanted::Resume)), Err(DecideError::Gone(held.id)));
    let Some(Heard::Happened(Happened::Held(first))) = feed.next().await else { panic!() };
    let Some(Heard::Happened(Happened::Released { held, by, .. })) = feed.next().await else { panic!() };
    assert_eq!((first.id, held.id, by), (HeldId(1), HeldId(1), By::Gone));
    assert_eq!(
        held.stopped.origin.deeds.take(),
        vec![Box::<str>::from("breakpoint b-1 (h-1): gone by gone")]
    );
}

#[tokio::test]
async fn beyond_its_bounds_the_lot_holds_nothing_more() {
    let bytes = call(1).bytes();
    for settings in [
        Settings { held_max: 2, ..Settings::default() },
        Settings { bytes_max: bytes * 2, ..Settings::default() },
    ] {
        let lot = lot(Settings { then: Then::Continue, ..settings });
        let mut waits = [call(1), call(2)].map(|stopped| Box::pin(lot.hold(stopped)));
        for wait in &mut waits {
            assert!(futures_util::poll!(wait).is_pending());
        }
        let released = lot.hold(call(3)).await;
        assert_eq!((released.by.word(), released.verdict.word()), ("bound", "resume"));
        drop(waits);
        assert!(lot.hold(call(4)).now_or_never().is_none(), "there is room again");
    }
}

#[tokio::test]
async fn a_lot_that_closes_gives_every_message_its_verdict() {
    let lot = lot(Settings::default());
    let then = Terms { held_for: None, then: Some(Then::Continue) };
    let waits = [call(1), Stopped { terms: then, ..call(2) }, note()].map(|stopped| lot.hold(stopped));
    let (released, ()) = tokio::join!(future::join_all(waits), async { lot.close() });
    let words: Vec<_> =
        released.iter().map(|released| (released.verdict.word(), released.by.word())).collect();
    assert_eq!(words, [("block", "shutdown"), ("resume", "shutdown"), ("block", "shutdown")]);
    assert_eq!(lot.hold(call(4)).await.by, By::Shutdown, "and those that come later");
}

#[tokio::test]
async fn a_slow_reader_of_the_feed_is_told_what_it_lost() {
    let lot = lot(Settings::default());
    let mut feed = lot.subscribe();
    for number in 0..200 {
        assert!(lot.hold(call(number)).now_or_never().is_none());
    }
    let Some(Heard::Lost(missed)) = feed.next().await else { panic!() };
    assert_eq!(missed, 400 - 256);
    assert!(matches!(feed.next().await, Some(Heard::Happened(_))));
}

#[test]
fn breakpoints_are_set_and_taken_away() {
    let lot = lot(Settings::default());
    let first = lot.add_breakpoint("~m tools/call & ~q", Terms::default()).unwrap();
    assert_eq!((first.id.to_string(), first.filter.to_string()), ("b-1".into(), "~m tools/call & ~q".into()));
    assert!(lot.add_breakpoint("~m (", Terms::default()).unwrap_err().to_string().starts_with("column "));
    while lot.breakpoints().len() < BREAKPOINTS_MAX {
        lot.add_breakpoint("~q", Terms::default()).unwrap();
    }
    assert_eq!(lot.add_breakpoint("~q", Terms::default()).unwrap_err(), BreakpointError::TooMany);
    assert!(lot.remove_breakpoint(first.id) && !lot.remove_breakpoint(first.id));
    assert_eq!(BreakpointId::parse("b-1"), Some(first.id));
    assert_eq!((BreakpointId::parse("h-1"), HeldId::parse("h-x")), (None, None));
}

//! What a person does and what comes, against what is shown then.

use super::*;
use crate::event::Breakpoint;
use crate::hands::{HeldText, Verdict};
use crate::testing::{answer, held, notification, request};
use shadowcat_tape::Frame;

fn frame(frame: Frame) -> Event {
    Event::Frame { tape: 0, frame: Box::new(frame) }
}

/// So many calls of `echo`, each with its answer.
fn with_calls(calls: u64) -> Model {
    let mut model = Model::new("test".to_owned(), None);
    for exchange in 0..calls {
        model.take(frame(request(exchange, "tools/call", "echo")));
        model.take(frame(answer(exchange, r#"{"id":1,"result":{}}"#)));
    }
    model
}

fn run(model: &mut Model, commands: &[Command]) {
    for command in commands {
        assert_eq!(model.run(*command), None, "{command:?}");
    }
}

fn enter(model: &mut Model, text: &str) {
    model.run(Command::Filter);
    model.edit(Edit::Begin);
    text.chars().for_each(|c| model.edit(Edit::Insert(c)));
    model.submit();
}

#[test]
fn the_list_follows_what_comes_until_one_moves_up_or_pauses() {
    let mut model = with_calls(20);
    assert_eq!(model.messages_at.at, 39);
    for leave in [Command::Go(Step::Up), Command::Pause, Command::Go(Step::First), Command::Open] {
        let at = model.messages_at.at;
        run(&mut model, &[leave]);
        let selected = model.messages_at.at;
        model.take(frame(notification("notifications/message")));
        assert_eq!((model.follows, model.fresh, model.messages_at.at), (false, 1, selected), "{leave:?}");
        run(&mut model, &[Command::Back, Command::Go(Step::Last)]);
        assert_eq!((model.follows, model.fresh, model.messages_at.at), (true, 0, at + 1));
    }
}

#[test]
fn a_selected_message_stays_selected_when_the_oldest_go() {
    let mut model = with_calls(FRAMES_MAX as u64 / 2);
    run(&mut model, &[Command::Go(Step::Up), Command::Go(Step::Up)]);
    let selected = model.shown[model.messages_at.at];
    for _ in 0..100 {
        model.take(frame(notification("notifications/message")));
    }
    assert_eq!(model.shown.len(), FRAMES_MAX);
    assert_eq!(model.shown[model.messages_at.at], selected);
    for _ in 0..FRAMES_MAX {
        model.take(frame(notification("notifications/message")));
    }
    assert_eq!((model.shown.len(), model.messages_at.at), (FRAMES_MAX, 0), "then the oldest that is there");
}

#[test]
fn a_filter_chooses_among_what_is_there_and_what_comes() {
    let mut model = with_calls(5);
    model.take(frame(request(90, "tools/call", "rm")));
    enter(&mut model, "~t rm");
    assert_eq!((model.shown.len(), &model.prompt), (1, &None));
    model.take(frame(answer(90, r#"{"id":1,"error":{"code":-1}}"#)));
    model.take(frame(request(91, "tools/call", "echo")));
    assert_eq!(model.shown.len(), 2, "an answer is named by its request");
    enter(&mut model, "~t rm & ~e");
    assert_eq!(model.shown.len(), 1);
    enter(&mut model, "");
    assert_eq!(model.shown.len(), 13);
}

#[test]
fn the_selected_message_stays_selected_under_another_filter() {
    let mut model = with_calls(5);
    run(&mut model, &[Command::Go(Step::First), Command::Go(Step::Down), Command::Go(Step::Down)]);
    enter(&mut model, "~q");
    assert_eq!(model.shown[model.messages_at.at], 2);
    enter(&mut model, "~s");
    assert_eq!(model.shown[model.messages_at.at], 1, "or the nearest before it");
    run(&mut model, &[Command::Back]);
    assert_eq!((model.shown.len(), model.filter.is_none()), (10, true));
}

#[test]
fn a_wrong_filter_stays_open_with_the_cursor_at_its_place() {
    let mut model = with_calls(1);
    enter(&mut model, "~m ping & ~zz x");
    let prompt = model.prompt.clone().unwrap();
    assert!(prompt.fault.as_ref().unwrap().contains("did you mean `~z`"), "{prompt:?}");
    assert_eq!(prompt.line.at(), 10);
    assert_eq!(model.shown.len(), 2, "what was shown stays");
    model.edit(Edit::End);
    assert_eq!(model.prompt.as_ref().unwrap().fault, None);
    model.cancel();
    assert_eq!((model.prompt.is_none(), model.filter.is_none()), (true, true));
}

#[test]
fn what_is_missing_is_a_line_of_its_own_that_fits_no_filter() {
    let mut model = with_calls(1);
    model.take(Event::Gap("3 messages are missing here (queue)".to_owned()));
    assert_eq!(model.shown.len(), 3);
    run(&mut model, &[Command::Open]);
    assert!(model.open.is_none(), "there is nothing to open");
    enter(&mut model, "!~e");
    assert_eq!(model.shown.len(), 2);
}

#[test]
fn the_servers_side_is_shown_when_it_is_asked_for() {
    let mut model = with_calls(1);
    model.take(frame(Frame { hop: "wire".to_owned(), ..request(0, "tools/call", "echo") }));
    assert_eq!((model.shown.len(), model.sessions.all()[0].messages), (2, 2));
    run(&mut model, &[Command::Wire]);
    assert_eq!(model.shown.len(), 3);
    run(&mut model, &[Command::Wire]);
    assert_eq!(model.shown.len(), 2);
}

#[test]
fn an_opened_request_gets_its_answer_beside_it_when_it_comes() {
    let mut model = with_calls(3);
    model.take(frame(request(9, "tools/call", "slow")));
    run(&mut model, &[Command::Open, Command::Go(Step::Down)]);
    assert_eq!((model.place(), model.open.as_ref().unwrap().panes.len()), (Place::Message, 1));
    model.take(frame(answer(9, r#"{"id":9,"result":{}}"#)));
    let open = model.open.as_ref().unwrap();
    assert_eq!((open.panes.len(), open.focus), (2, 0));
    run(&mut model, &[Command::OtherPane, Command::PreviousMessage]);
    let open = model.open.as_ref().unwrap();
    assert_eq!((open.number, open.focus), (Some(5), 1), "the answer before");
    run(&mut model, &[Command::NextMessage]);
    assert_eq!(model.open.as_ref().unwrap().number, Some(6));
    run(&mut model, &[Command::Back]);
    assert_eq!((model.place(), model.messages_at.at), (Place::Messages, 6));
}

#[test]
fn a_session_is_opened_as_the_filter_for_its_messages() {
    let mut model = with_calls(2);
    model.take(frame(Frame { session: None, ..request(50, "ping", "x") }));
    run(&mut model, &[Command::NextList, Command::Open]);
    assert_eq!((model.place(), model.shown.len()), (Place::Messages, 4));
    assert_eq!(model.filter.as_ref().unwrap().to_string(), "~session a1b2c3d4");
    run(&mut model, &[Command::NextList, Command::Go(Step::Last), Command::Open]);
    assert_eq!(model.place(), Place::Sessions);
    assert!(model.note.as_ref().unwrap().contains("no session"));
}

#[test]
fn help_is_over_all_else_and_goes_first() {
    let mut model = with_calls(1);
    run(&mut model, &[Command::Open, Command::Help, Command::Go(Step::Last)]);
    assert_eq!(model.place(), Place::Help);
    run(&mut model, &[Command::Back]);
    assert_eq!(model.place(), Place::Message);
    assert_eq!(model.run(Command::Quit), Some(Effect::Quit));
}

#[test]
fn a_screen_of_any_size_does_no_harm() {
    for (width, height) in [(0, 0), (1, 1), (5, 4), (300, 2), (20, 100)] {
        let mut model = with_calls(10);
        run(&mut model, &[Command::Open]);
        model.resize(width, height);
        run(&mut model, &[Command::Go(Step::Last), Command::Go(Step::PageUp), Command::Back, Command::Help]);
        run(&mut model, &[Command::Go(Step::Last), Command::Back, Command::Go(Step::First)]);
        assert_eq!(model.messages_at.at, 0);
    }
}

/// Two calls and two requests, the first of which waits as `h-1`, and a breakpoint.
fn with_held() -> Model {
    let mut model = with_calls(2);
    model.can_act = true;
    model.take(frame(request(7, "tools/call", "rm")));
    model.take(Event::Held(Box::new(held("h-1", 7))));
    model.take(frame(request(8, "tools/call", "echo")));
    let filter = "~t rm".to_owned();
    model.take(Event::Breakpoints(vec![Breakpoint { id: "b-1".to_owned(), filter }]));
    model
}

#[test]
fn what_waits_is_decided_over_from_the_list_the_message_and_the_list_of_what_waits() {
    let mut model = with_held();
    run(&mut model, &[Command::Go(Step::Up)]);
    let resume = Effect::Decide { id: "h-1".to_owned(), verdict: Verdict::Resume };
    assert_eq!(model.run(Command::Resume), Some(resume.clone()));
    run(&mut model, &[Command::Open]);
    assert_eq!(model.run(Command::Resume), Some(resume.clone()));
    run(&mut model, &[Command::Back, Command::NextList, Command::NextList]);
    assert_eq!((model.place(), model.run(Command::Resume)), (Place::Held, Some(resume)));
    let id = || "h-1".to_owned();
    for (command, effect) in [
        (Command::Drop, Effect::Decide { id: id(), verdict: Verdict::Drop }),
        (Command::Edit, Effect::Compose { id: id(), what: Compose::Edit }),
        (Command::Answer, Effect::Compose { id: id(), what: Compose::Answer }),
        (Command::Open, Effect::Show { id: id() }),
    ] {
        assert_eq!(model.run(command), Some(effect));
    }
    model.show_held("h-1", &HeldText { message: "{}".to_owned(), asked: None });
    assert_eq!((model.place(), model.held().map(|held| held.id.as_str())), (Place::Message, Some("h-1")));
    model.decided("h-1", "goes on");
    assert_eq!((model.held(), model.note.as_deref()), (None, Some("h-1: goes on")));
}

#[test]
fn what_is_pasted_is_text_where_a_line_is_typed_and_does_nothing_elsewhere() {
    let mut model = with_held();
    model.paste("d\nx\nq");
    assert!(model.note.as_ref().unwrap().contains("nowhere to paste"));
    run(&mut model, &[Command::Filter]);
    let names = vec!["~t echo"; 300].join("\r\n| ");
    model.paste(&format!("{names}\n"));
    assert_eq!(model.prompt.as_ref().unwrap().line.text().chars().count(), 300 * 10 - 3);
    assert_eq!(model.submit(), None);
    assert!(model.prompt.is_none() && model.filter.is_some(), "{:?}", model.prompt);
    run(&mut model, &[Command::Back, Command::Breakpoint]);
    model.paste(&"x".repeat(5_000));
    assert_eq!(
        model.prompt.as_ref().unwrap().fault.as_deref(),
        Some("what was pasted is longer than a line may be")
    );
}

#[test]
fn a_refusal_asks_for_its_reason() {
    let mut model = with_held();
    run(&mut model, &[Command::Go(Step::Up)]);
    for (typed, reason) in [("", None), ("not today", Some("not today".to_owned()))] {
        run(&mut model, &[Command::Block]);
        typed.chars().for_each(|c| model.edit(Edit::Insert(c)));
        let effect = Effect::Decide { id: "h-1".to_owned(), verdict: Verdict::Block(reason) };
        assert_eq!(model.submit(), Some(effect));
    }
}

#[test]
fn a_breakpoint_begins_with_the_filter_that_is_on_and_is_removed_in_its_list() {
    let mut model = with_held();
    enter(&mut model, "~t rm");
    run(&mut model, &[Command::Breakpoint]);
    " & ~zz".chars().for_each(|c| model.edit(Edit::Insert(c)));
    assert_eq!(model.submit(), None);
    assert!(model.prompt.as_ref().unwrap().fault.as_ref().unwrap().contains("column 9"));
    model.edit(Edit::End);
    (0..6).for_each(|_| model.edit(Edit::Backspace));
    assert_eq!(model.submit(), Some(Effect::AddBreakpoint { filter: "~t rm".to_owned() }));
    run(&mut model, &[Command::NextList, Command::NextList, Command::Go(Step::Last)]);
    assert_eq!(model.run(Command::Drop), Some(Effect::RemoveBreakpoint { id: "b-1".to_owned() }));
    assert_eq!(model.run(Command::Resume), None);
    assert!(model.note.as_ref().unwrap().contains("does not wait"));
}

#[test]
fn what_is_let_go_elsewhere_waits_no_more() {
    let mut model = with_held();
    model.take(Event::Released { id: "h-1".to_owned(), told: "block by deadline".to_owned() });
    assert_eq!(model.lot.held(), []);
    assert_eq!(model.note.as_deref(), Some("h-1: block by deadline"));
    model.take(Event::AllHeld(vec![held("h-2", 8), held("h-3", 9)]));
    assert_eq!(model.lot.held().len(), 2);
    assert_eq!(
        model.held().map(|held| held.id.as_str()),
        Some("h-2"),
        "the last message is the one of exchange 8"
    );
}

/// The list of what waits: `h-1` to `h-3` and a breakpoint, with the cursor there.
fn with_lot(at: usize) -> Model {
    let mut model = with_held();
    model.take(Event::AllHeld(vec![held("h-1", 7), held("h-2", 8), held("h-3", 9)]));
    run(&mut model, &[Command::NextList, Command::NextList]);
    (0..at).for_each(|_| run(&mut model, &[Command::Go(Step::Down)]));
    model
}

#[test]
fn what_is_selected_among_what_waits_stays_so_whatever_comes_and_goes() {
    let released = |id: &str| Event::Released { id: id.to_owned(), told: "block by deadline".to_owned() };
    let resume = |id: &str| Some(Effect::Decide { id: id.to_owned(), verdict: Verdict::Resume });
    let mut model = with_lot(1);
    model.take(released("h-1"));
    assert_eq!(model.run(Command::Resume), resume("h-2"), "one above it is let go");
    model.take(Event::AllHeld(vec![held("h-0", 6), held("h-1", 7), held("h-2", 8)]));
    assert_eq!(model.run(Command::Resume), resume("h-2"), "all are told anew");
    model.take(released("h-2"));
    assert_eq!(model.run(Command::Resume), resume("h-1"), "the last that waits is let go: the one before it");
    model.take(released("h-0"));
    model.take(Event::Held(Box::new(held("h-3", 9))));
    model.take(released("h-1"));
    assert_eq!(model.run(Command::Resume), resume("h-3"), "the one that waits next");
    model.take(released("h-3"));
    assert_eq!(model.run(Command::Resume), None, "nothing waits");

    let mut model = with_lot(3);
    let remove = Some(Effect::RemoveBreakpoint { id: "b-1".to_owned() });
    model.take(Event::Held(Box::new(held("h-4", 10))));
    assert_eq!(model.run(Command::Drop), remove, "one comes above the breakpoint");
    let breakpoint = |id: &str| Breakpoint { id: id.to_owned(), filter: "~e".to_owned() };
    model.take(Event::Breakpoints(vec![breakpoint("b-0"), breakpoint("b-1")]));
    assert_eq!(model.run(Command::Drop), remove, "and another breakpoint");
}

#[test]
fn who_comes_to_the_list_of_what_waits_is_at_the_oldest() {
    let mut model = with_held();
    model.take(Event::Released { id: "h-1".to_owned(), told: "block by deadline".to_owned() });
    model.take(Event::Held(Box::new(held("h-2", 8))));
    run(&mut model, &[Command::NextList, Command::NextList]);
    assert_eq!(model.held().map(|held| held.id.as_str()), Some("h-2"), "and not at the breakpoint");
}

#[test]
fn that_a_message_waits_is_said_once() {
    let mut model = with_held();
    run(&mut model, &[Command::NextList]);
    model.take(Event::Held(Box::new(held("h-1", 7))));
    assert_eq!(model.note, None);
    model.take(Event::Held(Box::new(held("h-2", 8))));
    assert_eq!(model.note.as_deref(), Some("h-2 waits: tools/call (breakpoint b-1)"));
}

#[test]
fn on_a_tape_nothing_waits() {
    let mut model = with_calls(1);
    run(&mut model, &[Command::Resume]);
    assert!(model.note.as_ref().unwrap().contains("running proxy"));
    run(&mut model, &[Command::NextList, Command::NextList]);
    assert_eq!(model.place(), Place::Messages);
}

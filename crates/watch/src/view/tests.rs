//! What people see: screens of text, as they are drawn.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use shadowcat_tape::{Action, Frame};

use super::*;
use crate::event::{Breakpoint, Event, Held};
use crate::hands::HeldText;
use crate::model::{Command, Edit, Step};
use crate::testing::{answer, held, notification, request};

fn screen(model: &mut Model, width: u16, height: u16, is_colored: bool) -> Terminal<TestBackend> {
    model.resize(width.into(), height.into());
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model, Paint::new(is_colored))).unwrap();
    terminal
}

/// A screen without colours as text.
fn text(model: &mut Model, width: u16, height: u16) -> String {
    let terminal = screen(model, width, height, false);
    let buffer = terminal.backend().buffer();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(row).collect::<Vec<_>>().join("\n")
}

fn conversation() -> Model {
    let mut model = Model::new("20261121T120405Z-a1b2c3.tape.jsonl".to_owned(), None);
    let refused = Frame {
        action: Action::Refused { reason: "policy_denied".to_owned() },
        rules: vec!["no-shell: block".to_owned()],
        ..answer(3, r#"{"jsonrpc":"2.0","id":3,"error":{"code":-31015,"message":"ask a person"}}"#)
    };
    for frame in [
        request(1, "initialize", "x"),
        answer(1, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#),
        request(2, "tools/call", "echo"),
        Frame { exchange: 2, ..notification("notifications/progress") },
        answer(2, r#"{"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"hello"}]}}"#),
        Frame { session: Some("ffff0000".to_owned()), ..request(3, "tools/call", "shell") },
        Frame { session: Some("ffff0000".to_owned()), ..refused },
        request(4, "tools/call", "a_tool_with_a_name_that_is_very_long_indeed"),
        answer(
            4,
            r#"{"jsonrpc":"2.0","id":4,"result":{"isError":true,"content":[{"text":"no such \u001b[2J file"}]}}"#,
        ),
    ] {
        model.take(Event::Frame { tape: 0, frame: Box::new(frame) });
    }
    model.take(Event::Gap("2 messages are missing here (queue)".to_owned()));
    model.take(Event::Standing(Standing::Following));
    model
}

#[test]
fn the_list_of_messages() {
    let mut model = conversation();
    insta::assert_snapshot!("messages-80x24", text(&mut model, 80, 24));
    insta::assert_snapshot!("messages-140x16", text(&mut model, 140, 16));
}

#[test]
fn a_list_that_stands_still_says_so() {
    let mut model = Model::new("docs".to_owned(), Some("~m tools/call".parse().unwrap()));
    insta::assert_snapshot!("empty", text(&mut model, 80, 8));
    model = conversation();
    model.run(Command::Go(Step::First));
    model.run(Command::Wire);
    model.take(Event::Frame { tape: 0, frame: Box::new(notification("notifications/message")) });
    insta::assert_snapshot!("paused", text(&mut model, 80, 10));
}

#[test]
fn the_list_of_sessions() {
    let mut model = conversation();
    model.run(Command::NextList);
    insta::assert_snapshot!("sessions", text(&mut model, 80, 8));
}

#[test]
fn what_waits() {
    let mut model = conversation();
    model.can_act = true;
    model.take(Event::Held(Box::new(held("h-1", 3))));
    model.take(Event::Held(Box::new(Held { is_answer: true, ..held("h-2", 4) })));
    let filter = "~m tools/call & ~t rm".to_owned();
    model.take(Event::Breakpoints(vec![Breakpoint { id: "b-1".to_owned(), filter }]));
    for _ in 0..4 {
        model.run(Command::Go(Step::Up));
    }
    insta::assert_snapshot!("held-in-messages", text(&mut model, 80, 15));
    model.run(Command::NextList);
    model.run(Command::NextList);
    insta::assert_snapshot!("held", text(&mut model, 80, 9));
    let text_of = HeldText { message: r#"{"id":3,"method":"tools/call"}"#.to_owned(), asked: None };
    model.show_held("h-1", &text_of);
    insta::assert_snapshot!("held-opened", text(&mut model, 80, 10));
    model.run(Command::Block);
    insta::assert_snapshot!("reason", text(&mut model, 80, 10));
    model.cancel();
    model.decided("h-1", "goes on");
    insta::assert_snapshot!("held-decided", text(&mut model, 80, 10));
}

#[test]
fn an_opened_message() {
    let mut model = conversation();
    for step in [Step::First, Step::Down, Step::Down] {
        model.run(Command::Go(step));
    }
    model.run(Command::Open);
    insta::assert_snapshot!("opened-80x24", text(&mut model, 80, 24));
    insta::assert_snapshot!("opened-120x20", text(&mut model, 120, 20));
}

#[test]
fn a_wrong_filter_with_its_place() {
    let mut model = conversation();
    model.run(Command::Filter);
    "~m tools/call & ~tool echo".chars().for_each(|c| model.edit(Edit::Insert(c)));
    model.submit();
    insta::assert_snapshot!("wrong-filter", text(&mut model, 80, 16));
    let terminal = screen(&mut model, 80, 16, true);
    let place = u16::try_from("filter: ~m tools/call & ".len()).unwrap();
    let cell = &terminal.backend().buffer()[(place, 14)];
    assert!(cell.symbol() == "~" && cell.modifier.contains(Modifier::REVERSED), "{cell:?}");
}

#[test]
fn the_help() {
    let mut model = conversation();
    model.run(Command::Help);
    insta::assert_snapshot!("help", text(&mut model, 80, 46));
    model.resize(80, 24);
    model.run(Command::Go(Step::Last));
    assert!(text(&mut model, 80, 24).contains("~upstream docs"), "its end can be reached");
}

#[test]
fn without_colours_there_are_none() {
    let mut model = conversation();
    for is_colored in [true, false] {
        let terminal = screen(&mut model, 80, 24, is_colored);
        let cells = terminal.backend().buffer().content();
        let has_colors = cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        assert_eq!(has_colors, is_colored);
        assert!(
            cells.iter().any(|cell| cell.modifier.contains(Modifier::REVERSED)),
            "what is selected shows"
        );
    }
}

#[test]
fn a_screen_of_any_size_is_drawn() {
    for (width, height) in [(1, 1), (10, 3), (40, 5), (79, 2), (200, 60)] {
        let mut model = conversation();
        model.run(Command::Open);
        text(&mut model, width, height);
        model.run(Command::Help);
        text(&mut model, width, height);
        model.run(Command::Back);
        model.run(Command::Back);
        model.run(Command::Filter);
        model.edit(Edit::Insert('x'));
        model.submit();
        text(&mut model, width, height);
        model.cancel();
        model.run(Command::NextList);
        text(&mut model, width, height);
    }
}

//! The list of messages.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use shadowcat_pipeline::Direction;
use shadowcat_tape::{Action, Kind, Outcome, render};

use super::{Paint, cut, draw_lines, fitted};
use crate::event::Held;
use crate::model::{Entry, Message, Model};

const TIME_WIDTH: usize = 12;
const SESSION_WIDTH: usize = 8;
const FIGURE_WIDTH: usize = 7;
/// A usual method with a usual name.
const WHAT_WIDTH_MIN: usize = 16;
/// Wider gains nothing: what is left goes to how it turned out.
const WHAT_WIDTH_MAX: usize = 40;
/// The arrow, and the blanks between the columns.
const BETWEEN: usize = 8;

/// How wide the columns are that share what is left.
#[derive(Clone, Copy)]
struct Widths {
    /// None where all is one session's: on a narrow screen there is better to show.
    session: usize,
    what: usize,
    status: usize,
}

impl Widths {
    fn of(width: u16, has_sessions: bool) -> Self {
        let session = if has_sessions { SESSION_WIDTH } else { 0 };
        let fixed = TIME_WIDTH + session + 2 * FIGURE_WIDTH + BETWEEN;
        let left = usize::from(width).saturating_sub(fixed);
        let what = (left * 3 / 5).clamp(WHAT_WIDTH_MIN, WHAT_WIDTH_MAX);
        Self { session, what, status: left.saturating_sub(what) }
    }
}

/// What stands in the columns of a line.
struct Row {
    time: String,
    session: String,
    arrow: &'static str,
    what: String,
    took: String,
    size: String,
    status: String,
}

impl Row {
    fn names() -> Self {
        let name = str::to_owned;
        Self {
            time: name("TIME (UTC)"),
            session: name("SESSION"),
            arrow: "",
            what: name("MESSAGE"),
            took: name("TOOK"),
            size: name("SIZE"),
            status: name("STATUS"),
        }
    }

    fn of(message: &Message, held: Option<&Held>) -> Self {
        let frame = &message.frame;
        let clock = frame.time.time();
        let (hour, minute, second, milli) =
            (clock.hour(), clock.minute(), clock.second(), clock.millisecond());
        let name =
            message.name.as_deref().map_or_else(String::new, |name| format!(" {}", render::visible(name)));
        Self {
            time: format!("{hour:02}:{minute:02}:{second:02}.{milli:03}"),
            session: render::visible(frame.session.as_deref().unwrap_or("-")),
            arrow: arrow(message),
            what: render::visible(&message.method) + &name,
            took: frame.took_us.map_or_else(String::new, render::duration),
            size: render::size(frame.message.len()),
            status: status(message, held),
        }
    }

    fn text(&self, widths: Widths) -> String {
        let Self { time, session, arrow, what, took, size, status } = self;
        let session = match widths.session {
            0 => String::new(),
            width => fitted(session, width) + " ",
        };
        let (what, status) = (fitted(what, widths.what), cut(status, widths.status));
        format!(
            "{time:TIME_WIDTH$} {session}{arrow:2} {what} {took:>FIGURE_WIDTH$} {size:>FIGURE_WIDTH$} {status}"
        )
    }
}

fn arrow(message: &Message) -> &'static str {
    match (message.frame.direction, message.is_translated) {
        (Direction::ToServer, false) => "->",
        (Direction::ToServer, true) => "~>",
        (Direction::ToClient, false) => "<-",
        (Direction::ToClient, true) => "<~",
    }
}

/// How an answer turned out, what was done to it, and what rules did.
fn status(message: &Message, held: Option<&Held>) -> String {
    let frame = &message.frame;
    let told = |begin: String, sentence: &Option<std::borrow::Cow<'_, str>>| match sentence {
        Some(sentence) => format!("{begin}: {}", render::visible(sentence)),
        None => begin,
    };
    let mut words = Vec::new();
    if let Some(held) = held {
        let what = if held.is_answer { "answer " } else { "" };
        words.push(format!("{what}held {}", held.id));
    }
    if message.is_wire() {
        words.push("wire".to_owned());
    }
    match frame.outcome() {
        Some(Outcome::Result) => words.push("result".to_owned()),
        Some(Outcome::InputRequired) => words.push("input required".to_owned()),
        Some(Outcome::ToolError { sentence }) => words.push(told("tool error".to_owned(), &sentence)),
        Some(Outcome::Error { code, sentence }) => {
            words.push(told(format!("error {}", render::visible(code)), &sentence));
        }
        Some(Outcome::Refused { reason, sentence }) => {
            words.push(told(format!("refused {}", render::visible(reason)), &sentence));
        }
        None => {}
    }
    if let Action::Other(word) = &frame.action {
        words.push(render::visible(word));
    }
    if !message.rules.is_empty() {
        words.push(format!("[{}]", render::visible(&message.rules.join(", "))));
    }
    words.join(" ")
}

fn style(message: &Message, is_held: bool, paint: Paint) -> Style {
    if is_held {
        paint.held()
    } else if message.frame.is_failure() {
        paint.failure()
    } else if !message.rules.is_empty() {
        paint.doubt()
    } else if message.frame.kind == Kind::Notification || message.is_wire() {
        paint.aside()
    } else {
        Style::new()
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, paint: Paint) {
    let widths = Widths::of(area.width, model.sessions.all().len() > 1);
    let mut lines = vec![Line::styled(Row::names().text(widths), Paint::heading())];
    let window = model.messages_at.window(model.shown.len(), model.list_height());
    for (place, number) in model.shown.range(window.clone()).enumerate() {
        let (text, style) = match model.ring.get(*number) {
            Some(Entry::Message(message)) => {
                let held = model.held_at(*number);
                (Row::of(message, held).text(widths), style(message, held.is_some(), paint))
            }
            Some(Entry::Gap(told)) => (format!("… {}", render::visible(told)), paint.doubt()),
            None => continue,
        };
        let is_selected = window.start + place == model.messages_at.at;
        lines.push(selected(text, style, is_selected, area.width));
    }
    if model.shown.is_empty() {
        let why = if model.filter.is_some() { "no message fits the filter" } else { "no messages yet" };
        lines.push(Line::styled(why, paint.aside()));
    }
    draw_lines(frame, area, lines);
}

/// A line of a list, as a bar over the whole width if it is selected.
pub(super) fn selected(text: String, style: Style, is: bool, width: u16) -> Line<'static> {
    if is {
        Line::styled(fitted(&text, width.into()), style.patch(Paint::bar()))
    } else {
        Line::styled(text, style)
    }
}

//! The list of messages that wait, and of breakpoints.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use shadowcat_pipeline::Direction;
use shadowcat_tape::render;

use super::messages::selected;
use super::{Paint, cut, draw_lines, fitted};
use crate::event::Held;
use crate::model::{Model, Waiting, clock};

const ID_WIDTH: usize = 6;
const UNTIL_WIDTH: usize = 16;
const SESSION_WIDTH: usize = 8;
const SIZE_WIDTH: usize = 7;
const CAUSE_WIDTH: usize = 18;
/// The arrow, and the blanks between the columns.
const BETWEEN: usize = 8;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, paint: Paint) {
    let names = ["ID", "UNTIL", "SESSION", "", "MESSAGE", "SIZE", "BECAUSE OF"].map(str::to_owned);
    let mut lines = vec![Line::styled(text(&names, area.width), Paint::heading())];
    for place in model.lot_at.window(model.lot.len(), model.list_height()) {
        let (text, style) = match model.lot.get(place) {
            Some(Waiting::Held(held)) => (text(&row(held), area.width), Style::new()),
            Some(Waiting::Breakpoint(breakpoint)) => {
                let id = fitted(&breakpoint.id, ID_WIDTH);
                let told = format!("{id} holds what fits {}", breakpoint.filter);
                (cut(&told, area.width.into()), paint.aside())
            }
            None => continue,
        };
        lines.push(selected(text, style, place == model.lot_at.at, area.width));
    }
    if model.lot.len() == 0 {
        lines.push(Line::styled("nothing waits; `b` holds what fits a filter", paint.aside()));
    }
    draw_lines(frame, area, lines);
}

fn row(held: &Held) -> [String; 7] {
    let arrow = match held.direction {
        Direction::ToServer => "->",
        Direction::ToClient => "<-",
    };
    let name = held.name.as_deref().map_or_else(String::new, |name| format!(" {}", render::visible(name)));
    [
        held.id.clone(),
        format!("{} {}", clock(held.until), render::visible(&held.then)),
        render::visible(held.session.as_deref().unwrap_or("-")),
        arrow.to_owned(),
        render::visible(&held.method) + &name,
        render::size(held.bytes),
        render::visible(&held.cause),
    ]
}

fn text([id, until, session, arrow, what, size, cause]: &[String; 7], width: u16) -> String {
    let fixed = ID_WIDTH + UNTIL_WIDTH + SESSION_WIDTH + SIZE_WIDTH + CAUSE_WIDTH + BETWEEN;
    let what = fitted(what, usize::from(width).saturating_sub(fixed));
    let (id, until, session) =
        (fitted(id, ID_WIDTH), fitted(until, UNTIL_WIDTH), fitted(session, SESSION_WIDTH));
    format!("{id} {until} {session} {arrow:2} {what} {size:>SIZE_WIDTH$} {}", cut(cause, CAUSE_WIDTH))
}

//! The drawing: the model in, cells out. It decides nothing.

mod foot;
mod held;
mod help;
mod messages;
mod opened;
mod paint;
mod sessions;
#[cfg(test)]
mod tests;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::event::Standing;
use crate::model::{Model, Place};

pub(crate) use paint::Paint;

/// Draws the whole screen.
pub(crate) fn draw(frame: &mut Frame<'_>, model: &Model, paint: Paint) {
    let [head, body, foot, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, model);
    match model.place() {
        Place::Messages => messages::draw(frame, body, model, paint),
        Place::Sessions => sessions::draw(frame, body, model, paint),
        Place::Held => held::draw(frame, body, model, paint),
        Place::Message => opened::draw(frame, body, model, paint),
        Place::Help => help::draw(frame, body, model, paint),
    }
    foot::draw(frame, foot, body, model, paint);
    foot::draw_keys(frame, keys, model, paint);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let standing = match &model.standing {
        Standing::Reading => "reading".to_owned(),
        Standing::Following => "live".to_owned(),
        Standing::Ended => "at its end".to_owned(),
        Standing::Broken(_) => "gone".to_owned(),
    };
    let count = match (model.shown.len(), model.ring.count(model.shows_wire)) {
        (shown, all) if shown == all => format!("{all} messages "),
        (shown, all) => format!("{shown} of {all} messages "),
    };
    let held = match model.lot.held().len() {
        0 => String::new(),
        waiting => format!("{waiting} held  "),
    };
    let count = held + &count;
    let room = usize::from(area.width).saturating_sub(count.chars().count());
    let begin = cut(&format!(" shadowcat watch  {}  {standing}", model.source), room.saturating_sub(1));
    let line = fitted(&begin, room) + &count;
    frame.render_widget(Line::from(Span::raw(line)).style(Paint::bar()), area);
}

/// Draws lines from the top, as many as there is room for.
fn draw_lines<'a>(frame: &mut Frame<'_>, area: Rect, lines: impl IntoIterator<Item = Line<'a>>) {
    for (row, line) in (0..area.height).zip(lines) {
        frame.render_widget(line, Rect { y: area.y + row, height: 1, ..area });
    }
}

/// At most so many cells, with a mark where something is missing.
fn cut(text: &str, cells_max: usize) -> String {
    if text.width() <= cells_max {
        return text.to_owned();
    }
    let mut left = cells_max.saturating_sub(1);
    let fits = |c: &char| {
        let cells = c.width().unwrap_or(0);
        let has_room = cells <= left;
        left = left.saturating_sub(cells);
        has_room
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    cut.push('…');
    cut
}

/// Exactly so many cells.
fn fitted(text: &str, cells: usize) -> String {
    let mut fitted = cut(text, cells);
    fitted.extend(std::iter::repeat_n(' ', cells.saturating_sub(fitted.width())));
    fitted
}

//! An opened message with what belongs to it, one or two panes.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{Paint, draw_lines, fitted};
use crate::model::{Model, Pane, PaneSize};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, paint: Paint) {
    let Some(open) = &model.open else { return };
    let size = model.pane_size();
    for (place, pane) in (0..).zip(&open.panes) {
        let area = part(area, size, place);
        draw_pane(frame, area, pane, usize::from(place) == open.focus, paint);
    }
}

/// The room of the first pane or the second.
fn part(area: Rect, size: PaneSize, place: u16) -> Rect {
    let cells = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    let (width, height) = (cells(size.width), cells(size.height + 1));
    let (x, y) = if size.is_beside { (place * (width + 1), 0) } else { (0, place * height) };
    Rect { x: area.x + x, y: area.y + y, width, height }.intersection(area)
}

fn draw_pane(frame: &mut Frame<'_>, area: Rect, pane: &Pane, has_focus: bool, paint: Paint) {
    let height = usize::from(area.height.saturating_sub(1));
    let (shown, rows) = pane.place(height);
    let place =
        if rows > height { format!(" {}-{}/{rows} ", shown.start + 1, shown.end) } else { String::new() };
    let room = usize::from(area.width).saturating_sub(place.chars().count());
    let title = fitted(&format!(" {}", pane.title), room) + &place;
    let style = match (has_focus, pane.is_failure) {
        (true, true) => Paint::bar().patch(paint.failure()),
        (true, false) => Paint::bar(),
        (false, true) => paint.failure(),
        (false, false) => Paint::heading(),
    };
    let title = Line::styled(title, style);
    let lines = std::iter::once(title).chain(pane.window(height).map(Line::raw));
    draw_lines(frame, area, lines);
}

//! The list of sessions.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use shadowcat_tape::render;

use super::messages::selected;
use super::{Paint, draw_lines, fitted};
use crate::model::{Model, Session, clock};

const TAG_WIDTH: usize = 8;
/// `stdio 2025-11-25`.
const ON_WIDTH: usize = 16;
/// The figures, the time, and the blanks between.
const FIXED: usize = TAG_WIDTH + ON_WIDTH + 8 + 6 + 4 + 8 + 7;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, paint: Paint) {
    let sessions = model.sessions.all();
    let left = usize::from(area.width).saturating_sub(FIXED);
    let names =
        ["SESSION", "CLIENT", "ON", "SERVER", "MESSAGES", "FAILED", "OPEN", "LATEST"].map(str::to_owned);
    let mut lines = vec![Line::styled(text(names, left), Paint::heading())];
    let window = model.sessions_at.window(sessions.len(), model.list_height());
    for (place, session) in sessions.iter().enumerate().take(window.end).skip(window.start) {
        let style = if session.failures > 0 { paint.failure() } else { Style::new() };
        let is_selected = place == model.sessions_at.at;
        lines.push(selected(text(row(session), left), style, is_selected, area.width));
    }
    if sessions.is_empty() {
        lines.push(Line::styled("no sessions yet", paint.aside()));
    }
    draw_lines(frame, area, lines);
}

fn row(session: &Session) -> [String; 8] {
    let visible = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), render::visible);
    [
        visible(&session.tag),
        visible(&session.client),
        render::visible(&session.transport),
        visible(&session.upstream),
        session.messages.to_string(),
        session.failures.to_string(),
        session.open.to_string(),
        clock(session.latest),
    ]
}

fn text([tag, client, on, server, messages, failed, open, latest]: [String; 8], left: usize) -> String {
    let (client_width, server_width) = (left * 3 / 5, left - left * 3 / 5);
    let (client, server) = (fitted(&client, client_width), fitted(&server, server_width));
    let (tag, on) = (fitted(&tag, TAG_WIDTH), fitted(&on, ON_WIDTH));
    format!("{tag} {client} {on} {server} {messages:>8} {failed:>6} {open:>4} {latest:8}")
}

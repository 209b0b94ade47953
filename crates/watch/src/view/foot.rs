//! The foot of the screen: what is typed or was said, and the keys.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph, Wrap};

use super::{Paint, cut};
use crate::keys;
use crate::model::{Model, Place, Prompt};

/// Lines of what is wrong with what was typed, over the lowest of the body.
const FAULT_HEIGHT: u16 = 3;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, body: Rect, model: &Model, paint: Paint) {
    if let Some(prompt) = &model.prompt {
        return draw_prompt(frame, area, body, prompt, paint);
    }
    let line = match (&model.note, model.place()) {
        (Some(note), _) => Line::styled(note.clone(), paint.doubt()),
        (None, Place::Messages) => standing(model, paint),
        (None, _) => Line::default(),
    };
    frame.render_widget(line, area);
}

/// Which messages are shown, and whether the list follows.
fn standing(model: &Model, paint: Paint) -> Line<'static> {
    let mut words = Vec::new();
    if !model.follows {
        words.push(match model.fresh {
            0 => "paused".to_owned(),
            fresh => format!("paused, {fresh} new"),
        });
    }
    if model.shows_wire {
        words.push("with the server's side".to_owned());
    }
    if let Some(filter) = &model.filter {
        words.push(format!("filter: {filter}"));
    }
    Line::styled(words.join("   "), paint.doubt())
}

fn draw_prompt(frame: &mut Frame<'_>, area: Rect, body: Rect, prompt: &Prompt, paint: Paint) {
    let label = prompt.label();
    let (text, at) = (prompt.line.text(), prompt.line.at());
    let room = usize::from(area.width).saturating_sub(label.chars().count() + 1);
    // The cursor is always on the screen.
    let skipped = at.saturating_sub(room);
    let before: String = text.chars().skip(skipped).take(at - skipped).collect();
    let column = label.chars().count() + Span::raw(before.as_str()).width();
    let mut spans = vec![Span::styled(label, Paint::heading()), Span::raw(before)];
    let rest: String = text.chars().skip(at).take(room).collect();
    if let (Some(fault), Some(wrong)) = (&prompt.fault, rest.chars().next()) {
        spans.push(Span::styled(wrong.to_string(), Paint::bar().patch(paint.failure())));
        spans.push(Span::raw(rest.chars().skip(1).collect::<String>()));
        draw_fault(frame, body, fault, paint);
    } else {
        spans.push(Span::raw(rest));
        if let Some(fault) = &prompt.fault {
            draw_fault(frame, body, fault, paint);
        }
    }
    frame.render_widget(Line::from(spans), area);
    let column = u16::try_from(column).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
    frame.set_cursor_position(Position { x: area.x + column, y: area.y });
}

fn draw_fault(frame: &mut Frame<'_>, body: Rect, fault: &str, paint: Paint) {
    let height = FAULT_HEIGHT.min(body.height);
    let area = Rect { y: body.bottom() - height, height, ..body };
    frame.render_widget(Clear, area);
    let text = Paragraph::new(fault.to_owned()).style(paint.failure()).wrap(Wrap { trim: true });
    frame.render_widget(text, area);
}

pub(super) fn draw_keys(frame: &mut Frame<'_>, area: Rect, model: &Model, paint: Paint) {
    if model.prompt.is_some() {
        let told = cut("Enter take it   Esc leave it   Ctrl-U empty the line", usize::from(area.width));
        return frame.render_widget(Line::styled(told, paint.aside()), area);
    }
    let mut spans = Vec::new();
    for (key, what) in keys::hints(model) {
        spans.push(Span::styled(key, paint.key()));
        spans.push(Span::raw(format!(" {what}  ")));
    }
    frame.render_widget(Line::from(spans), area);
}

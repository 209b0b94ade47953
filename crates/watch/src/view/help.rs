//! All keys, and what else one has to know.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use shadowcat_filter::OPERATORS;

use super::{Paint, cut, draw_lines};
use crate::keys::{BINDINGS, HELP_BELOW};
use crate::model::Model;

const KEY_WIDTH: usize = 10;
const EXAMPLE_WIDTH: usize = 23;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, paint: Paint) {
    let keys = BINDINGS.iter().map(|binding| {
        let key = Span::styled(format!(" {:KEY_WIDTH$}", binding.written), paint.key());
        Line::from(vec![key, Span::raw(binding.meaning)])
    });
    let below = HELP_BELOW.iter().map(|line| Line::raw(format!(" {line}")));
    let operators = OPERATORS.iter().map(|operator| {
        let example = Span::styled(format!(" {:EXAMPLE_WIDTH$}", operator.example), paint.key());
        let room = usize::from(area.width).saturating_sub(EXAMPLE_WIDTH + 1);
        Line::from(vec![example, Span::raw(cut(operator.meaning, room))])
    });
    let lines = keys.chain(below).chain(operators).skip(model.help.unwrap_or(0));
    draw_lines(frame, area, lines);
}

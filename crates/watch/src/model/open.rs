//! A message that is opened: its exchange in two panes, as lines that fit their width.

use std::ops::Range;

use shadowcat_tape::{Frame, render};
use time::OffsetDateTime;
use unicode_width::UnicodeWidthChar as _;

use super::cursor::Step;
use super::ring::{Message, Ring};
use crate::event::Held;
use crate::hands::HeldText;

/// From this width on the panes stand side by side; on a narrower screen one is above the other.
const BESIDE_WIDTH_MIN: usize = 100;
/// Of a longer message only the beginning is shown.
const SHOWN_BYTES_MAX: usize = 1024 * 1024;

/// The size of the text of one pane, and how the two stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PaneSize {
    pub(crate) is_beside: bool,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl PaneSize {
    /// In so much room; each pane has a line with its title.
    pub(crate) fn of(width: usize, height: usize, panes: usize) -> Self {
        let is_beside = width >= BESIDE_WIDTH_MIN;
        let (across, down) = match (panes, is_beside) {
            (2.., true) => (width.saturating_sub(1) / 2, height),
            (2.., false) => (width, height / 2),
            _ => (width, height),
        };
        Self { is_beside, width: across, height: down.saturating_sub(1) }
    }
}

/// A message in its pane.
#[derive(Debug)]
pub(crate) struct Pane {
    pub(crate) title: String,
    pub(crate) is_failure: bool,
    text: Vec<String>,
    /// The text in lines of the pane's width.
    rows: Vec<String>,
    scroll: usize,
}

impl Pane {
    fn new(message: &Message) -> Self {
        let mut text = vec![about(message)];
        text.extend(message.rules.iter().map(|rule| format!("rule {}", render::visible(rule))));
        text.extend(shown(&message.frame.message));
        let title = render::line(&Frame { rules: Vec::new(), ..message.frame.clone() });
        Self { title, is_failure: message.frame.is_failure(), text, rows: Vec::new(), scroll: 0 }
    }

    fn of_text(title: String, about: &str, message: &str) -> Self {
        let mut text: Vec<String> =
            Some(render::visible(about)).filter(|about| !about.is_empty()).into_iter().collect();
        text.extend(shown(message));
        Self { title, is_failure: false, text, rows: Vec::new(), scroll: 0 }
    }

    fn fit(&mut self, size: PaneSize) {
        self.rows = self.text.iter().flat_map(|line| wrapped(line, size.width)).collect();
        self.scroll = self.scroll.min(self.rows.len().saturating_sub(size.height));
    }

    fn go(&mut self, step: Step, height: usize) {
        // The line at the top is what moves, and the last page is the end.
        let tops = self.rows.len().saturating_sub(height) + 1;
        self.scroll = step.from(self.scroll, tops, height);
    }

    pub(crate) fn window(&self, height: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().skip(self.scroll).take(height).map(String::as_str)
    }

    /// Which rows are on the screen, and how many there are.
    pub(crate) fn place(&self, height: usize) -> (Range<usize>, usize) {
        (self.scroll..(self.scroll + height).min(self.rows.len()), self.rows.len())
    }
}

/// The opened message with what belongs to it.
#[derive(Debug)]
pub(crate) struct Open {
    /// None for one that waits and has not passed yet.
    pub(crate) number: Option<u64>,
    /// The number of the one that waits.
    pub(crate) held: Option<String>,
    /// What is beside it, if anything is.
    other: Option<u64>,
    /// What was asked comes first.
    pub(crate) panes: Vec<Pane>,
    pub(crate) focus: usize,
}

impl Open {
    /// The message of this number beside the request that it belongs to, or a request beside its answer.
    pub(crate) fn new(ring: &Ring, number: u64) -> Option<Self> {
        let message = ring.message(number)?;
        let other = beside(ring, number);
        let mut panes = vec![Pane::new(message)];
        let mut focus = 0;
        if let Some(beside) = other.and_then(|other| ring.message(other)) {
            let is_later = other > Some(number);
            focus = usize::from(!is_later);
            panes.insert(usize::from(is_later), Pane::new(beside));
        }
        Some(Self { number: Some(number), held: None, other, panes, focus })
    }

    /// A message that waits, and the request that it answers.
    pub(crate) fn held(held: &Held, text: &HeldText) -> Self {
        let asked = text.asked.as_ref().map(|asked| Pane::of_text("the request".to_owned(), "", asked));
        let waits = Pane::of_text(
            format!(
                "{}  {} {}",
                held.id,
                render::visible(&held.method),
                held.name.as_deref().map_or_else(String::new, render::visible)
            ),
            &format!("{}, until {}, then {}", held.cause, clock(held.until), held.then),
            &text.message,
        );
        let panes: Vec<Pane> = asked.into_iter().chain([waits]).collect();
        Self { number: None, held: Some(held.id.clone()), other: None, focus: panes.len() - 1, panes }
    }

    /// Whether something is beside it now that was not there before.
    pub(crate) fn is_outdated(&self, ring: &Ring) -> bool {
        self.number.is_some_and(|number| ring.message(number).is_some() && beside(ring, number) != self.other)
    }

    pub(crate) fn fit(&mut self, size: PaneSize) {
        self.panes.iter_mut().for_each(|pane| pane.fit(size));
    }

    pub(crate) fn go(&mut self, step: Step, height: usize) {
        if let Some(pane) = self.panes.get_mut(self.focus) {
            pane.go(step, height);
        }
    }

    pub(crate) fn other_pane(&mut self) {
        self.focus = (self.focus + 1) % self.panes.len().max(1);
    }

    /// Stays where it was in the same message.
    pub(crate) fn scrolled_like(mut self, earlier: &Self) -> Self {
        if let (Some(pane), Some(old)) = (self.panes.get_mut(self.focus), earlier.panes.get(earlier.focus)) {
            pane.scroll = old.scroll;
        }
        self
    }
}

fn beside(ring: &Ring, number: u64) -> Option<u64> {
    let (asked, answer) = ring.exchange(number);
    if asked == Some(number) { answer } else { asked }
}

/// The path and the figures of a message.
fn about(message: &Message) -> String {
    let frame = &message.frame;
    let mut parts = vec![format!("client {} {}", frame.client.transport, frame.client.revision)];
    if let Some(side) = &frame.upstream {
        parts.push(format!("server {} {} {}", side.name, side.transport, side.revision));
    }
    parts.push(format!("exchange {}", frame.exchange));
    if let Some(related) = frame.related {
        parts.push(format!("in the course of {related}"));
    }
    parts.push(render::size(frame.message.len()));
    if frame.redactions > 0 {
        parts.push(format!("{} redacted", frame.redactions));
    }
    if message.is_translated {
        parts.push("translated".to_owned());
    }
    if message.is_wire() {
        parts.push("on the server's side".to_owned());
    }
    parts.iter().map(|part| render::visible(part)).collect::<Vec<_>>().join(", ")
}

fn shown(text: &str) -> Vec<String> {
    if text.len() <= SHOWN_BYTES_MAX {
        return render::pretty(text);
    }
    let begin = text.get(..text.floor_char_boundary(SHOWN_BYTES_MAX)).unwrap_or_default();
    let mut lines = render::pretty(begin);
    lines.push(format!("… {} in all; `shadowcat tape show --full` shows the rest", render::size(text.len())));
    lines
}

/// `12:04:05`.
pub(crate) fn clock(time: OffsetDateTime) -> String {
    format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}

/// A line in pieces of at most this width.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut pieces = vec![String::new()];
    let mut used = 0;
    for c in line.chars() {
        let cells = c.width().unwrap_or(0);
        if used + cells > width && used > 0 {
            pieces.push(String::new());
            used = 0;
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(c);
        }
        used += cells;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{answer, notification, request};

    #[test]
    fn a_request_has_its_answer_beside_it_and_an_answer_its_request() {
        let mut ring = Ring::default();
        let asked = ring.push_frame(0, request(1, "tools/call", "echo"));
        assert_eq!(Open::new(&ring, asked).unwrap().panes.len(), 1);
        let progress = ring.push_frame(0, Frame { exchange: 1, ..notification("notifications/progress") });
        let earlier = Open::new(&ring, asked).unwrap();
        let answered = ring.push_frame(0, answer(1, r#"{"id":1,"result":{}}"#));
        assert!(earlier.is_outdated(&ring));
        for (number, focus, titles) in [
            (asked, 0, ["-> tools/call echo", "<- result"]),
            (answered, 1, ["-> tools/call echo", "<- result"]),
            (progress, 1, ["-> tools/call echo", "<- notifications/progress"]),
        ] {
            let open = Open::new(&ring, number).unwrap();
            assert_eq!(open.focus, focus);
            for (pane, title) in open.panes.iter().zip(titles) {
                assert!(pane.title.contains(title), "{} has not {title}", pane.title);
            }
        }
    }

    #[test]
    fn the_text_of_a_pane_is_scrolled_to_its_last_page() {
        let mut ring = Ring::default();
        let number = ring.push_frame(0, request(1, "tools/call", "echo"));
        let mut open = Open::new(&ring, number).unwrap();
        open.fit(PaneSize::of(80, 6, 1));
        let rows = open.panes[0].place(5).1;
        open.go(Step::Last, 5);
        assert_eq!(open.panes[0].place(5), (rows - 5..rows, rows));
        assert_eq!(open.panes[0].window(5).last(), Some("}"));
        open.go(Step::Down, 5);
        assert_eq!(open.panes[0].place(5).0.end, rows);
    }

    #[test]
    fn panes_stand_side_by_side_where_there_is_room() {
        let of = |width, height| PaneSize::of(width, height, 2);
        assert_eq!(of(80, 20), PaneSize { is_beside: false, width: 80, height: 9 });
        assert_eq!(of(121, 20), PaneSize { is_beside: true, width: 60, height: 19 });
        assert_eq!(of(1, 1).height, 0);
    }

    #[test]
    fn long_lines_go_on_below_and_wide_characters_count_twice() {
        assert_eq!(wrapped("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(wrapped("日本語", 4), ["日本", "語"]);
        assert_eq!(wrapped("", 4), [""]);
        assert_eq!(wrapped("日本", 1), ["日", "本"]);
    }

    #[test]
    fn of_a_very_long_message_the_beginning_is_shown() {
        let text = format!("{{\"text\":\"{}\"}}", "é".repeat(SHOWN_BYTES_MAX));
        let lines = shown(&text);
        assert!(lines.last().unwrap().starts_with("… 2097 kB in all"), "{:?}", lines.last());
    }
}

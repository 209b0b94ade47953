//! Frames and calls as lines for people: live in a terminal and from a file, the same.

use std::borrow::Cow;
use std::fmt::Write as _;

use shadowcat_pipeline::Direction;
use shadowcat_protocol::json;

use crate::calls::Call;
use crate::outcome::Outcome;
use crate::record::{Action, Frame};

/// Longer names and error texts are cut: a line stays a line.
const TEXT_CHARS_MAX: usize = 80;

/// A call as people read it: the parts of one line, and what came in between below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallText {
    /// `12:04:05.123  a1b2c3d4  `: when it was asked, and in which session.
    pub head: String,
    /// `-> tools/call echo  #3`: what was asked.
    pub asked: String,
    /// `12 ms`: how long it took; empty where there is no answer.
    pub took: String,
    /// `88 B`: the size of the answer.
    pub size: String,
    /// `error -32602 no such tool`; empty for a plain result, and where none is due.
    pub outcome: String,
    /// What came in between, by kind: `notifications/progress x 3`.
    pub between: Vec<String>,
    /// What rules did, each with how often: `no-shell: block`.
    pub rules: Vec<String>,
}

/// A call, its message and its answer together.
pub fn call(call: &Call) -> CallText {
    let asked = &call.asked;
    let outcome = match &call.answer {
        Some(answer) => outcome(answer),
        None if call.is_unanswered() => "no answer".to_owned(),
        None => String::new(),
    };
    let answer = call.answer.as_ref();
    let between = call.between.iter();
    let between =
        between.map(|frame| format!("{} {}", arrow(frame), visible(frame.method.as_deref().unwrap_or("?"))));
    CallText {
        head: head(asked),
        asked: said(asked),
        took: answer.and_then(|answer| answer.took_us).map_or_else(String::new, duration),
        size: answer.map_or_else(String::new, |answer| size(answer.message.len())),
        outcome,
        between: counted(between),
        rules: counted(call.rules().map(visible)),
    }
}

/// Each once, in the order of the first, with how often it comes.
fn counted(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for what in all {
        match counts.iter_mut().find(|(known, _)| *known == what) {
            Some((_, count)) => *count += 1,
            None => counts.push((what, 1)),
        }
    }
    let told = |(what, count)| if count == 1 { what } else { format!("{what} x {count}") };
    counts.into_iter().map(told).collect()
}

/// `12:04:05.123  a1b2c3d4  -> tools/call echo  #3`; the arrow is `~>` where the message was translated for a server of
/// another era.
pub fn line(frame: &Frame) -> String {
    let mut line = head(frame) + &said(frame);
    if !frame.rules.is_empty() {
        let _ = write!(line, "  [{}]", visible(&frame.rules.join(", ")));
    }
    line
}

fn head(frame: &Frame) -> String {
    let clock = frame.time.time();
    let session = frame.session.as_deref().unwrap_or("-");
    format!(
        "{:02}:{:02}:{:02}.{:03}  {:<8.8}  ",
        clock.hour(),
        clock.minute(),
        clock.second(),
        clock.millisecond(),
        visible(session)
    )
}

fn arrow(frame: &Frame) -> &'static str {
    match (frame.direction, &frame.action) {
        (Direction::ToServer, Action::Translated) => "~>",
        (Direction::ToClient, Action::Translated) => "<~",
        (Direction::ToServer, _) => "->",
        (Direction::ToClient, _) => "<-",
    }
}

/// The arrow and what was said.
fn said(frame: &Frame) -> String {
    let mut line = format!("{} ", arrow(frame));
    if frame.outcome().is_some() {
        ended(frame, &mut line);
    } else {
        opened(frame, &mut line);
    }
    id(frame, &mut line);
    line
}

/// A message as lines of indented JSON, in its sender's order and digits, for a terminal.
pub fn pretty(message: &str) -> Vec<String> {
    json::indented(message).lines().map(|line| line.chars().map(shown).collect()).collect()
}

fn opened(frame: &Frame, line: &mut String) {
    line.push_str(&visible(frame.method.as_deref().unwrap_or("?")));
    if let Some(name) = frame.name() {
        line.push(' ');
        line.push_str(&visible(&name));
    }
}

/// How it turned out, how long it took, and its size.
fn ended(frame: &Frame, line: &mut String) {
    let outcome = outcome(frame);
    line.push_str(if outcome.is_empty() { "result" } else { &outcome });
    if let Some(us) = frame.took_us {
        let _ = write!(line, " {}", duration(us));
    }
    if !matches!(frame.action, Action::Refused { .. }) {
        let _ = write!(line, " {}", size(frame.message.len()));
    }
}

/// How it turned out, if there is more to say than that it is a result.
fn outcome(frame: &Frame) -> String {
    let told = |sentence: Option<Cow<'_, str>>, sign: &str| {
        sentence.map_or_else(String::new, |sentence| format!("{sign} {}", visible(&sentence)))
    };
    match frame.outcome() {
        Some(Outcome::Error { code, sentence }) => format!("error {}{}", visible(code), told(sentence, "")),
        Some(Outcome::Refused { reason, sentence }) => {
            format!("refused {}{}", visible(reason), told(sentence, ":"))
        }
        Some(Outcome::ToolError { sentence }) => format!("tool error{}", told(sentence, ":")),
        Some(Outcome::InputRequired) => {
            let requests: Vec<Cow<'_, str>> = frame.input_requests().collect();
            let requests =
                if requests.is_empty() { "to be asked again".to_owned() } else { requests.join(", ") };
            format!("wants {}", visible(&requests))
        }
        Some(Outcome::Result) | None => String::new(),
    }
}

fn id(frame: &Frame, line: &mut String) {
    let Some(raw) = json::get(&frame.message, &["id"]).filter(|raw| *raw != "null") else { return };
    match json::string(raw) {
        Some(text) => {
            let _ = write!(line, "  #{}", visible(&text));
        }
        None => {
            let _ = write!(line, "  #{}", visible(raw));
        }
    }
}

/// `12 ms`: microseconds for people.
pub fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..10_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        10_000..10_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{} s", us / 1_000_000),
    }
}

/// `12 kB`: bytes for people.
pub fn size(bytes: usize) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// What came off the wire must not steer a terminal, nor break the line.
pub fn visible(text: &str) -> String {
    let mut shown: String = text.chars().take(TEXT_CHARS_MAX).map(shown).collect();
    if text.chars().nth(TEXT_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

fn shown(c: char) -> char {
    if c.is_control() || steers_direction(c) { '\u{fffd}' } else { c }
}

/// What makes a terminal show text in another order than it is in.
fn steers_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;
    use crate::record::testing::frame;

    #[test]
    fn a_conversation_reads_like_one() {
        let (up, down) = (Direction::ToServer, Direction::ToClient);
        let call = r#"{"id":3,"method":"tools/call","params":{"name":"echo"}}"#;
        let note = r#"{"method":"notifications/initialized"}"#;
        let read = r#"{"id":"r","method":"resources/read","params":{"uri":"file:///a"}}"#;
        let failed = r#"{"id":4,"error":{"code":-32602,"message":"no such\ntool"}}"#;
        let tool_error = r#"{"id":5,"result":{"isError":true}}"#;
        let cases = [
            (frame(up, Kind::Request, Some("tools/call"), call), "-> tools/call echo  #3"),
            (
                frame(up, Kind::Notification, Some("notifications/initialized"), note),
                "-> notifications/initialized",
            ),
            (frame(up, Kind::Request, Some("resources/read"), read), "-> resources/read file:///a  #r"),
            (frame(down, Kind::Response, None, r#"{"id":3,"result":{}}"#), "<- result 12 ms 20 B  #3"),
            (frame(down, Kind::Response, None, failed), "<- error -32602 no such\u{fffd}tool 12 ms 58 B  #4"),
            (frame(down, Kind::Response, None, tool_error), "<- tool error 12 ms 34 B  #5"),
        ];
        for (frame, expected) in cases {
            assert_eq!(line(&frame), format!("12:04:05.123  a1b2c3d4  {expected}"));
        }
    }

    #[test]
    fn a_refusal_says_why() {
        let message = r#"{"id":3,"error":{"code":-31002,"message":"the server did not answer in time"}}"#;
        let mut refused = frame(Direction::ToClient, Kind::Response, None, message);
        refused.action = Action::Refused { reason: "upstream_timeout".to_owned() };
        refused.session = None;
        assert_eq!(
            line(&refused),
            "12:04:05.123  -         <- refused upstream_timeout: the server did not answer in time 12 ms  #3"
        );
    }

    #[test]
    fn a_call_is_one_line_with_its_answer_and_what_came_between_below() {
        let (up, down) = (Direction::ToServer, Direction::ToClient);
        let asked = r#"{"id":3,"method":"tools/call","params":{"name":"slow"}}"#;
        let progress = || frame(down, Kind::Notification, Some("notifications/progress"), "{}");
        let question = frame(down, Kind::Request, Some("roots/list"), "{}");
        let text = call(&Call {
            asked: frame(up, Kind::Request, Some("tools/call"), asked),
            between: vec![progress(), question, progress()],
            answer: Some(frame(down, Kind::Response, None, r#"{"id":3,"result":{}}"#)),
            ruled: ["slow: delay", "slow: tag a", "slow: delay"].map(str::to_owned).into(),
        });
        assert_eq!(text.head, "12:04:05.123  a1b2c3d4  ");
        assert_eq!(text.asked, "-> tools/call slow  #3");
        assert_eq!([text.took, text.size, text.outcome], ["12 ms", "20 B", ""]);
        assert_eq!(text.between, ["<- notifications/progress x 2", "<- roots/list"]);
        assert_eq!(text.rules, ["slow: delay x 2", "slow: tag a"]);
    }

    #[test]
    fn a_call_without_an_answer_says_so_and_a_notification_does_not() {
        let of = |kind| Call {
            asked: frame(Direction::ToServer, kind, Some("ping"), "{}"),
            between: Vec::new(),
            answer: None,
            ruled: Vec::new(),
        };
        assert_eq!(call(&of(Kind::Request)).outcome, "no answer");
        assert_eq!(call(&of(Kind::Notification)).outcome, "");
    }

    #[test]
    fn a_result_that_wants_something_of_the_client_says_what() {
        let answer = r#"{"id":3,"result":{"resultType":"input_required","inputRequests":{
            "a":{"method":"roots/list"},"b":{"method":"elicitation/create"}}}}"#;
        let wants = |answer: &str| outcome(&frame(Direction::ToClient, Kind::Response, None, answer));
        assert_eq!(wants(answer), "wants roots/list, elicitation/create");
        assert_eq!(wants(r#"{"result":{"resultType":"input_required"}}"#), "wants to be asked again");
    }

    #[test]
    fn a_duration_has_two_digits_at_least() {
        let read = [999, 1_000, 1_149, 9_999, 10_000, 9_999_999, 10_000_000].map(duration);
        assert_eq!(read, ["999 us", "1.0 ms", "1.1 ms", "9.9 ms", "10 ms", "9999 ms", "10 s"]);
    }

    #[test]
    fn nothing_from_the_wire_steers_a_terminal() {
        let text = "\"\u{1b}[2J\u{9b}1m\u{202e}\"";
        assert_eq!(pretty(text), ["\"\u{fffd}[2J\u{fffd}1m\u{fffd}\""]);
    }
}

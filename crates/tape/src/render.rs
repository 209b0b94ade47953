//! A frame as one line for people: live in a terminal and from a file, the same.

use std::fmt::Write as _;

use shadowcat_pipeline::Direction;
use shadowcat_protocol::json;

use crate::record::{Action, Frame, Kind};

/// Longer names and error texts are cut: a line stays a line.
const TEXT_CHARS_MAX: usize = 80;

/// `12:04:05.123  a1b2c3d4  -> tools/call echo  #3`; the arrow is `~>` where the message was translated for a server of
/// another era.
pub fn line(frame: &Frame) -> String {
    let clock = frame.time.time();
    let session = frame.session.as_deref().unwrap_or("-");
    let arrow = match (frame.direction, &frame.action) {
        (Direction::ToServer, Action::Translated) => "~>",
        (Direction::ToClient, Action::Translated) => "<~",
        (Direction::ToServer, _) => "->",
        (Direction::ToClient, _) => "<-",
    };
    let mut line = format!(
        "{:02}:{:02}:{:02}.{:03}  {session:<8.8}  {arrow} ",
        clock.hour(),
        clock.minute(),
        clock.second(),
        clock.millisecond()
    );
    match (&frame.action, frame.kind) {
        (Action::Refused { reason }, _) => refused(frame, reason, &mut line),
        (_, Kind::Response) => response(frame, &mut line),
        (_, Kind::Request | Kind::Notification) => call(frame, &mut line),
    }
    line
}

fn call(frame: &Frame, line: &mut String) {
    line.push_str(&visible(frame.method.as_deref().unwrap_or("?")));
    for path in [["params", "name"], ["params", "uri"], ["params", "taskId"]] {
        if let Some(name) = json::get(&frame.message, &path).and_then(json::string) {
            line.push(' ');
            line.push_str(&visible(&name));
            break;
        }
    }
    id(frame, line);
}

fn response(frame: &Frame, line: &mut String) {
    match json::get(&frame.message, &["error"]) {
        Some(error) => failure(error, line),
        None if is_tool_error(frame) => line.push_str("tool error"),
        None => line.push_str("result"),
    }
    took(frame, line);
    let _ = write!(line, " {}", size(frame.message.len()));
    id(frame, line);
}

fn refused(frame: &Frame, reason: &str, line: &mut String) {
    let _ = write!(line, "refused {}", visible(reason));
    if let Some(sentence) = json::get(&frame.message, &["error", "message"]).and_then(json::string) {
        let _ = write!(line, ": {}", visible(&sentence));
    }
    took(frame, line);
    id(frame, line);
}

fn failure(error: &str, line: &mut String) {
    let _ = write!(line, "error {}", json::get(error, &["code"]).unwrap_or("?"));
    if let Some(sentence) = json::get(error, &["message"]).and_then(json::string) {
        let _ = write!(line, " {}", visible(&sentence));
    }
}

fn is_tool_error(frame: &Frame) -> bool {
    json::get(&frame.message, &["result", "isError"]) == Some("true")
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

fn took(frame: &Frame, line: &mut String) {
    let Some(us) = frame.took_us else { return };
    let _ = match us {
        0..1_000 => write!(line, " {us} us"),
        1_000..10_000_000 => write!(line, " {} ms", us / 1_000),
        _ => write!(line, " {} s", us / 1_000_000),
    };
}

fn size(bytes: usize) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// What came off the wire must not steer a terminal, nor break the line.
fn visible(text: &str) -> String {
    let mut shown: String =
        text.chars().take(TEXT_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(TEXT_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
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
}

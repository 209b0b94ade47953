//! What a rule does to a message, for people and for programs.

use serde_json::{Value, json};
use shadowcat_rules::{Broken, Outcome, Pause, Step, Then};

/// Longer texts are cut.
const TEXT_CHARS_MAX: usize = 100;
/// So much is shown around a change.
const AROUND_CHARS: usize = 16;

/// A step with what it made of the message: its content before, and after.
pub(super) struct Deed<'a> {
    pub(super) step: &'a Step,
    pub(super) before: &'a str,
    pub(super) after: &'a str,
    pub(super) headers: &'a [(Box<str>, Box<str>)],
}

impl Deed<'_> {
    /// The word that it is written with in a rule, as far as there is one.
    pub(super) fn word(&self) -> &'static str {
        match self.step {
            Step::Edited => "edit",
            Step::Unchanged => "no edit",
            Step::Headers => "headers",
            Step::Tag(_) => "tag",
            Step::Log(_) => "log",
            Step::Delay(_) => "delay",
            Step::Pause(_) => "pause",
            Step::Stop => "stop",
            Step::Block(_) => "block",
            Step::Mock(_) => "mock",
            Step::Drop => "drop",
            Step::Fault(_) => "fault",
            Step::Failed { .. } => "FAILS",
        }
    }

    /// `block: no shells here`.
    pub(super) fn line(&self) -> String {
        let text = match self.step {
            Step::Edited => change(self.before, self.after),
            Step::Unchanged => "nothing in the message was to be changed".to_owned(),
            Step::Headers => {
                let header = |(name, value): &(Box<str>, Box<str>)| format!("{name}: {value}");
                self.headers.iter().map(header).collect::<Vec<_>>().join(", ")
            }
            Step::Tag(words) => words.join(", "),
            Step::Log(line) => line.clone(),
            Step::Delay(time) => humantime::format_duration(*time).to_string(),
            Step::Pause(pause) => held(pause),
            Step::Stop => "no later rule is looked at".to_owned(),
            Step::Block(reason) => reason.clone(),
            Step::Mock(Outcome::Result(result)) => format!("result {result}"),
            Step::Mock(Outcome::Error(error)) => format!("error {} {}", error.code, error.message),
            Step::Drop => "the message vanishes".to_owned(),
            Step::Fault(broken) => broken_word(*broken).to_owned(),
            Step::Failed { sentence, open: true } => format!("{sentence}; the message goes on"),
            Step::Failed { sentence, open: false } => format!("{sentence}; the message is refused"),
        };
        format!("{}: {}", self.word(), cut(&text))
    }

    /// The same with all that is to be known.
    pub(super) fn described(&self) -> Value {
        match self.step {
            Step::Edited => json!({"message": self.after}),
            Step::Headers => {
                let headers: Vec<Value> =
                    self.headers.iter().map(|(name, value)| json!([name, value])).collect();
                json!({"headers": headers})
            }
            Step::Tag(words) => json!({"words": words}),
            Step::Log(line) => json!({"line": line}),
            Step::Delay(time) => json!({"ms": u64::try_from(time.as_millis()).unwrap_or(u64::MAX)}),
            Step::Pause(pause) => json!({"text": held(pause)}),
            Step::Block(reason) => json!({"reason": reason}),
            Step::Mock(Outcome::Result(result)) => json!({"result": result}),
            Step::Mock(Outcome::Error(error)) => json!({"error": error.to_json()}),
            Step::Fault(broken) => json!({"kind": broken_word(*broken)}),
            Step::Failed { sentence, open } => json!({"why": sentence, "goes_on": open}),
            Step::Unchanged | Step::Stop | Step::Drop => json!({}),
        }
    }
}

fn broken_word(broken: Broken) -> &'static str {
    match broken {
        Broken::Cut => "cut",
        Broken::Malformed => "malformed",
        Broken::Timeout => "timeout",
    }
}

fn held(pause: &Pause) -> String {
    let time = pause.held_for.map(|time| format!("for {}", humantime::format_duration(time)));
    let then = pause.then.map(|then| match then {
        Then::Continue => "then continue",
        Then::Block => "then block",
    });
    let said: Vec<String> = time.into_iter().chain(then.map(str::to_owned)).collect();
    if said.is_empty() { "until somebody lets it go".to_owned() } else { said.join(", ") }
}

/// The piece that differs, before and after, with a little around it.
fn change(before: &str, after: &str) -> String {
    let same = |(one, other): &(char, char)| one == other;
    let begin: usize = before.chars().zip(after.chars()).take_while(same).map(|(c, _)| c.len_utf8()).sum();
    let rest = |text: &str| text.get(begin..).unwrap_or_default().to_owned();
    let (mut old, mut new) = (rest(before), rest(after));
    let end: usize =
        old.chars().rev().zip(new.chars().rev()).take_while(same).map(|(c, _)| c.len_utf8()).sum();
    let behind: String = old.get(old.len() - end..).unwrap_or_default().chars().take(AROUND_CHARS).collect();
    old.truncate(old.len() - end);
    new.truncate(new.len() - end);
    let head: Vec<char> = before.get(..begin).unwrap_or_default().chars().rev().take(AROUND_CHARS).collect();
    let head: String = head.into_iter().rev().collect();
    format!("…{head}[{} → {}]{behind}…", cut(&old), cut(&new))
}

/// Without control characters, and no longer than a line.
fn cut(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut short: String = text.chars().take(TEXT_CHARS_MAX).map(visible).collect();
    if text.chars().nth(TEXT_CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_with_a_little_around_it() {
        let (before, after) = (r#"{"name":"t","path":"/etc"}"#, r#"{"name":"t","path":"/tmp"}"#);
        assert_eq!(change(before, after), r#"…e":"t","path":"/[etc → tmp]"}…"#);
        assert_eq!(change("aé", "aéb"), "…aé[ → b]…");
        assert_eq!(change("aa", "a"), "…a[a → ]…");
    }
}

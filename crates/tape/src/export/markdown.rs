//! A transcript for people, which reads well in a pull request: sessions, calls, results, errors and times.
//!
//! Nothing that a peer wrote gets out of its fence or its code span, and no character of theirs that steers a terminal
//! or turns the direction of the text stands in the transcript as it is.

use std::io::{self, Write};
use std::ops::Range;

use shadowcat_pipeline::Direction;
use shadowcat_protocol::{json, method};

use super::{Begun, Told, without_meta};
use crate::calls::Call;
use crate::clock::rfc3339;
use crate::record::{Action, Frame, Kind, Lost};
use crate::render;

/// Longer blocks are folded: their first line is enough to pass them over.
const LINES_SHOWN_MAX: usize = 25;
/// More of one block is not shown: a comment of GitHub holds 64 KiB.
const BLOCK_BYTES_MAX: usize = 16 * 1024;
/// Longer names and sentences are cut.
const TEXT_CHARS_MAX: usize = 200;
/// More messages that come within one call are counted, and more names of a list.
const ITEMS_MAX: usize = 20;
const NAMES_MAX: usize = 40;
/// Where the time of day stands in RFC 3339, to the millisecond.
const CLOCK: Range<usize> = 11..23;

#[derive(Default)]
pub(super) struct Transcript {
    /// The session whose calls are told at present.
    session: Option<String>,
    /// It has its heading; none has at the start of a tape.
    headed: bool,
    /// What was written last is an item of a list, which another item goes on and all else ends.
    listing: bool,
    calls: u64,
    failed: u64,
    unanswered: u64,
}

impl Told for Transcript {
    fn begin(&mut self, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn tape(&mut self, tape: &Begun<'_>, out: &mut dyn Write) -> io::Result<()> {
        let redacted = if tape.header.redacted { "" } else { " **Credentials were not replaced.**" };
        let begun = rfc3339(tape.header.created);
        self.headed = false;
        self.end_list(out)?;
        writeln!(out, "# {}\n\nRecorded from {begun}.{redacted}\n", code(tape.name))
    }

    fn call(&mut self, call: &Call, out: &mut dyn Write) -> io::Result<()> {
        if !self.headed || self.session != call.asked.session {
            self.session.clone_from(&call.asked.session);
            self.headed = true;
            self.end_list(out)?;
            heading(call, out)?;
        }
        if call.asked.kind == Kind::Notification {
            return self.item(&call.asked, out);
        }
        self.calls += 1;
        self.failed += u64::from(call.answer.as_ref().is_some_and(Frame::is_failure));
        self.unanswered += u64::from(call.is_unanswered());
        let whose = if call.asked.direction == Direction::ToClient { "The server asks: " } else { "" };
        let begun = rfc3339(call.asked.time);
        let clock = begun.get(CLOCK).unwrap_or(&begun);
        self.end_list(out)?;
        writeln!(out, "### {}. {whose}{} · {clock}\n", self.calls, title(&call.asked))?;
        asked(&call.asked, out)?;
        for frame in call.between.iter().take(ITEMS_MAX) {
            self.item(frame, out)?;
        }
        self.end_list(out)?;
        match call.between.len().saturating_sub(ITEMS_MAX) {
            0 => {}
            more => writeln!(out, "{more} more such messages are on the tape.\n")?,
        }
        answer(call, out)
    }

    fn lost(&mut self, lost: &Lost, out: &mut dyn Write) -> io::Result<()> {
        self.end_list(out)?;
        writeln!(out, "> {} messages are missing here ({}).\n", lost.count, code(&lost.reason))
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.end_list(out)?;
        let calls = match self.calls {
            0 => return writeln!(out, "No calls."),
            1 => "1 call".to_owned(),
            calls => format!("{calls} calls"),
        };
        writeln!(out, "---\n\n{calls}, {} failed, {} without an answer.", self.failed, self.unanswered)
    }
}

impl Transcript {
    /// A notification, and a question that travels in the replies of a call: a line.
    fn item(&mut self, frame: &Frame, out: &mut dyn Write) -> io::Result<()> {
        self.listing = true;
        let arrow = if frame.direction == Direction::ToServer { "→" } else { "←" };
        write!(out, "- {arrow} {}", title(frame))?;
        let params = without_meta(json::get(&frame.message, &["params"]).unwrap_or("{}"));
        if params != "{}" {
            write!(out, " {}", code(&json::compact(&params)))?;
        }
        out.write_all(b"\n")
    }

    fn end_list(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::take(&mut self.listing) { out.write_all(b"\n") } else { Ok(()) }
    }
}

fn heading(call: &Call, out: &mut dyn Write) -> io::Result<()> {
    let client = &call.asked.client;
    match &call.asked.session {
        Some(session) => write!(out, "## Session {}\n\n", code(session))?,
        None => write!(out, "## Without a session\n\n")?,
    }
    write!(out, "Client: {} over {}", code(&client.revision), code(&client.transport))?;
    if let Some(side) = call.upstream() {
        let (name, revision, transport) = (code(&side.name), code(&side.revision), code(&side.transport));
        write!(out, ". Server {name}: {revision} over {transport}")?;
    }
    out.write_all(b".\n\n")
}

fn title(frame: &Frame) -> String {
    let method = code(frame.method.as_deref().unwrap_or("?"));
    frame.name().map_or_else(|| method.clone(), |name| format!("{method} {}", code(&name)))
}

/// Of the call of a tool what it is called with, of any other what is asked besides the metadata of its protocol.
fn asked(frame: &Frame, out: &mut dyn Write) -> io::Result<()> {
    let params = json::get(&frame.message, &["params"]).unwrap_or("{}");
    let shown = match frame.method.as_deref() {
        Some(method::TOOLS_CALL | method::PROMPTS_GET) => {
            json::get(params, &["arguments"]).unwrap_or("{}").to_owned()
        }
        Some(method::RESOURCES_READ) => "{}".to_owned(),
        _ => without_meta(params),
    };
    if json::compact(&shown) != "{}" {
        block("json", &json::indented(&shown), out)?;
    }
    match json::get(params, &["inputResponses"]) {
        Some(answers) => {
            out.write_all(b"Answers to what was asked back:\n\n")?;
            block("json", &json::indented(answers), out)
        }
        None => Ok(()),
    }
}

fn answer(call: &Call, out: &mut dyn Write) -> io::Result<()> {
    let Some(answer) = &call.answer else { return out.write_all(b"**No answer** on the tape.\n\n") };
    let took = answer.took_us.map_or_else(String::new, |us| format!(" after {}", render::duration(us)));
    if let Some(error) = json::get(&answer.message, &["error"]) {
        let refused = match &answer.action {
            Action::Refused { reason } => format!(", refused by the proxy as {}", code(reason)),
            _ => String::new(),
        };
        let number = code(json::get(error, &["code"]).unwrap_or("?"));
        let sentence = json::get(error, &["message"]).and_then(json::string).unwrap_or_default();
        writeln!(out, "**Error {number}**{took}{refused}: {}\n", code(&sentence))?;
        return match json::get(error, &["data"]) {
            Some(data) => block("json", &json::indented(data), out),
            None => Ok(()),
        };
    }
    let told = json::get(&answer.message, &["result"]).unwrap_or("{}");
    if let Some(questions) = json::get(told, &["inputRequests"]) {
        writeln!(out, "Asks back{took}:\n")?;
        return block("json", &json::indented(questions), out);
    }
    let word = if answer.is_failure() { "**Tool error**" } else { "Result" };
    match brief(&call.asked, told) {
        Some(brief) => writeln!(out, "{word}{took}, {brief}.\n")?,
        None => writeln!(out, "{word}{took}:\n")?,
    }
    result(&call.asked, told, out)
}

/// In a line what a long result says: who the server is, or what is on the list.
fn brief(asked: &Frame, result: &str) -> Option<String> {
    let text = |item: &str, name| code(&json::get(item, &[name]).and_then(json::string).unwrap_or_default());
    if let Some(server) = json::get(result, &["serverInfo"]) {
        return Some(format!("{} {}", text(server, "name"), text(server, "version")));
    }
    let member = method::list_member(asked.method.as_deref()?)?;
    let mut names: Vec<String> =
        json::elements(json::get(result, &[member])?).map(|item| text(item, "name")).collect();
    let all = names.len();
    names.truncate(NAMES_MAX);
    let more = if all > NAMES_MAX { ", …" } else { "" };
    let colon = if all > 0 { ": " } else { "" };
    Some(format!("{all} on the list{colon}{}{more}", names.join(", ")))
}

/// What a tool says is shown as what it is; all else as JSON.
fn result(asked: &Frame, result: &str, out: &mut dyn Write) -> io::Result<()> {
    let content = json::get(result, &["content"]).filter(|content| content.starts_with('['));
    let (Some(method::TOOLS_CALL), Some(content)) = (asked.method.as_deref(), content) else {
        return block("json", &json::indented(result), out);
    };
    for item in json::elements(content) {
        match json::get(item, &["text"]).and_then(json::string) {
            Some(text) => block("text", &text, out)?,
            None => block("json", &json::indented(&short(item)), out)?,
        }
    }
    match json::get(result, &["structuredContent"]) {
        Some(structured) => {
            out.write_all(b"As data:\n\n")?;
            block("json", &json::indented(structured), out)
        }
        None => Ok(()),
    }
}

/// An item of a result with only the size of its image or sound.
fn short(item: &str) -> String {
    let members = json::members(item).map(|(name, value)| match name.as_ref() {
        "data" | "blob" => format!("{}:\"{} characters\"", json::quote(&name), value.len().saturating_sub(2)),
        _ => format!("{}:{value}", json::quote(&name)),
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// A fenced block; the fence is longer than any inside.
fn block(language: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    let shown = text.get(..text.floor_char_boundary(BLOCK_BYTES_MAX)).unwrap_or_default();
    let left = text.len() - shown.len();
    let shown: String = shown.chars().map(|c| if c == '\n' { c } else { visible(c) }).collect();
    let fence = "`".repeat(longest_run(&shown).max(2) + 1);
    let lines = shown.lines().count();
    let is_long = lines > LINES_SHOWN_MAX;
    if is_long {
        write!(out, "<details><summary>{lines} lines</summary>\n\n")?;
    }
    let end = if shown.ends_with('\n') || shown.is_empty() { "" } else { "\n" };
    write!(out, "{fence}{language}\n{shown}{end}{fence}\n\n")?;
    if left > 0 {
        write!(out, "{left} more bytes are on the tape.\n\n")?;
    }
    if is_long { out.write_all(b"</details>\n\n") } else { Ok(()) }
}

/// A code span of one line.
fn code(text: &str) -> String {
    let mut shown: String = text.chars().take(TEXT_CHARS_MAX).map(visible).collect();
    if text.chars().nth(TEXT_CHARS_MAX).is_some() {
        shown.push('…');
    }
    if shown.trim().is_empty() {
        shown.push('\u{2423}');
    }
    let ticks = "`".repeat(longest_run(&shown) + 1);
    // A blank on both sides is left out by every reader, and keeps ticks at the ends apart from those around.
    let pad = if shown.starts_with(['`', ' ']) || shown.ends_with(['`', ' ']) { " " } else { "" };
    format!("{ticks}{pad}{shown}{pad}{ticks}")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// Controls, the ends of lines that are none everywhere, and what turns the direction of the text.
fn visible(c: char) -> char {
    match c {
        '\t' => c,
        '\u{2028}'
        | '\u{2029}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{061c}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        _ if c.is_control() => '\u{fffd}',
        _ => c,
    }
}

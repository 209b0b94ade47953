//! Tests that repeat what is on a tape: a program of a template each, with the calls as data in it.
//!
//! Their server is `shadowcat mock` with the tape, their client the official SDK. What a peer wrote stands in them as
//! JSON inside a literal that it cannot end.

use std::io::{self, Write};
use std::path::PathBuf;

use shadowcat_pipeline::Direction;
use shadowcat_protocol::{json, method};

use super::{Begun, Told};
use crate::calls::Call;
use crate::record::{Action, Kind, Lost};

/// The languages of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Python, for pytest.
    Pytest,
    /// JavaScript, for vitest.
    Vitest,
    /// Rust, for `cargo test`.
    Rust,
}

/// The calls whose answers are the server's own.
const REPEATED: [&str; 8] = [
    method::TOOLS_LIST,
    method::TOOLS_CALL,
    method::PROMPTS_LIST,
    method::PROMPTS_GET,
    method::RESOURCES_LIST,
    method::RESOURCE_TEMPLATES_LIST,
    method::RESOURCES_READ,
    "completion/complete",
];
const QUESTIONS: [&str; 3] = [method::ELICITATION, method::SAMPLING, method::ROOTS_LIST];

pub(super) struct Test {
    language: Language,
    /// As the test finds them.
    tapes: Vec<PathBuf>,
    /// The template is written up to the calls.
    begun: bool,
}

impl Test {
    pub(super) fn new(language: Language, tapes: Vec<PathBuf>) -> Self {
        Self { language, tapes, begun: false }
    }

    /// What is before the calls, and what is behind them.
    fn template(&self) -> (&'static str, &'static str) {
        let (text, mark) = match self.language {
            Language::Pytest => (include_str!("pytest.py"), "#RECORDED\n"),
            Language::Vitest => (include_str!("vitest.mjs"), "//RECORDED\n"),
            Language::Rust => (include_str!("rust.rs"), "//RECORDED\n"),
        };
        text.split_once(mark).unwrap_or((text, ""))
    }

    /// The era of the first call is that of the test's client.
    fn head(&mut self, era: &str, revision: &str, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let mode = if era == "modern" { revision } else { "legacy" };
        let tapes: Vec<String> = self.tapes.iter().map(|tape| json::quote(&tape.to_string_lossy())).collect();
        let tapes = tapes.join(", ");
        let (head, _) = self.template();
        let head = match self.language {
            Language::Pytest => {
                let mode = format!("MODE = {}", json::quote(mode));
                head.replace("TAPES = []", &format!("TAPES = [{tapes}]")).replace("MODE = \"auto\"", &mode)
            }
            Language::Vitest => {
                let mode = format!("MODE = {}", json::quote(mode));
                head.replace("TAPES = []", &format!("TAPES = [{tapes}]")).replace("MODE = 'auto'", &mode)
            }
            Language::Rust => {
                let tapes: Vec<String> = self.tapes.iter().map(|tape| raw(&tape.to_string_lossy())).collect();
                let mode = format!("MODE: &str = {}", raw(mode));
                let tapes = format!("TAPES: &[&str] = &[{}]", tapes.join(", "));
                head.replace("TAPES: &[&str] = &[]", &tapes).replace("MODE: &str = \"auto\"", &mode)
            }
        };
        out.write_all(head.as_bytes())
    }

    fn left_out(&self, call: &Call, why: &str, out: &mut dyn Write) -> io::Result<()> {
        let mark = match self.language {
            Language::Pytest => "#",
            Language::Vitest => "//",
            Language::Rust => "    //",
        };
        let name: String =
            call.asked.method.as_deref().unwrap_or("?").chars().filter(|c| !c.is_control()).collect();
        writeln!(out, "{mark} {} {} is left out: {why}", name, call.asked.seq)
    }
}

impl Told for Test {
    fn begin(&mut self, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn tape(&mut self, _: &Begun<'_>, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn call(&mut self, call: &Call, out: &mut dyn Write) -> io::Result<()> {
        let (asked, method) = (&call.asked, call.asked.method.as_deref().unwrap_or_default());
        if asked.kind != Kind::Request {
            return Ok(());
        }
        self.head(&asked.client.era, &asked.client.revision, out)?;
        let answer = call.answer.as_ref();
        if asked.direction == Direction::ToClient {
            let result = answer.and_then(|answer| json::get(&answer.message, &["result"]));
            return match result.filter(|_| QUESTIONS.contains(&method)) {
                Some(result) => writeln!(out, "{}", self.answered(method, result)),
                None => Ok(()),
            };
        }
        if !REPEATED.contains(&method) {
            return Ok(());
        }
        let params = json::get(&asked.message, &["params"]).unwrap_or("{}");
        match answer {
            None => self.left_out(call, "its answer is not on the tape", out),
            Some(answer) if matches!(answer.action, Action::Refused { .. }) => {
                self.left_out(call, "the proxy refused it", out)
            }
            Some(answer) if in_rounds(params, &answer.message) => {
                self.left_out(call, "it goes over several rounds", out)
            }
            Some(answer) => writeln!(out, "{}", self.repeated(call, params, &answer.message)),
        }
    }

    fn lost(&mut self, _: &Lost, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.head("legacy", "", out)?;
        out.write_all(self.template().1.as_bytes())
    }
}

impl Test {
    fn answered(&self, method: &str, result: &str) -> String {
        match self.language {
            Language::Pytest => format!("ANSWERS[{}].append({})", json::quote(method), python(result)),
            Language::Vitest => format!("ANSWERS[{}].push({});", json::quote(method), json::compact(result)),
            Language::Rust => {
                format!("    recorded.answers.push([{}, {}]);", raw(method), raw(&json::compact(result)))
            }
        }
    }

    fn repeated(&self, call: &Call, params: &str, message: &str) -> String {
        let session = call.asked.session.as_deref().unwrap_or("-");
        let method = call.asked.method.as_deref().unwrap_or_default();
        let params = super::without_meta(params);
        let answer = outcome(message);
        let quoted = format!("{}, {}", json::quote(session), json::quote(method));
        match self.language {
            Language::Pytest => {
                format!("CALLS.append(({quoted}, {}, {}))", python(&params), python(&answer))
            }
            Language::Vitest => {
                format!("CALLS.push([{quoted}, {}, {}]);", json::compact(&params), json::compact(&answer))
            }
            Language::Rust => {
                let (params, answer) = (raw(&json::compact(&params)), raw(&json::compact(&answer)));
                format!("    recorded.calls.push([{}, {}, {params}, {answer}]);", raw(session), raw(method))
            }
        }
    }
}

/// The result, or of an error its code, for its sentence may name what differs in each run.
fn outcome(message: &str) -> String {
    match json::get(message, &["error"]) {
        Some(error) => format!(r#"{{"error":{{"code":{}}}}}"#, json::get(error, &["code"]).unwrap_or("null")),
        None => format!(r#"{{"result":{}}}"#, json::get(message, &["result"]).unwrap_or("{}")),
    }
}

fn in_rounds(params: &str, answer: &str) -> bool {
    json::get(params, &["inputResponses"]).is_some()
        || json::get(params, &["requestState"]).is_some()
        || json::get(answer, &["result", "resultType"]) == Some("\"input_required\"")
}

/// JSON in Python: in a raw literal, whose quotes stand in no JSON but inside strings, where they can be escaped.
fn python(text: &str) -> String {
    format!("json.loads(r'''{}''')", json::compact(text).replace('\'', "\\u0027"))
}

/// A raw literal of Rust with more `#` than the text has in a row.
fn raw(text: &str) -> String {
    let longest = text.split(|c| c != '#').map(str::len).max().unwrap_or(0);
    let marks = "#".repeat(longest + 1);
    format!("r{marks}\"{text}\"{marks}")
}

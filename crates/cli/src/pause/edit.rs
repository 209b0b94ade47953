//! Editing a message that waits, in the editor its reader is used to.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead as _, Write as _};
use std::path::Path;
use std::process::Command;

use serde_json::value::RawValue;
use shadowcat_admin::forms::{Decided, Held, Verdict, VerdictWord};
use shadowcat_protocol::json;
use tempfile::NamedTempFile;

use super::decide::{How, only};
use super::path;
use crate::admin_client::Admin;
use crate::failure::Failure;
use crate::process::Process;

/// What every system has.
const EDITOR: &str = "vi";

/// Change a message in an editor, and let it go on
///
/// The editor is $VISUAL, $EDITOR or vi. What is not changed stays as its sender wrote it. The message waits until the editor
/// has closed; if nothing was changed, or you give up, it goes on waiting.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its number, such as h-1
    id: String,
    #[command(flatten)]
    how: How,
}

impl Args {
    pub(super) async fn run(&self, admin: &Admin, process: &Process) -> Result<(), Failure> {
        let place = path("held", &self.id, "")?;
        let held: Held = admin.get(&place).await?;
        let message = held.message.ok_or_else(|| Failure::plain(format!("{} has no text", self.id)))?;
        let written = json::indented(message.get()) + "\n";
        let file = file(&self.id, &written)?;
        loop {
            open(file.path(), process)?;
            let text = fs::read_to_string(file.path()).map_err(unreadable)?;
            if text == written {
                return Err(Failure::plain(format!("nothing was changed; {} is still held", self.id)));
            }
            let fault = match checked(&text) {
                Ok(message) => match self.send(admin, message).await {
                    Ok(decided) => return self.how.tell(&decided),
                    Err(failure) if admin.has_let_go(&place).await => return Err(failure),
                    Err(failure) => failure.told(),
                },
                Err(fault) => format!("shadowcat: {fault}\n"),
            };
            if !goes_on(&fault) {
                let way_out = "`shadowcat pause list` shows what is still held";
                return Err(Failure::plain(format!("{} is not edited; {way_out}", self.id)));
            }
        }
    }

    async fn send(&self, admin: &Admin, message: Box<RawValue>) -> Result<Decided, Failure> {
        let reason = self.how.reason.clone();
        let said = Verdict { message: Some(message), reason, ..only(VerdictWord::Edit) };
        admin.post(&path("held", &self.id, "/verdict")?, &said).await
    }
}

/// What a person makes of a text in their editor.
pub(crate) fn edited(name: &str, text: &str, process: &Process) -> Result<String, Failure> {
    let file = file(name, text)?;
    open(file.path(), process)?;
    fs::read_to_string(file.path()).map_err(unreadable)
}

/// A file that only its owner can read: the message is as it was written, secrets included.
fn file(id: &str, text: &str) -> Result<NamedTempFile, Failure> {
    let made = tempfile::Builder::new().prefix(&format!("shadowcat-{id}-")).suffix(".json").tempfile();
    let written = made.and_then(|mut file| file.write_all(text.as_bytes()).map(|()| file));
    written.map_err(|cause| Failure::caused("cannot write the message into a file for the editor", cause))
}

fn unreadable(cause: io::Error) -> Failure {
    Failure::caused("cannot read what the editor has left", cause)
}

fn open(file: &Path, process: &Process) -> Result<(), Failure> {
    let named = process.variable("VISUAL").or_else(|| process.variable("EDITOR"));
    let named = named.unwrap_or_else(|| OsString::from(EDITOR));
    // It may have arguments, as in `code --wait`.
    let words = named.to_str().and_then(shlex::split).unwrap_or_default();
    let Some((program, args)) = words.split_first() else {
        return Err(Failure::usage(format!("{} is no command; set VISUAL or EDITOR", named.display())));
    };
    let ended = Command::new(program).args(args).arg(file).status();
    let ended = ended.map_err(|cause| {
        Failure::caused(format!("cannot start the editor `{program}`; set VISUAL or EDITOR"), cause)
    })?;
    if ended.success() {
        Ok(())
    } else {
        Err(Failure::plain(format!("the editor `{program}` failed: {ended}")))
    }
}

/// The message that a text is, as its line.
pub(crate) fn checked(text: &str) -> Result<Box<RawValue>, String> {
    let told = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        let sentence = error.to_string();
        let sentence = sentence.split(" at line ").next().unwrap_or_default();
        format!("line {line}, column {column}: {sentence}")
    };
    serde_json::from_str::<&RawValue>(text).map_err(told)?;
    RawValue::from_string(json::compact(text.trim())).map_err(told)
}

/// Says what is wrong and asks whether to go on; the end of the input is a no.
fn goes_on(fault: &str) -> bool {
    let mut stderr = io::stderr();
    let asked = stderr
        .write_all(fault.as_bytes())
        .and_then(|()| stderr.write_all(b"[Enter] edit again, [q] leave it as it was: "))
        .and_then(|()| stderr.flush());
    let mut line = String::new();
    let heard = io::stdin().lock().read_line(&mut line);
    asked.is_ok() && heard.is_ok_and(|bytes| bytes > 0) && line.trim() != "q"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_sent_as_its_line_and_with_its_own_digits() {
        let text = "{\n  \"b\": 9007199254740993,\n  \"a\": \"two  blanks\"\n}\n";
        assert_eq!(checked(text).unwrap().get(), r#"{"b":9007199254740993,"a":"two  blanks"}"#);
    }

    #[test]
    fn what_is_no_json_is_named_by_line_and_column() {
        assert_eq!(checked("{\n  \"a\": 1,\n}\n").unwrap_err(), "line 3, column 1: key must be a string");
        assert!(checked("{} {}").unwrap_err().starts_with("line 1, column 4: "));
        assert!(checked("").unwrap_err().starts_with("line 1, column 0: "));
    }
}

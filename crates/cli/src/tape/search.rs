//! `shadowcat tape search`: the calls that fit an expression.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::value::RawValue;
use shadowcat_filter::Filter;
use shadowcat_tape::{Call, Frame, Keys};

use super::files::{self, TapeFiles};
use super::key_args::KeyArgs;
use super::reading::{self, Event, Part, Reading, Stop};
use super::timeline::{Paint, Timeline};
use crate::failure::Failure;
use crate::output::Listing;
use crate::process::Process;

/// Find calls on tapes by a filter expression
///
/// Ends with code 0 if there are any, with 1 if there are none. All tapes of the directory are searched if none is named.
/// As JSON, a call is an object on a line of its own.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help())]
pub(super) struct Args {
    /// What is looked for, such as `~m tools/call & ~t echo & ~e`
    #[arg(value_name = "EXPR")]
    filter: Filter,
    #[command(flatten)]
    pub(super) tapes: TapeFiles,
    #[command(flatten)]
    pub(super) keys: KeyArgs,
    #[command(flatten)]
    part: Part,
    /// Show the messages themselves below each call
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    listing: Listing,
}

fn help() -> String {
    format!(
        "Expressions:\n{}\n  & is and, | is or, ! is not, ( ) group. A pattern is the whole text, or has * and ?,\n  or is a \
         regular expression: /.../ or /.../i. Quotes keep a text together.\n  The whole language: docs/filters.md",
        shadowcat_filter::help()
    )
}

impl Args {
    pub(super) fn run(&self, tapes: &[PathBuf], keys: Keys, process: &Process) -> Result<(), Failure> {
        let (mut found, paint) = (false, Paint::of(process));
        reading::printing(tapes, keys, "searching", |reading, out| {
            found = self.tapes(tapes, paint, reading, out)?;
            Ok(())
        })?;
        if found { Ok(()) } else { Err(Failure::told_already()) }
    }

    /// Prints what is found, and says whether anything was.
    pub(super) fn tapes(
        &self,
        tapes: &[PathBuf],
        paint: Paint,
        reading: &mut Reading,
        out: &mut dyn Write,
    ) -> Result<bool, Stop> {
        let (mut timeline, mut found) = (Timeline::new(paint, self.full), false);
        for path in tapes {
            let mut has_name = false;
            reading.calls(path, &self.part, |event| {
                let Event::Call(call) = event else { return Ok(()) };
                if !self.filter.matches(&*call) {
                    return Ok(());
                }
                found = true;
                if self.listing.is_json() {
                    return Ok(write_json(out, path, &call)?);
                }
                if !std::mem::replace(&mut has_name, true) {
                    timeline.name(path, out)?;
                }
                Ok(timeline.call(&call, out)?)
            })?;
        }
        Ok(found)
    }
}

/// A call as an object for programs.
#[derive(Serialize)]
struct Found<'a> {
    tape: String,
    time: String,
    session: Option<&'a str>,
    method: Option<&'a str>,
    name: Option<String>,
    failed: bool,
    took_us: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<&'a str>,
    asked: Option<&'a RawValue>,
    between: Vec<Option<&'a RawValue>>,
    answer: Option<&'a RawValue>,
}

fn write_json(out: &mut dyn Write, path: &Path, call: &Call) -> io::Result<()> {
    let found = Found {
        tape: files::name(path),
        time: super::time(call.asked.time),
        session: call.asked.session.as_deref(),
        method: call.asked.method.as_deref(),
        name: call.asked.name().map(std::borrow::Cow::into_owned),
        failed: call.is_failure(),
        took_us: call.took_us(),
        rules: call.rules().collect(),
        asked: raw(&call.asked),
        between: call.between.iter().map(raw).collect(),
        answer: call.answer.as_ref().and_then(raw),
    };
    writeln!(out, "{}", serde_json::to_string(&found)?)
}

fn raw(frame: &Frame) -> Option<&RawValue> {
    serde_json::from_str(&frame.message).ok()
}

//! `shadowcat tape search`: the calls that fit an expression.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::value::RawValue;
use shadowcat_filter::Filter;
use shadowcat_tape::{Call, Frame};

use super::files::{self, TapeFiles};
use super::reading::{self, Damage, Event, Paint, Stop};
use crate::failure::Failure;
use crate::output::Format;
use crate::process::Process;

/// Find calls on tapes by a filter expression
///
/// Ends with code 0 if there are any, with 1 if there are none. All tapes of the directory are searched if none is named.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help())]
pub(super) struct Args {
    /// What is looked for, such as `~m tools/call & ~t echo & ~e`
    #[arg(value_name = "EXPR")]
    filter: Filter,
    #[command(flatten)]
    pub(super) tapes: TapeFiles,
    /// Show the messages themselves below each call
    #[arg(long)]
    full: bool,
    /// `table` is one line a call, `json` one object a line
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

fn help() -> String {
    format!(
        "Expressions:\n{}\n  & is and, | is or, ! is not, ( ) group. A pattern is the whole text, or has * and ?,\n  or is a \
         regular expression: /.../ or /.../i. Quotes keep a text together.\n  The whole language: docs/filters.md",
        shadowcat_filter::help()
    )
}

impl Args {
    pub(super) fn run(&self, tapes: &[PathBuf], process: &Process) -> Result<(), Failure> {
        let paint = Paint::of(process);
        let mut found = 0;
        reading::printing(|out| {
            let mut damage = None;
            for path in tapes {
                damage = damage.or(self.tape(path, paint, &mut found, out)?);
            }
            Ok(damage)
        })?;
        if found == 0 { Err(Failure::told_already()) } else { Ok(()) }
    }

    fn tape(
        &self,
        path: &Path,
        paint: Paint,
        found: &mut u64,
        out: &mut dyn Write,
    ) -> Result<Option<Damage>, Stop> {
        let mut here = 0_u64;
        let before = *found;
        reading::calls(path, reading::open(path)?, |event| {
            let Event::Call(call) = event else { return Ok(()) };
            if !self.filter.matches(&*call) {
                return Ok(());
            }
            match self.output {
                Format::Json => write_json(out, path, &call)?,
                Format::Table => {
                    if here == 0 {
                        reading::write_name(out, path, paint, before == 0)?;
                    }
                    reading::write_call(out, &call, paint, self.full)?;
                }
            }
            here += 1;
            *found = before + here;
            Ok(())
        })
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
        asked: raw(&call.asked),
        between: call.between.iter().map(raw).collect(),
        answer: call.answer.as_ref().and_then(raw),
    };
    writeln!(out, "{}", serde_json::to_string(&found)?)
}

fn raw(frame: &Frame) -> Option<&RawValue> {
    serde_json::from_str(&frame.message).ok()
}

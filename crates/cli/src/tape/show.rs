//! `shadowcat tape show`: the calls on tapes, in constant memory however long they are.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use shadowcat_filter::Filter;
use shadowcat_tape::{Keys, Record};

use super::files::TapeFiles;
use super::key_args::KeyArgs;
use super::reading::{self, Event, Part, Reading, Stop};
use super::timeline::{Paint, Timeline};
use crate::failure::Failure;
use crate::output::Listing;
use crate::process::Process;

/// Show the calls on tapes with their answers, one line each
///
/// As JSON, the records are printed as they are on the tape.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) tapes: TapeFiles,
    #[command(flatten)]
    pub(super) keys: KeyArgs,
    /// Only the calls that fit this expression; `shadowcat tape search --help` lists its operators
    #[arg(long, value_name = "EXPR", conflicts_with = "messages")]
    filter: Option<Filter>,
    #[command(flatten)]
    part: Part,
    /// Show the messages themselves below each call
    #[arg(long, conflicts_with = "messages")]
    full: bool,
    /// Show each message on a line of its own, in the order in which they passed
    #[arg(long)]
    messages: bool,
    #[command(flatten)]
    pub(super) listing: Listing,
}

impl Args {
    pub(super) fn run(&self, tapes: &[PathBuf], keys: Keys, process: &Process) -> Result<(), Failure> {
        if self.listing.is_json() && self.filter.is_some() {
            let way_out = "prints all records; for calls that fit use `shadowcat tape search EXPR --json`";
            return Err(Failure::usage(format!("tape show: JSON {way_out}")));
        }
        let paint = Paint::of(process);
        reading::printing(tapes, keys, "reading", |reading, out| self.tapes(tapes, paint, reading, out))
    }

    /// Prints all that is whole.
    pub(super) fn tapes(
        &self,
        tapes: &[PathBuf],
        paint: Paint,
        reading: &mut Reading,
        out: &mut dyn Write,
    ) -> Result<(), Stop> {
        let mut timeline = Timeline::new(paint, self.full);
        for path in tapes {
            if tapes.len() > 1 && !self.listing.is_json() {
                timeline.name(path, out)?;
            }
            self.tape(path, &mut timeline, reading, out)?;
        }
        Ok(())
    }

    fn tape(
        &self,
        path: &Path,
        timeline: &mut Timeline,
        reading: &mut Reading,
        out: &mut dyn Write,
    ) -> Result<(), Stop> {
        if self.listing.is_json() {
            // As it was written, with the members that this program does not know.
            return reading.records(path, &self.part, |_, text| {
                Ok(out.write_all(text).and_then(|()| out.write_all(b"\n"))?)
            });
        }
        if self.messages {
            return reading.records(path, &self.part, |record, _| Ok(message(&record, timeline, out)?));
        }
        reading.calls(path, &self.part, |event| {
            match event {
                event if !event.fits(self.filter.as_ref()) => {}
                Event::Call(call) => timeline.call(&call, out)?,
                Event::Ruled(call) => timeline.frame(&call.asked, out)?,
                Event::Lost(lost) => timeline.lost(&lost, out)?,
            }
            Ok(())
        })
    }
}

fn message(record: &Record, timeline: &mut Timeline, out: &mut dyn Write) -> io::Result<()> {
    match record {
        Record::Frame(frame) => timeline.frame(frame, out),
        Record::Lost(lost) => timeline.lost(lost, out),
        Record::Header(_) | Record::End(_) => Ok(()),
    }
}

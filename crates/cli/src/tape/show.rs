//! `shadowcat tape show`: the calls on tapes, in constant memory however long they are.

use std::io::Write;
use std::path::{Path, PathBuf};

use shadowcat_filter::Filter;
use shadowcat_tape::{OpenError, ReadError, Reader, Record, render};

use super::files::TapeFiles;
use super::reading::{self, Damage, Event, Paint, Stop};
use crate::failure::Failure;
use crate::output::Format;
use crate::process::Process;

/// Show the calls on tapes with their answers, one line each
#[derive(Debug, Default, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) tapes: TapeFiles,
    /// Show the calls that fit this expression; `shadowcat tape search --help` lists its operators
    #[arg(long, value_name = "EXPR", conflicts_with = "messages")]
    filter: Option<Filter>,
    /// Show the messages themselves below each call
    #[arg(long, conflicts_with = "messages")]
    full: bool,
    /// Show each message on a line of its own, in the order in which they passed
    #[arg(long)]
    messages: bool,
    /// Begin with the last COUNT messages of each tape
    #[arg(long, value_name = "COUNT")]
    tail: Option<u64>,
    /// `table` is one line a call; `json` prints the records as they are on the tape
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
}

impl Args {
    pub(super) fn run(&self, tapes: &[PathBuf], process: &Process) -> Result<(), Failure> {
        if self.output == Format::Json && self.filter.is_some() {
            let way_out =
                "prints all records of a tape; for calls that fit use `shadowcat tape search EXPR -o json`";
            return Err(Failure::usage(format!("tape show: `-o json` {way_out}")));
        }
        let paint = Paint::of(process);
        reading::printing(|out| {
            let mut damage = None;
            for (place, path) in tapes.iter().enumerate() {
                if tapes.len() > 1 && self.output == Format::Table {
                    reading::write_name(out, path, paint, place == 0)?;
                }
                let found = self.tape(path, paint, out)?;
                damage = damage.or(found);
            }
            Ok(damage)
        })
    }

    /// Writes all that is whole, and says what the first fault was.
    pub(super) fn tape(
        &self,
        path: &Path,
        paint: Paint,
        out: &mut dyn Write,
    ) -> Result<Option<Damage>, Stop> {
        match self.tail {
            Some(count) => self.rest(path, at_tail(path, count)?, paint, out),
            None => self.rest(path, reading::open(path)?, paint, out),
        }
    }

    fn rest<R: std::io::BufRead>(
        &self,
        path: &Path,
        reader: Reader<R>,
        paint: Paint,
        out: &mut dyn Write,
    ) -> Result<Option<Damage>, Stop> {
        if self.output == Format::Json || self.messages {
            return reading::records(path, reader, |record, text| Ok(self.record(&record, text, out)?));
        }
        reading::calls(path, reader, |event| {
            match event {
                Event::Call(call) if self.filter.as_ref().is_none_or(|filter| filter.matches(&*call)) => {
                    reading::write_call(out, &call, paint, self.full)?;
                }
                Event::Lost(lost) if self.filter.is_none() => reading::write_lost(out, &lost)?,
                Event::Call(_) | Event::Lost(_) => {}
            }
            Ok(())
        })
    }

    fn record(&self, record: &Record, text: &[u8], out: &mut dyn Write) -> std::io::Result<()> {
        match (record, self.output) {
            // As it was written, with the members that this program does not know.
            (_, Format::Json) => writeln!(out, "{}", String::from_utf8_lossy(text)),
            (Record::Frame(frame), Format::Table) => writeln!(out, "{}", render::line(frame)),
            (Record::Lost(lost), Format::Table) => reading::write_lost(out, lost),
            (Record::Header(_) | Record::End(_), Format::Table) => Ok(()),
        }
    }
}

/// A reader before the last messages. Only a plain tape can be read from its end.
fn at_tail(path: &Path, count: u64) -> Result<Reader<std::io::BufReader<std::fs::File>>, Stop> {
    let read = |cause: std::io::Error| Stop::Read(path.to_owned(), OpenError::File(cause));
    let mut reader = Reader::open(path).map_err(read)?;
    match reader.next() {
        Some(Ok(Record::Header(_))) => reader.seek_last(count).map_err(read)?,
        Some(Err(ReadError::NoHeader)) => {
            let sentence = "only a tape that is neither compressed nor encrypted can be read from its end; leave \
                            `--tail` out";
            return Err(read(std::io::Error::other(sentence)));
        }
        _ => {}
    }
    Ok(reader)
}

//! JSON Lines: our own export, which is read back to the byte, and logs of other tools whose members are named.

use std::io::BufRead;

use shadowcat_pipeline::Direction;
use shadowcat_protocol::{json, lines};
use time::OffsetDateTime;

use super::join::{Join, Said, session_tag};
use super::{At, ImportError, Sink};
use crate::clock::{later, parse_rfc3339};
use crate::line;

/// Longer lines are reported, and read over.
const LINE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Where a log of another tool has what a tape needs: members by their names, with dots between those of objects in
/// objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The message: JSON, or a string that holds JSON.
    pub message: String,
    /// Which way it went.
    pub direction: String,
    /// The words for "to the server" there.
    pub to_server: Vec<String>,
    /// The words for "to the client".
    pub to_client: Vec<String>,
    /// When.
    pub time: String,
    /// How that is written.
    pub time_unit: TimeUnit,
    /// The session's id, if the log has one.
    pub session: Option<String>,
    /// `stdio`, `sse` or `http`.
    pub transport: String,
}

/// How a log writes times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeUnit {
    /// As RFC 3339 has it.
    #[default]
    Rfc3339,
    /// Seconds since 1970, with or without a fraction.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
    /// Microseconds since 1970.
    Micros,
}

/// Reads our own export. Several tapes in it follow one another.
pub(super) fn read_own(source: impl BufRead, sink: &mut Sink<'_>) -> Result<(), ImportError> {
    let mut tapes = Tapes::default();
    each_line(source, sink, &mut |number, line, sink| {
        match line::unsealed_frame(line) {
        Ok(frame) => {
            let tape = json::get(line, &["tape"]).unwrap_or_default();
            sink.frame(tapes.place(tape, frame))
        }
        Err(fault) => sink.bad(
            At::Line(number),
            format!(
                "not of an export by shadowcat ({fault}); for a log of another tool say where it has the message, its \
                 direction and its time (`--message`, `--direction`, `--time`)"
            ),
        ),
    }
    })
}

/// Numbers of several tapes in one.
#[derive(Default)]
struct Tapes {
    tape: String,
    begun: Option<OffsetDateTime>,
    /// What is added to the numbers of the present tape, and what was the last of all.
    shift_us: u64,
    last_us: u64,
    shift: u64,
    last_exchange: u64,
}

impl Tapes {
    fn place(&mut self, tape: &str, mut frame: crate::record::Frame) -> crate::record::Frame {
        let begun = *self.begun.get_or_insert(frame.time);
        if tape != self.tape {
            let us = u64::try_from((frame.time - begun).whole_microseconds()).unwrap_or(0);
            let is_first = self.tape.is_empty();
            tape.clone_into(&mut self.tape);
            self.shift_us = if is_first { 0 } else { us.max(self.last_us).saturating_sub(frame.at_us) };
            self.shift = self.last_exchange;
        }
        frame.at_us = frame.at_us.saturating_add(self.shift_us);
        frame.exchange = frame.exchange.saturating_add(self.shift);
        frame.related = frame.related.map(|related| related.saturating_add(self.shift));
        self.last_us = self.last_us.max(frame.at_us);
        self.last_exchange = self.last_exchange.max(frame.exchange);
        frame
    }
}

/// Reads a log of another tool, in its order.
pub(super) fn read_mapped(
    source: impl BufRead,
    mapping: &Mapping,
    sink: &mut Sink<'_>,
) -> Result<(), ImportError> {
    let mut join = Join::default();
    each_line(source, sink, &mut |number, line, sink| match mapping
        .said(number, line)
        .and_then(|said| join.frame(said))
    {
        Ok(frame) => sink.frame(frame),
        Err(detail) => sink.bad(At::Line(number), detail),
    })
}

impl Mapping {
    fn said(&self, number: u64, line: &str) -> Result<Said, String> {
        if !json::is_value(line) {
            return Err("no JSON".to_owned());
        }
        let raw = member(line, "--message", &self.message)?;
        // Text in text: what a logger quoted.
        let text = json::string(raw).map_or_else(|| raw.to_owned(), std::borrow::Cow::into_owned);
        let word = member(line, "--direction", &self.direction)?;
        let word = json::string(word).unwrap_or(word.into());
        let direction = match () {
            () if self.to_server.iter().any(|known| *known == word) => Direction::ToServer,
            () if self.to_client.iter().any(|known| *known == word) => Direction::ToClient,
            () => {
                return Err(format!(
                    "its `{}` is {word:?}, which is neither of the words for a direction; name them with `--to-server` and \
                     `--to-client`",
                    self.direction
                ));
            }
        };
        let time = member(line, "--time", &self.time)?;
        let time = moment(time, self.time_unit).ok_or_else(|| {
            format!("its `{}` is {time}, which is no time of the form that `--time-unit` says", self.time)
        })?;
        let session = self.session.as_ref().and_then(|name| get(line, name));
        Ok(Said {
            at: At::Line(number),
            time,
            direction,
            text,
            session: session.map(|id| session_tag(&json::string(id).unwrap_or(id.into()))),
            group: None,
            transport: self.transport.clone(),
            revision: None,
            upstream: None,
            refused: None,
        })
    }
}

fn member<'a>(line: &'a str, flag: &str, name: &str) -> Result<&'a str, String> {
    get(line, name).ok_or_else(|| format!("it has no `{name}`; name the right member with `{flag}`"))
}

fn get<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let path: Vec<&str> = name.split('.').collect();
    json::get(line, &path)
}

fn moment(raw: &str, unit: TimeUnit) -> Option<OffsetDateTime> {
    let text = json::string(raw).unwrap_or(raw.into());
    let us = match unit {
        TimeUnit::Rfc3339 => return parse_rfc3339(&text),
        TimeUnit::Seconds => 1_000_000.0,
        TimeUnit::Millis => 1_000.0,
        TimeUnit::Micros => 1.0,
    };
    later(OffsetDateTime::UNIX_EPOCH, text.parse::<f64>().ok()? * us)
}

/// Calls `each` for every line that is not blank, one in memory at a time.
fn each_line(
    mut source: impl BufRead,
    sink: &mut Sink<'_>,
    each: &mut dyn FnMut(u64, &str, &mut Sink<'_>) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let mut decoder = lines::Decoder::new(LINE_BYTES_MAX);
    let mut number = 0;
    loop {
        let read = source.fill_buf().map_err(ImportError::Read)?;
        let length = read.len();
        if length == 0 {
            decoder.finish();
        } else {
            decoder.push(read);
        }
        source.consume(length);
        while let Some(line) = decoder.next_line() {
            number += 1;
            match line.as_deref().map(std::str::from_utf8) {
                Ok(Ok(line)) => each(number, line, sink)?,
                Ok(Err(_)) => sink.bad(At::Line(number), "no UTF-8")?,
                Err(too_long) => sink.bad(At::Line(number), too_long)?,
            }
        }
        if length == 0 {
            return Ok(());
        }
    }
}

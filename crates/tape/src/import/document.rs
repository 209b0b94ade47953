//! A JSON document with a long list in it: one element in memory at a time, and faults that say where they are.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{At, Bad, ImportError};

/// An element of the list.
pub(super) struct Element<'a> {
    raw: &'a RawValue,
    pub(super) at: At,
}

impl<'a> Element<'a> {
    /// Its members; a fault names the one that is wrong.
    pub(super) fn parse<T: Deserialize<'a>>(&self) -> Result<T, String> {
        let mut json = serde_json::Deserializer::from_str(self.raw.get());
        serde_path_to_error::deserialize(&mut json).map_err(|fault| {
            let path = fault.path().to_string();
            let told = without_place(fault.inner());
            if path == "." { told } else { format!("{path}: {told}") }
        })
    }
}

/// What a fault says, without the line within the element, which is none of the file.
fn without_place(fault: &serde_json::Error) -> String {
    let told = fault.to_string();
    let place = format!(" at line {} column {}", fault.line(), fault.column());
    told.strip_suffix(&place).map(str::to_owned).unwrap_or(told)
}

/// Calls `each` for every element of the array at this path of a document.
///
/// # Errors
/// Those of `each`. A document that is damaged behind the beginning of the list is a bad entry.
pub(super) fn each(
    source: impl BufRead,
    path: &[&str],
    what: &str,
    each: &mut dyn FnMut(&Element<'_>) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let mut progress = Progress::default();
    let source = Lines { source, passed: Rc::clone(&progress.lines) };
    let mut document = serde_json::Deserializer::from_reader(source);
    let walk = Walk { path, each, progress: &mut progress };
    let done = walk.deserialize(&mut document).and_then(|()| document.end());
    match (done, progress.stopped.take()) {
        (_, Some(stop)) => Err(stop),
        (Err(fault), None) if fault.is_io() => Err(ImportError::Read(fault.into())),
        (Err(fault), None) if progress.is_found => {
            let at = At::Entry { number: progress.number + 1, line: progress.line() };
            Err(ImportError::Bad(Bad {
                at,
                detail: format!("from here on it is no JSON, or it is cut: {fault}"),
            }))
        }
        (Err(fault), None) => {
            Err(ImportError::Format(format!("this is not {what} in JSON, or is cut: {fault}")))
        }
        (Ok(()), None) if !progress.is_found => {
            Err(ImportError::Format(format!("this is not {what}: it has no `{}`", path.join("."))))
        }
        (Ok(()), None) => Ok(()),
    }
}

/// How far a document is read.
#[derive(Default)]
struct Progress {
    lines: Rc<Cell<u64>>,
    number: u64,
    is_found: bool,
    stopped: Option<ImportError>,
}

impl Progress {
    fn line(&self) -> u64 {
        self.lines.get() + 1
    }
}

/// Counts the lines that are read. The parser reads no further than the element it gives.
struct Lines<R> {
    source: R,
    passed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.passed.set(self.passed.get() + line_ends(buffer.get(..length).unwrap_or_default()));
        Ok(length)
    }
}

fn line_ends(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// Walks to the array at a path.
struct Walk<'a> {
    path: &'a [&'a str],
    each: &'a mut dyn FnMut(&Element<'_>) -> Result<(), ImportError>,
    progress: &'a mut Progress,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() {
            deserializer.deserialize_seq(self)
        } else {
            deserializer.deserialize_map(self)
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.first() {
            Some(name) => write!(f, "an object with `{name}`"),
            None => f.write_str("a list of entries"),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.path.split_first() else { return Err(de::Error::custom("no list")) };
        while let Some(name) = members.next_key::<String>()? {
            if name == *first {
                members.next_value_seed(Walk {
                    path: rest,
                    each: &mut *self.each,
                    progress: &mut *self.progress,
                })?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.progress.is_found = true;
        while let Some(raw) = elements.next_element::<Box<RawValue>>()? {
            self.progress.number += 1;
            let line = self.progress.line() - line_ends(raw.get().as_bytes());
            let at = At::Entry { number: self.progress.number, line };
            if let Err(stop) = (self.each)(&Element { raw: &raw, at }) {
                self.progress.stopped = Some(stop);
                return Err(de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

//! JSON Lines: a message a line, with all that the tape knows of it, for `jq` and for programs that read no tapes.
//!
//! The members are those of the tape (`docs/tape-format.md`), less the checksum and the kind of record. Added is what
//! the tape leaves to its reader: of which tape it is, what a response answers, and whether that failed.

use std::collections::HashMap;
use std::io::{self, Write};

use shadowcat_protocol::json;

use super::{Begun, Messages};
use crate::line::{self, FrameLine};
use crate::record::{Frame, Kind, Lost};

/// So many requests are kept in mind for their answers; the answers to others lack two members.
const OPEN_MAX: usize = 65_536;
/// How the line of a frame on a tape goes on behind its checksum.
const RECORD: &str = r#""record":"frame","#;

#[derive(Default)]
pub(super) struct Lines {
    tape: String,
    /// Requests without an answer yet, by hop and exchange.
    open: HashMap<(String, u64), Asked>,
    line: Vec<u8>,
}

#[derive(Clone)]
struct Asked {
    method: String,
    /// The tool, the prompt, the URI or the task.
    name: Option<String>,
}

impl Messages for Lines {
    fn tape(&mut self, tape: &Begun<'_>, _: &mut dyn Write) -> io::Result<()> {
        tape.header.tape.clone_into(&mut self.tape);
        self.open.clear();
        Ok(())
    }

    fn frame(&mut self, frame: &Frame, out: &mut dyn Write) -> io::Result<()> {
        write!(out, r#"{{"tape":{},"#, json::quote(&self.tape))?;
        if let Some(asked) = self.asked(frame) {
            if frame.kind == Kind::Response {
                write!(out, r#""answers":{},"#, json::quote(&asked.method))?;
            }
            if let Some(name) = &asked.name {
                write!(out, r#""name":{},"#, json::quote(name))?;
            }
        }
        if frame.kind == Kind::Response {
            write!(out, r#""failed":{},"#, frame.is_failure())?;
        }
        self.line.clear();
        line::frame(&FrameLine::of(frame), &mut self.line);
        let behind = memchr::memmem::find(&self.line, RECORD.as_bytes()).map_or(0, |at| at + RECORD.len());
        out.write_all(self.line.get(behind..).unwrap_or_default())
    }

    /// A line that holds no message would be in the way of every program that expects one.
    fn lost(&mut self, _: &Lost, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// What was asked: by this request, or by the one that this response answers.
    fn asked(&mut self, frame: &Frame) -> Option<Asked> {
        let key = (frame.hop.clone(), frame.exchange);
        match frame.kind {
            Kind::Response => self.open.remove(&key),
            Kind::Notification => None,
            Kind::Request => {
                let method = frame.method.clone().unwrap_or_default();
                let asked = Asked { method, name: frame.name().map(std::borrow::Cow::into_owned) };
                if self.open.len() < OPEN_MAX {
                    self.open.insert(key, asked.clone());
                }
                Some(asked)
            }
        }
    }
}

//! Tapes in the formats of other tools: records in, text out, while they are read.
//!
//! A format is a file here and a line in [`Format`]. Those that tell of calls are given whole calls of the hop `edge`,
//! in the order in which they were asked; those that tell of messages are given the frames as they stand on the tape.

mod har;
#[cfg(test)]
pub(crate) mod har12;
mod jsonl;
mod markdown;
mod order;
mod produced;

use std::io::{self, Write};
use std::path::PathBuf;

use shadowcat_protocol::json;

use crate::calls::Call;
use crate::record::{Frame, Header, Lost, Record};
use crate::redact::Redactor;
use order::Ordered;

pub use produced::Language;

/// The formats a tape is exported to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// HTTP Archive 1.2, for the developer tools of browsers.
    Har,
    /// One message a line.
    Jsonl,
    /// A transcript for people.
    Markdown,
    /// A test that repeats the calls; the tapes as it finds them.
    Test(Language, Vec<PathBuf>),
}

/// What is written for each message.
trait Messages {
    fn tape(&mut self, tape: &Begun<'_>, out: &mut dyn Write) -> io::Result<()>;
    fn frame(&mut self, frame: &Frame, out: &mut dyn Write) -> io::Result<()>;
    fn lost(&mut self, lost: &Lost, out: &mut dyn Write) -> io::Result<()>;
}

/// What is written for each call.
trait Told {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()>;
    fn tape(&mut self, tape: &Begun<'_>, out: &mut dyn Write) -> io::Result<()>;
    fn call(&mut self, call: &Call, out: &mut dyn Write) -> io::Result<()>;
    fn lost(&mut self, lost: &Lost, out: &mut dyn Write) -> io::Result<()>;
    fn end(&mut self, out: &mut dyn Write) -> io::Result<()>;
}

/// A tape at its header.
struct Begun<'a> {
    /// The name of its file.
    name: &'a str,
    header: &'a Header,
}

/// An export being written.
pub struct Export<W> {
    out: W,
    form: Form,
    /// The name of the tape that is read.
    name: String,
    redaction: Option<Redaction>,
}

/// What is done about credentials that are on a tape.
struct Redaction {
    redactor: Redactor,
    /// The tape that is read may hold some.
    is_due: bool,
    replaced: u64,
}

enum Form {
    Messages(Box<dyn Messages>),
    Calls { told: Box<dyn Told>, open: Ordered },
}

impl<W: Write> Export<W> {
    /// Begins one. `redactor` replaces the credentials of tapes that were recorded with them; without it they are told.
    ///
    /// # Errors
    /// What the output says, as with all the others.
    pub fn begin(format: &Format, redactor: Option<Redactor>, mut out: W) -> io::Result<Self> {
        let mut form = match format {
            Format::Jsonl => Form::Messages(Box::<jsonl::Lines>::default()),
            Format::Har => Form::calls(har::Har::default()),
            Format::Markdown => Form::calls(markdown::Transcript::default()),
            Format::Test(language, tapes) => Form::calls(produced::Test::new(*language, tapes.clone())),
        };
        if let Form::Calls { told, .. } = &mut form {
            told.begin(&mut out)?;
        }
        let redaction = redactor.map(|redactor| Redaction { redactor, is_due: true, replaced: 0 });
        Ok(Self { out, form, name: String::new(), redaction })
    }

    /// What follows is from the tape of this name.
    pub fn tape(&mut self, name: &str) -> io::Result<()> {
        name.clone_into(&mut self.name);
        if let Some(redaction) = &mut self.redaction {
            // Its header, which says otherwise, may be damaged.
            redaction.is_due = true;
        }
        self.form.rest(&mut self.out)
    }

    /// Takes the next record.
    pub fn record(&mut self, mut record: Record) -> io::Result<()> {
        if let Some(redaction) = &mut self.redaction {
            redaction.apply(&mut record);
        }
        let out = &mut self.out;
        match (record, &mut self.form) {
            (Record::Header(header), form) => {
                let tape = Begun { name: &self.name, header: &header };
                match form {
                    Form::Messages(messages) => messages.tape(&tape, out),
                    Form::Calls { told, .. } => told.tape(&tape, out),
                }
            }
            (Record::Frame(frame), Form::Messages(messages)) => messages.frame(&frame, out),
            (Record::Frame(frame), Form::Calls { told, open }) => {
                open.take(*frame);
                open.ready().try_for_each(|call| told.call(&call, out))
            }
            (Record::Lost(lost), Form::Messages(messages)) => messages.lost(&lost, out),
            (Record::Lost(lost), Form::Calls { told, .. }) => told.lost(&lost, out),
            (Record::End(_), _) => Ok(()),
        }
    }

    /// How many credentials were replaced.
    pub fn replaced(&self) -> u64 {
        self.redaction.as_ref().map_or(0, |redaction| redaction.replaced)
    }

    /// Ends it; gives the output back.
    pub fn end(mut self) -> io::Result<W> {
        self.form.rest(&mut self.out)?;
        if let Form::Calls { told, .. } = &mut self.form {
            told.end(&mut self.out)?;
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

impl Redaction {
    fn apply(&mut self, record: &mut Record) {
        match record {
            Record::Header(header) => {
                self.is_due = !header.redacted;
                header.redacted = true;
            }
            Record::Frame(frame) if self.is_due => self.replaced += u64::from(self.redactor.frame(frame)),
            Record::Frame(_) | Record::Lost(_) | Record::End(_) => {}
        }
    }
}

impl Form {
    fn calls(told: impl Told + 'static) -> Self {
        Self::Calls { told: Box::new(told), open: Ordered::default() }
    }

    /// At the end of a tape: the calls that never ended.
    fn rest(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Messages(_) => Ok(()),
            Self::Calls { told, open } => {
                std::mem::take(open).rest().try_for_each(|call| told.call(&call, out))
            }
        }
    }
}

/// The members of `params` without the metadata of the protocol.
fn without_meta(params: &str) -> String {
    let members = json::members(params).filter(|(name, _)| name != "_meta");
    let members: Vec<String> =
        members.map(|(name, value)| format!("{}:{value}", json::quote(&name))).collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests;

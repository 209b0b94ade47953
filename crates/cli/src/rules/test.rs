//! `shadowcat rules test`: what would rules have done to what is on tapes?

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use shadowcat_rules::Rules;
use shadowcat_tape::{Frame, Record, render};

use super::trial::{Counts, Fired, Trial};
use crate::data_args::DataArgs;
use crate::failure::Failure;
use crate::output::Listing;
use crate::process::Process;
use crate::tape::files::{self, TapeFiles};
use crate::tape::key_args::KeyArgs;
use crate::tape::reading::{self, Part, Reading, Stop};

/// Run rules over tapes and say for each message which of them fit and what they would do
///
/// Nothing is sent and nothing is changed. Of a request that a rule would have ended, the recorded replies are left out.
/// A tape has no headers, no principals and no claims, so that conditions on these hold for nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A file with rules: the configuration file, or one with nothing but `rules:`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Tapes: files, or names of those in the directory, or a part of a name that only one has
    #[arg(long = "tape", value_name = "TAPE", num_args = 1.., required = true)]
    tapes: Vec<PathBuf>,
    /// Directory of the tapes [env: SHADOWCAT_RECORD] [default: `tapes` in the data directory]
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    listing: Listing,
}

/// What was found out so far.
struct Findings<'r> {
    /// The names of the rules with how many messages each of them fits.
    rules: Vec<(&'r str, u64)>,
    counts: Counts,
    fired: Vec<Value>,
}

impl Args {
    pub(super) fn run(&self, process: &Process) -> Result<(), Failure> {
        let (_, rules) = super::read(&self.file)?;
        let tapes = TapeFiles::of(self.tapes.clone()).paths(self.record.as_ref(), &self.data, process)?;
        let keys = self.keys.keys(&self.data, process)?;
        reading::printing(&tapes, keys, "judging", |reading, out| {
            let mut findings = Findings::new(&rules);
            for tape in &tapes {
                self.tape(tape, &rules, &mut findings, reading, out)?;
            }
            if self.listing.is_json() {
                writeln!(out, "{:#}", findings.described())?;
            } else {
                findings.write_summary(out)?;
            }
            Ok(())
        })
    }

    fn tape(
        &self,
        path: &Path,
        rules: &Rules,
        findings: &mut Findings<'_>,
        reading: &mut Reading,
        out: &mut dyn Write,
    ) -> Result<(), Stop> {
        let mut trial = Trial::new(rules);
        reading.records(path, &Part::default(), |record, _| {
            let Record::Frame(frame) = record else { return Ok(()) };
            let mut is_told = false;
            trial.frame(&frame, |fired| {
                findings.count(&fired);
                if self.listing.is_json() {
                    findings.fired.push(described(path, &frame, &fired));
                } else {
                    write_fired(out, &frame, &fired, &mut is_told)?;
                }
                Ok(())
            })
        })?;
        findings.add(trial.counts);
        Ok(())
    }
}

fn write_fired(out: &mut dyn Write, frame: &Frame, fired: &Fired<'_>, is_told: &mut bool) -> io::Result<()> {
    if !*is_told {
        writeln!(out, "{}", render::line(frame))?;
        *is_told = true;
    }
    writeln!(out, "    {}  {}", fired.rule, fired.deed.line())
}

fn described(path: &Path, frame: &Frame, fired: &Fired<'_>) -> Value {
    let mut members = Map::new();
    members.insert("tape".to_owned(), files::name(path).into());
    members.insert("seq".to_owned(), frame.seq.into());
    members.insert("kind".to_owned(), frame.kind.as_str().into());
    members.insert("method".to_owned(), frame.method.clone().into());
    members.insert("name".to_owned(), frame.name().map(String::from).into());
    members.insert("rule".to_owned(), fired.rule.into());
    members.insert("does".to_owned(), fired.deed.word().into());
    if let Value::Object(more) = fired.deed.described() {
        members.extend(more);
    }
    Value::Object(members)
}

impl<'r> Findings<'r> {
    fn new(rules: &'r Rules) -> Self {
        let rules = rules.names().map(|name| (name, 0)).collect();
        Self { rules, counts: Counts::default(), fired: Vec::new() }
    }

    fn count(&mut self, fired: &Fired<'_>) {
        let rule = self.rules.iter_mut().find(|(name, _)| *name == fired.rule);
        if let Some((_, count)) = rule.filter(|_| fired.first) {
            *count += 1;
        }
    }

    fn add(&mut self, counts: Counts) {
        self.counts.messages += counts.messages;
        self.counts.fitting += counts.fitting;
        self.counts.unsaid += counts.unsaid;
        self.counts.unread += counts.unread;
    }

    fn write_summary(&self, out: &mut dyn Write) -> io::Result<()> {
        let Counts { messages, fitting, unsaid, unread } = self.counts;
        if fitting > 0 {
            writeln!(out)?;
        }
        let width = self.rules.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(4);
        writeln!(out, "{:width$}  MESSAGES", "RULE")?;
        for (name, count) in &self.rules {
            let never = if *count == 0 { "  never fired" } else { "" };
            writeln!(out, "{name:width$}  {count}{never}")?;
        }
        write!(out, "{messages} messages, {fitting} of them fit a rule")?;
        if unsaid > 0 {
            write!(out, "; {unsaid} left out, because a rule would have ended their request")?;
        }
        if unread > 0 {
            write!(out, "; {unread} are no messages")?;
        }
        writeln!(out)
    }

    fn described(&self) -> Value {
        let rules: Vec<Value> =
            self.rules.iter().map(|(name, count)| json!({"name": name, "messages": count})).collect();
        let Counts { messages, fitting, unsaid, unread } = self.counts;
        json!({
            "messages": messages,
            "fitting": fitting,
            "unsaid": unsaid,
            "unread": unread,
            "rules": rules,
            "fired": self.fired,
        })
    }
}

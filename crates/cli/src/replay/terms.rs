//! How answers are compared, and where the report goes.

use std::fs;
use std::path::PathBuf;

use shadowcat_playback::Ignored;
use shadowcat_playback::compare::{Match, Rules};
use shadowcat_playback::report::{Form, Report, Terms};

use crate::failure::Failure;
use crate::output;

// Flags about the comparison of answers.
#[derive(Debug, Default, clap::Args)]
pub(super) struct TermsArgs {
    /// How alike answers have to be [default: values]
    #[arg(long = "match", value_enum, value_name = "HOW")]
    by: Option<By>,
    /// Do not look at this part of the answers, such as '$.result.content[0].text' or '$..updatedAt'; may be repeated
    #[arg(long, value_name = "JSONPATH")]
    ignore: Vec<String>,
    /// How far numbers may differ [default: 0]
    #[arg(long, value_name = "NUMBER")]
    tolerance: Option<f64>,
    /// A tool whose middle call takes more than so many times as long differs, such as 2
    #[arg(long, value_name = "FACTOR")]
    max_slowdown: Option<f64>,
    /// How the report is written [default: text]
    #[arg(long, value_enum, value_name = "FORM")]
    report: Option<Word>,
    /// Write the report to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// The same values in the same order, but for the ids and tokens of the protocol
    Exact,
    /// The same values; times and made up ids may differ, and the order of tools in a list
    Values,
    /// The same members of the same types, whatever their values
    Structural,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Word {
    /// For people
    Text,
    /// One JSON object, for programs
    Json,
    /// JUnit's XML, for CI systems
    Junit,
}

impl TermsArgs {
    pub(super) fn is_given(&self) -> bool {
        self.by.is_some()
            || !self.ignore.is_empty()
            || self.tolerance.is_some()
            || self.max_slowdown.is_some()
            || self.report.is_some()
            || self.output.is_some()
    }

    pub(super) fn terms(&self) -> Result<Terms, Failure> {
        let tolerance = self.tolerance.unwrap_or(0.0);
        if !(tolerance.is_finite() && tolerance >= 0.0) {
            return Err(Failure::usage("--tolerance: expected a number of 0 or more"));
        }
        if self.max_slowdown.is_some_and(|factor| !(factor.is_finite() && factor >= 1.0)) {
            return Err(Failure::usage("--max-slowdown: expected a number of 1 or more, such as 2"));
        }
        let by = match self.by {
            Some(By::Exact) => Match::Exact,
            None | Some(By::Values) => Match::Values,
            Some(By::Structural) => Match::Structural,
        };
        let ignored =
            Ignored::parse(&self.ignore).map_err(|error| Failure::usage(format!("--ignore: {error}")))?;
        let rules = Rules { by, ignored, tolerance, across_eras: false };
        Ok(Terms { rules, slowdown_max: self.max_slowdown, ..Terms::default() })
    }

    /// Writes the report, and fails as it says: 1 if something differs, 2 if nothing could be compared.
    pub(super) fn tell(&self, report: &Report) -> Result<(), Failure> {
        if let Some(failure) = &report.failure {
            return Err(Failure::plain(failure.clone()).into_usage());
        }
        let form = match self.report {
            None | Some(Word::Text) => Form::Text,
            Some(Word::Json) => Form::Json,
            Some(Word::Junit) => Form::Junit,
        };
        let text = report.write(form);
        match &self.output {
            None => output::print(&text).map_err(Failure::into_usage)?,
            Some(path) => fs::write(path, &text).map_err(|cause| {
                Failure::caused(format!("cannot write the report to {}", path.display()), cause).into_usage()
            })?,
        }
        if report.differs() { Err(Failure::told_already()) } else { Ok(()) }
    }
}

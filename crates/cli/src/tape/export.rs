//! `shadowcat tape export`: tapes in the formats of other tools.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Component, Path, PathBuf};

use shadowcat_tape::export::{Export, Format, Language};
use shadowcat_tape::{Keys, Record, Redactor, Secrets};

use super::files::{self, TapeFiles};
use super::key_args::KeyArgs;
use super::reading::{Part, Reading, Stop};
use crate::failure::Failure;

/// What is exported, and to where.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What is written
    #[arg(value_enum)]
    format: Word,
    #[command(flatten)]
    pub(super) tapes: TapeFiles,
    #[command(flatten)]
    pub(super) keys: KeyArgs,
    /// What a test is written for
    #[arg(long, value_enum, value_name = "LANG", required_if_eq("format", "test"))]
    lang: Option<Lang>,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Keep the credentials that are on tapes which were recorded with them
    #[arg(long)]
    no_redact: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Word {
    /// HTTP Archive 1.2, for the developer tools of browsers
    Har,
    /// JSON Lines, a message a line, for `jq` and other programs
    Jsonl,
    /// A transcript for people
    Markdown,
    /// A test that repeats the calls against `shadowcat mock` and compares the answers
    Test,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Lang {
    /// Python, with the official SDK
    Pytest,
    /// JavaScript, with the official SDK
    Vitest,
    /// Rust, with `rmcp`
    Rust,
}

impl Args {
    pub(super) fn run(&self, tapes: &[PathBuf], keys: &Keys) -> Result<(), Failure> {
        if self.lang.is_some() && self.format != Word::Test {
            return Err(Failure::usage("`--lang` is for `test`"));
        }
        self.can_be_read(tapes, keys)?;
        let redactor = if self.no_redact { None } else { Some(super::redactor(&Secrets::default())?) };
        let Some(path) = &self.output else {
            return self.write(tapes, keys, redactor, io::stdout().lock(), "standard output");
        };
        let place = path.display().to_string();
        if let Some(tape) = tapes.iter().find(|tape| is_same(tape, path)) {
            return Err(Failure::usage(format!(
                "{}: this is the tape itself; name another file",
                tape.display()
            )));
        }
        let file = File::create(path).map_err(|cause| Stop::Written(cause).failure(&place))?;
        self.write(tapes, keys, redactor, file, &place)
    }

    /// Before anything is written: a file that is there is not lost for what cannot be exported.
    fn can_be_read(&self, tapes: &[PathBuf], keys: &Keys) -> Result<(), Failure> {
        for tape in tapes {
            let failed = |cause| Stop::Read(tape.clone(), cause).failure("");
            let mut reader = shadowcat_tape::open(tape, keys).map_err(failed)?;
            match reader.next() {
                Some(Ok(Record::Header(header))) if !header.redacted => self.of_open(tape)?,
                Some(Err(cause)) if reader.next().is_none() => {
                    return Err(Failure::caused(format!("{}: cannot be exported", tape.display()), cause));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A test asks what is on its tape.
    fn of_open(&self, tape: &Path) -> Result<(), Failure> {
        if self.format != Word::Test || self.no_redact {
            return Ok(());
        }
        let tape = tape.display();
        Err(Failure::plain(format!(
            "{tape}: it was recorded with its credentials, and a test would ask them; make it of a copy without them \
             (`shadowcat tape redact {tape} -o FILE`), or keep them (`--no-redact`)"
        )))
    }

    /// Writes all that is whole. What is damaged is told at the end.
    fn write(
        &self,
        tapes: &[PathBuf],
        keys: &Keys,
        redactor: Option<Redactor>,
        out: impl Write,
        place: &str,
    ) -> Result<(), Failure> {
        let mut reading = Reading::over(tapes, keys.clone(), "exporting");
        let written = self.copy(tapes, &mut reading, redactor, out);
        let replaced = *written.as_ref().unwrap_or(&0);
        let ended = reading.end(place, written.map(drop));
        if replaced > 0 {
            let what =
                if replaced == 1 { "1 credential was" } else { &format!("{replaced} credentials were") };
            writeln!(io::stderr(), "shadowcat: {what} replaced; `--no-redact` keeps them").ok();
        }
        ended
    }

    /// Gives how many credentials were replaced.
    fn copy(
        &self,
        tapes: &[PathBuf],
        reading: &mut Reading,
        redactor: Option<Redactor>,
        out: impl Write,
    ) -> Result<u64, Stop> {
        let mut export = Export::begin(&self.format(tapes), redactor, BufWriter::new(out))?;
        for path in tapes {
            export.tape(&files::name(path))?;
            reading.records(path, &Part::default(), |record, _| Ok(export.record(record)?))?;
        }
        let replaced = export.replaced();
        export.end()?;
        Ok(replaced)
    }

    fn format(&self, tapes: &[PathBuf]) -> Format {
        let dir = self.output.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let beside = || tapes.iter().map(|tape| relative(tape, dir)).collect();
        match self.format {
            Word::Test => match self.lang {
                // `cargo test` starts tests in the package's directory, wherever their file is.
                Some(Lang::Rust) => Format::Test(Language::Rust, tapes.to_vec()),
                Some(Lang::Vitest) => Format::Test(Language::Vitest, beside()),
                Some(Lang::Pytest) | None => Format::Test(Language::Pytest, beside()),
            },
            Word::Har => Format::Har,
            Word::Jsonl => Format::Jsonl,
            Word::Markdown => Format::Markdown,
        }
    }
}

/// The way from a directory to a file, so that both can be moved together.
fn relative(file: &Path, dir: &Path) -> PathBuf {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let (Ok(file), Ok(dir)) = (file.canonicalize(), dir.canonicalize()) else { return file.to_owned() };
    let common = file.components().zip(dir.components()).take_while(|(one, other)| one == other).count();
    let up = dir.components().skip(common).map(|_| Path::new("..").as_os_str());
    up.chain(file.components().skip(common).map(Component::as_os_str)).collect()
}

fn is_same(tape: &Path, output: &Path) -> bool {
    match (tape.canonicalize(), output.canonicalize()) {
        (Ok(tape), Ok(output)) => tape == output,
        _ => false,
    }
}

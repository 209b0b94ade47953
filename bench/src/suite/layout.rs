//! The layout of the program: which functions run when a proxy starts, carries its first calls and holds its first
//! streams. The linker puts them side by side, because memory is taken by the page, and around each page that is needed
//! the system maps its neighbours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::rig::{Bench, Rig};
use super::ruled::callgrind;
use crate::error::BenchError;
use crate::load::idle;
use crate::wire::Era;

/// Calls of each kind, and streams: enough for every function on their way to be called.
const CALLS: usize = 200;
const STREAMS: usize = 20;
/// What the compiler puts in front of a name where a function has a section of its own; the others if it is often or rarely
/// called, as far as is known.
const SECTIONS: [&str; 3] = [".text.", ".text.hot.", ".text.unlikely."];

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Shadowcat's binary.
    #[arg(long, default_value = "target/release/shadowcat")]
    shadowcat: PathBuf,
    /// The file to write.
    #[arg(long, default_value = "crates/cli/layout.ld")]
    out: PathBuf,
    /// Keep the names that are in the file: what runs is called otherwise where more of it is inlined.
    #[arg(long)]
    add: bool,
}

/// Writes the file.
pub(crate) async fn run(settings: Settings) -> Result<(), BenchError> {
    let program = std::fs::canonicalize(&settings.shadowcat)
        .map_err(|_| BenchError::NoBinary(settings.shadowcat.clone()))?;
    let bench = Bench::of(program.clone())?;
    let profile = tempfile::NamedTempFile::new()?;
    let mut words = callgrind(profile.path());
    words.push("--demangle=no".into());
    let rig = bench.start_under(&words, &[]).await?;
    for era in [Era::Legacy, Era::Modern] {
        calls(&bench, &rig, era).await?;
    }
    streams(&bench, &rig).await?;
    rig.stop().await?;
    let mut patterns = patterns(&std::fs::read_to_string(profile.path())?, &program);
    if patterns.is_empty() {
        let said = "callgrind has left no profile of it".to_owned();
        return Err(BenchError::Process { program: program.display().to_string(), said });
    }
    if settings.add {
        patterns.extend(written(&std::fs::read_to_string(&settings.out)?));
    }
    std::fs::write(&settings.out, script(&patterns))?;
    eprintln!("layout: {} names in {}", patterns.len(), settings.out.display());
    Ok(())
}

async fn calls(bench: &Bench, rig: &Rig, era: Era) -> Result<(), BenchError> {
    let options = [
        format!("--era={}", era.word()),
        "--answers=json,sse,progress".to_owned(),
        "--connections=4".to_owned(),
        format!("--requests={CALLS}"),
        "--warm-up=4".to_owned(),
    ];
    super::calls::load(bench, rig, options.into()).await.map(drop)
}

async fn streams(bench: &Bench, rig: &Rig) -> Result<(), BenchError> {
    let mut load = bench.load("hold", rig, &[format!("--streams={STREAMS}")])?;
    load.reached("open").await?;
    load.go().await?;
    let report: idle::Report = load.report().await?;
    load.finish().await?;
    match report.fault {
        Some(said) => Err(BenchError::Process { program: "the proxy".into(), said }),
        None => Ok(()),
    }
}

/// The names of the functions of this program that ran, as patterns for a linker.
fn patterns(profile: &str, program: &Path) -> BTreeSet<String> {
    let mut own = "";
    let mut is_own = false;
    // A name is written out only where it is first mentioned, be it as the name of what is called.
    let (mut names, mut ran) = (BTreeMap::new(), BTreeSet::new());
    for line in profile.lines() {
        if let Some((kind, object)) = line.split_once("ob=")
            && matches!(kind, "" | "c")
        {
            let (number, path) = object.split_once(' ').unwrap_or((object, ""));
            if Path::new(path) == program {
                own = number;
            }
            if kind.is_empty() {
                is_own = number == own;
            }
        } else if let Some((kind, function)) = line.split_once("fn=")
            && matches!(kind, "" | "c")
        {
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            if !name.is_empty() {
                names.insert(number, name);
            }
            // What is called shows up on its own too, in its own object.
            if is_own && kind.is_empty() {
                ran.insert(number);
            }
        }
    }
    ran.iter().filter_map(|number| pattern(names.get(number)?)).collect()
}

/// A name without what differs from build to build: the hash at its end, or in the newer form the hash of each crate in it. None
/// for what is no name.
fn pattern(name: &str) -> Option<String> {
    // Callgrind counts how deep a function is in itself.
    let name = name.split('\'').next().unwrap_or(name);
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_$.".contains(&byte));
    if !is_name || !name.starts_with(|first: char| first == '_' || first.is_ascii_alphabetic()) {
        return None;
    }
    Some(match name.rfind("17h") {
        Some(hash) if name.starts_with("_ZN") => format!("{}17h*", name.get(..hash)?),
        _ if name.starts_with("_R") => without_crate_hashes(name),
        _ => name.to_owned(),
    })
}

/// A crate is `C`, its hash `s…_`, and its name (the v0 form of names); the compiler counts copies of a function behind it, from
/// build to build another way. Where `Cs` stands in a name of its own the pattern fits a little more.
fn without_crate_hashes(name: &str) -> String {
    if let Some((name, copy)) = name.rsplit_once('.')
        && copy.bytes().all(|byte| byte.is_ascii_digit())
    {
        return without_crate_hashes(name) + "*";
    }
    let mut parts = name.split("Cs");
    let begin = parts.next().unwrap_or_default().to_owned();
    parts.fold(begin, |pattern, part| match part.split_once('_') {
        Some((_, rest)) => format!("{pattern}Cs*_{rest}"),
        None => format!("{pattern}Cs{part}"),
    })
}

fn script(patterns: &BTreeSet<String>) -> String {
    let mut text = String::from(
        "/* The functions that run when a proxy starts, carries its first calls and holds its first streams, side by side.\n   \
        Made by `shadowcat-bench layout`; bench/README.md says when. */\n\
        SECTIONS\n{\n  .text :\n  {\n",
    );
    for pattern in patterns {
        let sections = SECTIONS.map(|section| format!("{section}{pattern}"));
        // Writing to memory cannot fail.
        let _ = writeln!(text, "    *({})", sections.join(" "));
    }
    // All other functions follow in the same section: tools that read symbols look for them there only.
    text.push_str("  }\n}\nINSERT AFTER .eh_frame;\n");
    text
}

/// The patterns of a script.
fn written(script: &str) -> impl Iterator<Item = String> {
    let names = script.lines().filter_map(|line| line.trim_start().strip_prefix("*(.text."));
    names.filter_map(|names| names.split([' ', ')']).next()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ran_of_the_program_is_told_without_hashes() {
        let profile = "ob=(1) /lib/libc.so.6\nfl=(1) ???\nfn=(1) memcpy\n12 3\ncob=(2) /p/shadowcat\ncfn=(8) main\nob=(2)\n\
            fn=(2) _ZN5tokio7runtime4poll17h0123456789abcdefE\n\
            fn=(9) _RINvMNtCsgEmfK2I1SDS_4core3stre4trimECsjrHSEGnQ3l9_3std\nfn=(10) _RNvCs_3Cs.2709\n\
            fn=(3) _ZN5tokio7runtime4poll17h1123456789abcdefE'2\nfn=(2)\nfn=(8)\nfn=(4) sqlite3Step\nfn=(5) 0x0000123\n\
            ob=(1)\nfn=(6) strlen\nob=(2)\nfn=(7) (below main)\n";
        let found = patterns(profile, Path::new("/p/shadowcat"));
        let names: Vec<_> = found.iter().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "_RINvMNtCs*_4core3stre4trimECs*_3std",
                "_RNvCs*_3Cs*",
                "_ZN5tokio7runtime4poll17h*",
                "main",
                "sqlite3Step"
            ]
        );
        let script = script(&found);
        assert!(
            script.contains("*(.text.sqlite3Step .text.hot.sqlite3Step .text.unlikely.sqlite3Step)\n"),
            "{script}"
        );
        assert!(written(&script).eq(found), "a script tells what it was made of");
        assert!(script.ends_with("INSERT AFTER .eh_frame;\n"));
    }
}

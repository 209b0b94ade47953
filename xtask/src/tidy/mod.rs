//! The house rules that a machine can hold: layers of crates, sizes of files, no open ends.

mod layers;
mod sizes;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::tree;

/// Folders that hold Rust sources of ours.
const SOURCES: [&str; 5] = ["crates", "tests", "bench", "fuzz", "xtask"];

/// Checks every rule, prints what is broken and the largest things, and fails if anything is.
pub(crate) fn run() -> Result<(), Failure> {
    let sources = sources()?;
    let mut faults = layers::faults(tree::root())?;
    faults.extend(sizes::faults(&sources));
    faults.extend(words::faults(&sources));
    print!("{}", sizes::largest(&sources));
    for fault in &faults {
        println!("tidy: {fault}");
    }
    match faults.len() {
        0 => Ok(()),
        broken => Err(Failure::said(format!("{broken} house rules are broken"))),
    }
}

/// A source file, named from the project's folder.
struct Source {
    path: PathBuf,
    text: String,
}

fn sources() -> Result<Vec<Source>, Failure> {
    let mut found = Vec::new();
    for folder in SOURCES {
        let folder = tree::root().join(folder);
        if folder.exists() {
            collect(&folder, &mut found)?;
        }
    }
    found.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn collect(folder: &Path, found: &mut Vec<Source>) -> Result<(), Failure> {
    for entry in fs::read_dir(folder).map_err(Failure::file(folder))? {
        let entry = entry.map_err(Failure::file(folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(Failure::file(&path))?;
        if kind.is_dir() && !is_foreign(&path) {
            collect(&path, found)?;
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).map_err(Failure::file(&path))?;
            let path = path.strip_prefix(tree::root()).unwrap_or(&path).to_owned();
            found.push(Source { path, text });
        }
    }
    Ok(())
}

/// Build output and installed packages are not ours to judge.
fn is_foreign(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || name == "target" || name == "node_modules"
}

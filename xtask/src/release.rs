//! The program as it is shipped: compiled with a profile of what it does all day, and that profile.
//!
//! The compiler learns from it which branches are taken and which calls are worth inlining (profile-guided optimisation, see
//! the rustc book). A profile knows functions by their names, which hold the version of the compiler: with another version it
//! has to be made anew.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::{program, shell, tree};

/// Where the profile is kept, from the project's folder.
const PROFILE: &str = "crates/cli/calls.profdata";
/// Where the build that counts goes, from there: it shares nothing with the others.
const COUNTING: &str = "target/counting";
/// What is measured is what is counted: every kind of call, both ways between the eras, streams, with and without a tape, and past
/// rules.
const WORK: [&[&str]; 2] = [
    &["all", "--quick", "--parts", "calls,bridge,idle", "--systems", "off,on"],
    &["rules", "--parts", "cpu", "--pairs", "3", "--requests", "30000"],
];

/// Builds shadowcat with the profile, and says where it is.
pub(crate) fn build() -> Result<(), Failure> {
    let profile = tree::root().join(PROFILE);
    let mut hasher = DefaultHasher::new();
    fs::read(&profile).map_err(Failure::file(&profile))?.hash(&mut hasher);
    // Cargo does not look into the profile, but builds anew what has other options.
    let which = format!("--cfg=profile=\"{:x}\"", hasher.finish());
    let built = program::built(shadowcat(&[option("-Cprofile-use=", &profile), which.into()]))?;
    println!("{}", built.display());
    Ok(())
}

/// Makes the profile anew: builds a shadowcat that counts, has it do its work, and puts the counts together.
pub(crate) fn profile() -> Result<(), Failure> {
    let merger = merger()?;
    let place = tree::root().join(COUNTING);
    let counts = place.join("counts");
    let mut cargo = shadowcat(&[option("-Cprofile-generate=", &counts)]);
    cargo.arg("--target-dir").arg(&place);
    let counting = program::built(cargo)?;
    // Build scripts and macros have the same options, and have counted what compiling did.
    if counts.exists() {
        fs::remove_dir_all(&counts).map_err(Failure::file(&counts))?;
    }
    for work in WORK {
        let mut bench = Command::new("cargo");
        bench.args(["run", "--release", "--locked", "-p", "shadowcat-bench", "--"]).args(work);
        shell::run(bench.arg("--shadowcat").arg(&counting).current_dir(tree::root()))?;
    }
    let mut merge = Command::new(merger);
    // Of functions that never ran nothing is kept: that is most of them.
    merge.args(["merge", "--sparse", "--output"]).arg(tree::root().join(PROFILE)).arg(&counts);
    shell::run(&mut merge)
}

/// The build of shadowcat with these options of the compiler, and none that the environment names: what is shipped is the same
/// everywhere.
fn shadowcat(options: &[OsString]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "-p", "shadowcat-cli"]).current_dir(tree::root());
    // Paths may have spaces: this form has another separator.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", options.join(OsStr::new("\x1f")));
    cargo
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

/// The toolchain's own `llvm-profdata`: it has to be of the compiler's version.
fn merger() -> Result<PathBuf, Failure> {
    let libraries = shell::read(Command::new("rustc").args(["--print", "target-libdir"]))?;
    // Programs are beside the libraries of their target.
    let found = Path::new(libraries.trim()).with_file_name("bin").join("llvm-profdata");
    if found.exists() {
        return Ok(found);
    }
    Err(Failure::said(format!(
        "{} is missing: `rustup component add llvm-tools` installs it",
        found.display()
    )))
}

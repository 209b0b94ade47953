//! Hands the linker the layout of the program, where it is known to understand it.
//!
//! `layout.ld` names the functions that run when a proxy starts and carries its first messages. Side by side they take fewer
//! pages; ARCHITECTURE.md says what that saves. A program without it is the same program; so whatever speaks
//! against it is no error.
#![expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script what it is about in the environment"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The target whose usual linker is part of the toolchain.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Where it is below the toolchain's root.
const LINKER: &str = "lib/rustlib/x86_64-unknown-linux-gnu/bin/gcc-ld/ld.lld";

fn main() {
    println!("cargo::rerun-if-changed=layout.ld");
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(folder) = variable("CARGO_MANIFEST_DIR")
        && is_release()
        && is_linked_as_usual()
    {
        let layout = Path::new(&folder).join("layout.ld");
        println!("cargo::rustc-link-arg-bins=-T");
        println!("cargo::rustc-link-arg-bins={}", layout.display());
    }
}

/// Whoever builds to debug does not wait for it.
fn is_release() -> bool {
    variable("PROFILE").as_deref() == Some("release")
}

/// Whether it is the toolchain's own linker that will be started, as far as that can be told from here.
fn is_linked_as_usual() -> bool {
    let is_known =
        variable("TARGET").as_deref() == Some(TARGET) && variable("HOST").as_deref() == Some(TARGET);
    let flags = variable("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let mut flags = flags.split('\x1f').map(|flag| flag.trim_start_matches("-C"));
    let is_chosen = variable("RUSTC_LINKER").is_some() || flags.any(|flag| flag.starts_with("link"));
    is_known && !is_chosen && sysroot().is_some_and(|root| root.join(LINKER).exists())
}

fn sysroot() -> Option<PathBuf> {
    let output = Command::new(variable("RUSTC")?).args(["--print", "sysroot"]).output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

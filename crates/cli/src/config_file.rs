//! Reading `shadowcat.yaml` from the disk: how long it may be, and whose it must be to name a program.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use shadowcat_gateway::config::{Interceptor, Loaded};
use shadowcat_gateway::read_once;

use crate::failure::Failure;

/// The variable that names the file.
pub(crate) const VARIABLE: &str = "SHADOWCAT_CONFIG";
const BYTES_MAX: usize = 1024 * 1024;
/// Writable by the group or by everybody.
const OTHERS_WRITE: u32 = 0o022;

/// Reads the file at `path`.
pub(crate) fn read(path: &Path) -> Result<Loaded, Failure> {
    let name = path.display().to_string();
    let failed =
        |cause| Failure::caused(format!("cannot read the configuration file {name}"), cause).into_usage();
    let (text, metadata) = read_once(path, BYTES_MAX).map_err(failed)?;
    let loaded = Loaded::parse(&name, &text).map_err(|mistake| Failure::usage(mistake.to_string()))?;
    if let Some(key) = program(&loaded)
        && let Some(sentence) = distrust(&metadata, rustix::process::geteuid().as_raw())
    {
        let place = loaded.place(&key);
        return Err(Failure::usage(format!("{place}: {sentence}; `chmod go-w {name}`, and own it yourself")));
    }
    Ok(loaded)
}

/// The key that names a program to run, if any does.
fn program(loaded: &Loaded) -> Option<String> {
    if loaded.file.upstream.as_ref().is_some_and(|upstream| upstream.command.is_some()) {
        return Some("upstream.command".to_owned());
    }
    let names_one =
        |interceptor: &Interceptor| interceptor.mcp.as_ref().is_some_and(|server| server.command.is_some());
    let number = loaded.file.interceptors.iter().position(names_one)?;
    Some(format!("interceptors[{number}].mcp.command"))
}

/// Why a file that names a program to run is not to be trusted with that: somebody else could have written it.
fn distrust(metadata: &Metadata, user: u32) -> Option<&'static str> {
    if metadata.uid() != 0 && metadata.uid() != user {
        return Some("a file that names a command must belong to you or to root");
    }
    (metadata.mode() & OTHERS_WRITE != 0)
        .then_some("a file that names a command must not be writable by others")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn read_with(mode: u32, text: &str) -> Result<Loaded, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sc.yaml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        read(&path).map_err(|failure| failure.told())
    }

    #[test]
    fn a_command_counts_only_in_a_file_that_others_cannot_write() {
        let command = "upstream:\n  command: [x]\n";
        assert!(read_with(0o644, command).is_ok());
        for mode in [0o664, 0o646] {
            let told = read_with(mode, command).unwrap_err();
            assert!(told.contains("sc.yaml:2: upstream.command: ") && told.contains("chmod go-w"), "{told}");
        }
        assert!(read_with(0o664, "upstream: {url: 'http://h/'}").is_ok());
        let asked = "interceptors:\n  - name: a\n    mcp:\n      command: [x]\n";
        let told = read_with(0o664, asked).unwrap_err();
        assert!(told.contains("sc.yaml:4: interceptors[0].mcp.command: "), "{told}");
    }

    #[test]
    fn a_file_of_somebody_else_is_not_trusted_with_a_command() {
        let file = tempfile::tempfile().unwrap();
        let metadata = file.metadata().unwrap();
        let is_root = metadata.uid() == 0;
        assert_eq!(distrust(&metadata, metadata.uid() + 1).is_none(), is_root);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let failure = read(Path::new("/nowhere/sc.yaml")).unwrap_err();
        assert!(failure.told().contains("/nowhere/sc.yaml"), "{}", failure.told());
    }

    #[test]
    fn an_endless_file_is_not_read_to_its_end() {
        let told = read_with(0o600, &"#".repeat(2 << 20)).unwrap_err();
        assert!(told.contains("longer than"), "{told}");
    }
}

//! Keys of encrypted tapes: from files that are named, and as the proxy has them.

use std::path::PathBuf;

use shadowcat_gateway::{TapeKey, tape_key};
use shadowcat_tape::Keys;

use crate::data_args::DataArgs;
use crate::failure::Failure;
use crate::process::Process;

const VARIABLE: &str = "SHADOWCAT_KEY_FILE";

// The keys that a command reads tapes with.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct KeyArgs {
    /// File with the key of encrypted tapes; may be given again [env: SHADOWCAT_KEY_FILE] [default: that of `record` in
    /// the configuration file]
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,
}

impl KeyArgs {
    pub(crate) fn keys(&self, data: &DataArgs, process: &Process) -> Result<Keys, Failure> {
        let named = process.path(self.key_file.first(), VARIABLE);
        let mut sources: Vec<TapeKey> = named.map(TapeKey::File).into_iter().collect();
        sources.extend(self.key_file.iter().skip(1).cloned().map(TapeKey::File));
        if sources.is_empty() {
            let written = tape_key(&data.loaded(process)?, &process.variables())
                .map_err(|errors| Failure::usage(errors.to_string()))?;
            sources.extend(written);
        }
        let keys = sources.iter().map(TapeKey::read).collect::<Result<_, _>>();
        keys.map_err(|cause| Failure::caused("the tapes cannot be read", cause).into_usage())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_the_flag_the_variable_or_the_configuration_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name)
        };
        let (one, other) = (file("one", &"ab".repeat(32)), file("other", &"cd".repeat(32)));
        let config = file("sc.yaml", &format!("record: {{encrypt: {{key_file: '{}'}}}}\n", one.display()));
        let data = DataArgs { config: Some(config), data: None };
        let nothing = Process::new([]);
        let flag = |files: &[&PathBuf]| KeyArgs { key_file: files.iter().copied().cloned().collect() };

        let both = flag(&[&one, &other]).keys(&DataArgs::default(), &nothing).unwrap();
        let first = flag(&[&one]).keys(&DataArgs::default(), &nothing).unwrap();
        assert_ne!(both, first);
        assert_eq!(flag(&[]).keys(&data, &nothing).unwrap(), first);
        assert_eq!(flag(&[]).keys(&DataArgs::default(), &nothing).unwrap(), Keys::default());
        let variable = Process::new([(VARIABLE.into(), other.clone().into())]);
        let named = flag(&[]).keys(&data, &variable).unwrap();
        assert_eq!(named, flag(&[&other]).keys(&DataArgs::default(), &nothing).unwrap());

        let bad = flag(&[&file("bad", "hunter2")]).keys(&data, &nothing).unwrap_err().told();
        assert!(bad.contains("holds no key") && !bad.contains("hunter2"), "{bad}");
    }
}

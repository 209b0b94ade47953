//! Where a command that looks at kept things finds them: the flag, the variable, the file, as for `reverse`.

use std::path::{Path, PathBuf};

use shadowcat_admin::NOTICE_FILE;
use shadowcat_gateway::config::Loaded;
use shadowcat_gateway::{SESSION_FILE, TAPES_DIR};

use crate::config_file;
use crate::failure::Failure;
use crate::process::Process;
use crate::record::DATA_DIR;

// Flags that name the data directory.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct DataArgs {
    /// Data directory of the proxy [env: SHADOWCAT_DATA]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,
    /// Configuration file that names the directory [env: SHADOWCAT_CONFIG]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
}

impl DataArgs {
    /// The file of the sessions.
    pub(crate) fn sessions(&self, process: &Process) -> Result<PathBuf, Failure> {
        let data = self.named(process)?;
        let data = data.ok_or_else(|| Failure::usage("sessions: which ones? give `--data DIR`"))?;
        Ok(data.join(SESSION_FILE))
    }

    /// The directory of the tapes; `record` is the flag that names it.
    pub(crate) fn tapes(&self, record: Option<&PathBuf>, process: &Process) -> Result<PathBuf, Failure> {
        let dir = self.named_tapes(record, process)?;
        dir.ok_or_else(|| Failure::usage("tape: which ones? give `--record DIR` or `--data DIR`"))
    }

    /// The same. If nobody names a directory, it is in the one that `record` and `demo` have.
    pub(crate) fn tapes_or_usual(&self, process: &Process) -> Result<PathBuf, Failure> {
        Ok(self.named_tapes(None, process)?.unwrap_or_else(|| Path::new(DATA_DIR).join(TAPES_DIR)))
    }

    fn named_tapes(&self, record: Option<&PathBuf>, process: &Process) -> Result<Option<PathBuf>, Failure> {
        if let Some(dir) = process.path(record, "SHADOWCAT_RECORD") {
            return Ok(Some(dir));
        }
        let loaded = self.loaded(process)?;
        let written = loaded.file.record.as_ref().and_then(|record| record.dir.clone());
        Ok(written.or_else(|| self.data(process, &loaded).map(|data| data.join(TAPES_DIR))))
    }

    /// The file that says where a running proxy is. If nobody names a directory, it is the one that `record` and `demo` have.
    pub(crate) fn notice(&self, process: &Process) -> Result<PathBuf, Failure> {
        let data = self.named(process)?;
        Ok(data.unwrap_or_else(|| PathBuf::from(DATA_DIR)).join(NOTICE_FILE))
    }

    /// The directory itself, if one is named.
    pub(crate) fn named(&self, process: &Process) -> Result<Option<PathBuf>, Failure> {
        Ok(self.data(process, &self.loaded(process)?))
    }

    /// The configuration file, if one is named.
    pub(crate) fn loaded(&self, process: &Process) -> Result<Loaded, Failure> {
        match process.path(self.config.as_ref(), config_file::VARIABLE) {
            Some(path) => config_file::read(&path),
            None => Ok(Loaded::default()),
        }
    }

    fn data(&self, process: &Process, loaded: &Loaded) -> Option<PathBuf> {
        process.path(self.data.as_ref(), "SHADOWCAT_DATA").or_else(|| loaded.file.data.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_variable() {
        let process = Process::new([("SHADOWCAT_DATA".into(), "/variable".into())]);
        let flag = DataArgs { data: Some("/flag".into()), config: None };
        assert_eq!(flag.sessions(&process).unwrap(), Path::new("/flag/sessions.db"));
        let nothing = DataArgs::default();
        assert_eq!(nothing.tapes(None, &process).unwrap(), Path::new("/variable/tapes"));
        assert_eq!(nothing.tapes(Some(&"/tapes".into()), &process).unwrap(), Path::new("/tapes"));
        let nobody = Process::new([]);
        assert!(nothing.sessions(&nobody).is_err() && nothing.tapes(None, &nobody).is_err());
        assert_eq!(nothing.tapes_or_usual(&process).unwrap(), Path::new("/variable/tapes"));
        assert_eq!(nothing.tapes_or_usual(&nobody).unwrap(), Path::new(".shadowcat/tapes"));
    }
}

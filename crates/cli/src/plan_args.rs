//! The flags of every command that starts a proxy, and the plan they lead to.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use shadowcat_gateway::config::Loaded;
use shadowcat_gateway::{Face, Level, LogFormat, Overrides, Plan, TAPES_DIR, Target};

use crate::config_file;
use crate::data_args::DataArgs;
use crate::failure::Failure;
use crate::process::Process;
use crate::run::Workers;

// Flags of `reverse` and `forward`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct PlanArgs {
    /// Configuration file [env: SHADOWCAT_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory for what outlives the process: sessions and tapes [env: SHADOWCAT_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Record every message on tapes in this directory [env: SHADOWCAT_RECORD]
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Rules that say what is done with which messages; may be given again [env: SHADOWCAT_RULES]
    #[arg(long, value_name = "FILE")]
    rules: Vec<PathBuf>,
    /// Serve the admin API here, such as 127.0.0.1:0; `shadowcat pause` finds it by --data [env: SHADOWCAT_ADMIN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<String>,
    /// Hold the messages that fit this filter until somebody decides; may be given again
    #[arg(long = "break", value_name = "FILTER")]
    breaks: Vec<String>,
    /// End a request when its upstream is silent for this long, such as 30s [env: SHADOWCAT_REQUEST_TIMEOUT]
    #[arg(long, value_name = "TIME")]
    request_timeout: Option<String>,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    pub(crate) workers: Workers,
}

// Flags about the program's own log.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct LogArgs {
    /// The least important kind of line in the log on stderr [env: SHADOWCAT_LOG]
    #[arg(long, value_name = "LEVEL", value_parser = levels())]
    pub(crate) log_level: Option<Level>,
    /// How a line of the log is written [env: SHADOWCAT_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    pub(crate) log_format: Option<LogFormat>,
}

impl PlanArgs {
    /// The plan of these flags, the variables and the file.
    pub(crate) fn plan(
        &self,
        face: Face,
        listen: Option<String>,
        upstream: Option<Target>,
        process: &Process,
    ) -> Result<Plan, Failure> {
        let loaded = self.loaded(process)?;
        Self::resolved(face, &Overrides { listen, upstream, ..self.flags() }, &loaded, process)
    }

    /// The same without a listener, recorded in any case: in `otherwise` where nobody names a directory.
    pub(crate) fn recording(
        &self,
        face: Face,
        upstream: Option<Target>,
        otherwise: &Path,
        process: &Process,
    ) -> Result<Plan, Failure> {
        let loaded = self.loaded(process)?;
        let written = loaded.file.record.as_ref().and_then(|record| record.dir.clone());
        let data = process.path(self.data.as_ref(), "SHADOWCAT_DATA").or_else(|| loaded.file.data.clone());
        let record = process
            .path(self.record.as_ref(), "SHADOWCAT_RECORD")
            .or(written)
            .unwrap_or_else(|| data.map_or_else(|| otherwise.to_owned(), |data| data.join(TAPES_DIR)));
        Self::resolved(face, &Overrides { upstream, record: Some(record), ..self.flags() }, &loaded, process)
    }

    fn loaded(&self, process: &Process) -> Result<Loaded, Failure> {
        match process.path(self.config.as_ref(), config_file::VARIABLE) {
            Some(path) => config_file::read(&path),
            None => Ok(Loaded::default()),
        }
    }

    fn flags(&self) -> Overrides {
        Overrides {
            data: self.data.clone(),
            record: self.record.clone(),
            rules: self.rules.clone(),
            admin: self.admin.clone(),
            breaks: self.breaks.clone(),
            request_timeout: self.request_timeout.clone(),
            log_level: self.log.log_level,
            log_format: self.log.log_format,
            ..Overrides::default()
        }
    }

    fn resolved(face: Face, flags: &Overrides, loaded: &Loaded, process: &Process) -> Result<Plan, Failure> {
        Plan::resolve(face, flags, loaded, &process.variables())
            .map_err(|errors| Failure::usage(errors.to_string()))
    }
}

impl PlanArgs {
    /// Where tapes are found.
    pub(crate) fn data_args(&self) -> DataArgs {
        DataArgs { data: self.data.clone(), config: self.config.clone() }
    }

    /// For commands that are over soon: only what is wrong is logged, unless somebody wants to hear more.
    pub(crate) fn quieten(&self, plan: &mut Plan, process: &Process) {
        if self.log.log_level.is_none() && process.variable("SHADOWCAT_LOG").is_none() {
            plan.log.level = Level::Error;
        }
    }
}

/// The words after `--`, or a URL.
pub(crate) fn target(url: Option<String>, command: Vec<OsString>) -> Option<Target> {
    if command.is_empty() { url.map(Target::Url) } else { Some(Target::Command(command)) }
}

fn levels() -> impl clap::builder::TypedValueParser<Value = Level> {
    PossibleValuesParser::new(Level::WORDS).try_map(|word| Level::parse(&word).ok_or("no level"))
}

fn formats() -> impl clap::builder::TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(LogFormat::WORDS).try_map(|word| LogFormat::parse(&word).ok_or("no format"))
}

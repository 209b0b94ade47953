//! What is said outside the file: on the command line, and in variables of the environment.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::Playing;
use crate::config::{Level, LogFormat, Variables};

/// The upstream as it is named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `--upstream URL`.
    Url(String),
    /// `-- CMD ARGS…`.
    Command(Vec<OsString>),
}

/// Flags as they were given; each wins over its variable, which wins over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--listen`, over `SHADOWCAT_LISTEN`.
    pub listen: Option<String>,
    /// `--upstream` or the words after `--`, over `SHADOWCAT_UPSTREAM`.
    pub upstream: Option<Target>,
    /// Tapes in the place of the upstream, which is then the server asked beyond them, and said by a flag or not at all.
    pub tape: Option<Playing>,
    /// `--data`, over `SHADOWCAT_DATA`.
    pub data: Option<PathBuf>,
    /// `--record`, over `SHADOWCAT_RECORD`.
    pub record: Option<PathBuf>,
    /// `--rules`, over `SHADOWCAT_RULES`.
    pub rules: Vec<PathBuf>,
    /// `--admin`, over `SHADOWCAT_ADMIN`.
    pub admin: Option<String>,
    /// `--break`: messages that are held, besides those of the file.
    pub breaks: Vec<String>,
    /// `--request-timeout`, over `SHADOWCAT_REQUEST_TIMEOUT`.
    pub request_timeout: Option<String>,
    /// `--log-level`, over `SHADOWCAT_LOG`.
    pub log_level: Option<Level>,
    /// `--log-format`, over `SHADOWCAT_LOG_FORMAT`.
    pub log_format: Option<LogFormat>,
}

/// Where a value comes from, to be named when it is wrong.
pub(super) struct Said<T> {
    pub(super) value: T,
    pub(super) place: String,
}

/// The flag, else the variable.
pub(super) fn said<T: Clone>(
    flag: (&str, Option<&T>),
    variable: (&str, &Variables),
    read: impl FnOnce(&OsStr) -> T,
) -> Option<Said<T>> {
    let (name, value) = flag;
    if let Some(value) = value {
        return Some(Said { value: value.clone(), place: name.to_owned() });
    }
    let (name, variables) = variable;
    let value = variables.get(name)?;
    Some(Said { value: read(value), place: name.to_owned() })
}

/// Text of a variable. What is not UTF-8 becomes text that no parser takes, and is reported by the one that reads it.
pub(super) fn text(value: &OsStr) -> String {
    value.to_string_lossy().into_owned()
}

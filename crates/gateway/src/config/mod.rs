//! What was written in `shadowcat.yaml`: its words, its units, and what is wrong with it and where.
//!
//! Nothing here has a default or a meaning; both are given by [`crate::Plan`]. Nothing here reads a disk.

mod auth;
mod cache;
mod file;
mod interceptors;
mod keys;
mod mistake;
mod outline;
mod pause;
mod secret;
mod telemetry;
mod variables;

use serde::de::DeserializeOwned;

pub use auth::{Auth, Issuer, Token};
pub use cache::Cache;
pub use file::{
    Admin, Always, BridgeSessions, Encrypt, Environment as UpstreamEnvironment, File, Http, Keep, Level,
    Limits, Log, LogFormat, Record, Rotate, RuleFile, Sample, Secrets, Sessions, Store, Timeouts, Upstream,
};
pub use interceptors::{Breaker, Interceptor, InterceptorServer, Webhook};
pub use keys::Keys;
pub use mistake::Mistake;
pub use pause::{Approval, Approver, Breakpoint, Pause};
pub use secret::Secret;
use shadowcat_rules::written::Rule;
pub use shadowcat_rules::written::{ByteSize, Span};
pub use telemetry::Telemetry;
pub use variables::Variables;
pub(crate) use variables::expand;

/// A file as it was read, with its text for telling where a key stands.
#[derive(Debug, Default)]
pub struct Loaded<F = File> {
    /// How the operator calls the file.
    pub path: String,
    /// What is written in it.
    pub file: F,
    /// What the keys of a configuration are set to, as it is written.
    pub(crate) keys: Keys,
    outline: outline::Outline,
}

impl Loaded {
    /// Reads the text of the file at `path`.
    pub fn parse(path: &str, text: &str) -> Result<Self, Mistake> {
        Ok(Self { keys: Keys::of(text), ..Self::read(path, text)? })
    }

    /// The rules that are written in it.
    pub(crate) fn into_rules(self) -> Loaded<RuleFile> {
        let file = RuleFile { rules: self.file.rules };
        Loaded { path: self.path, file, keys: self.keys, outline: self.outline }
    }
}

impl Loaded<RuleFile> {
    /// Reads the text of the file of rules at `path`.
    pub fn parse_rules(path: &str, text: &str) -> Result<Self, Mistake> {
        Self::read(path, text)
    }
}

impl From<Vec<Rule>> for Loaded<RuleFile> {
    /// Rules that were read already.
    fn from(rules: Vec<Rule>) -> Self {
        Self { file: RuleFile { rules }, ..Self::default() }
    }
}

impl<F: Default + DeserializeOwned> Loaded<F> {
    fn read(path: &str, text: &str) -> Result<Self, Mistake> {
        let outline = outline::Outline::of(text);
        let options = serde_saphyr::options! { with_snippet: false };
        match serde_saphyr::from_str_with_options::<Option<F>>(text, options) {
            Ok(file) => {
                let (path, file) = (path.to_owned(), file.unwrap_or_default());
                Ok(Self { path, file, keys: Keys::default(), outline })
            }
            Err(cause) => Err(Mistake::new(path, &cause, &outline)),
        }
    }
}

impl<F> Loaded<F> {
    /// Where a key stands, as `path:line: key`.
    pub fn place(&self, key: &str) -> String {
        match self.outline.line_of(key) {
            Some(line) => format!("{}:{line}: {key}", self.path),
            None => format!("{}: {key}", self.path),
        }
    }
}

/// The JSON schema of the file, for editors.
pub fn schema() -> String {
    let schema = schemars::schema_for!(File);
    format!("{:#}", schema.as_value())
}

#[cfg(test)]
mod tests;

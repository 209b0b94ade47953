//! HTTP endpoints that are asked about messages: where they are, what proves to them who asks, and how much they are asked.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use shadowcat_interceptors::external::webhook::{BadSecret, Secret};
use shadowcat_interceptors::external::{BreakerPolicy, Limits};
use shadowcat_rules::written::{ByteSize, Span};

use super::problems::Problems;
use super::upstream::target;
use super::{Remote, UpstreamTarget};
use crate::config::{self, Loaded, Variables, expand};
use crate::files;

const CONCURRENCY_MAX: usize = 64;
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An HTTP endpoint that is asked about messages.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where it is.
    pub remote: Remote,
    /// What questions are signed with.
    pub secret: Option<HookSecret>,
    /// The largest question and the largest answer.
    pub body_bytes_max: usize,
}

/// Where the secret of a webhook comes from.
#[derive(Clone, Debug)]
pub enum HookSecret {
    /// It was given.
    Given(Secret),
    /// It is in this file.
    File(PathBuf),
}

/// Why the secret of a webhook cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HookSecretError {
    /// The file cannot be read.
    #[error("the secret file {path} cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no secret in it.
    #[error("the secret file {path} holds no secret")]
    Bad {
        /// The file.
        path: PathBuf,
        /// What would be one.
        source: BadSecret,
    },
}

impl HookSecret {
    /// Reads the file, if it is in one.
    ///
    /// # Errors
    /// When there is no secret in it.
    pub fn read(&self) -> Result<Secret, HookSecretError> {
        match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let (text, _) = files::read_once(path, files::SECRET_BYTES_MAX)
                    .map_err(|source| HookSecretError::File { path: path.clone(), source })?;
                Secret::parse(&text).map_err(|source| HookSecretError::Bad { path: path.clone(), source })
            }
        }
    }
}

/// Somebody who is asked, as he is read: at this place of the file.
pub(super) struct Reading<'a> {
    pub(super) at: String,
    pub(super) loaded: &'a Loaded,
    pub(super) variables: &'a Variables,
}

impl Reading<'_> {
    pub(super) fn place(&self, key: &str) -> String {
        self.loaded.place(&format!("{}.{key}", self.at))
    }

    /// How much he is asked; each question may take so long unless something else is written.
    pub(super) fn limits(&self, written: &Written<'_>, timeout: Duration, problems: &mut Problems) -> Limits {
        let breaker = BreakerPolicy::default();
        let failures_max = written.breaker.failures.unwrap_or(breaker.failures_max);
        if failures_max == 0 {
            problems.add(self.place("breaker.failures"), "expected 1 or more");
        }
        let concurrency_max = written.concurrency.unwrap_or(CONCURRENCY_MAX);
        if concurrency_max == 0 {
            problems.add(self.place("concurrency"), "expected 1 or more");
        }
        let pause = written.breaker.pause.map_or(breaker.pause, Span::get);
        Limits {
            timeout: written.timeout.map_or(timeout, Span::get),
            concurrency_max,
            breaker: BreakerPolicy { failures_max, pause },
        }
    }

    pub(super) fn webhook(&self, webhook: &config::Webhook, problems: &mut Problems) -> Option<Webhook> {
        let at = format!("{}.webhook", self.at);
        let written = config::Upstream {
            url: Some(webhook.url.clone()),
            headers: webhook.headers.clone(),
            ca_file: webhook.ca_file.clone(),
            ..config::Upstream::default()
        };
        let secret = self.secret(webhook, problems);
        let UpstreamTarget::Http(remote) =
            target((&at, "url"), &written, self.loaded, self.variables, problems)?
        else {
            problems.add(self.place("webhook.url"), "expected `http(s)://HOST/PATH`");
            return None;
        };
        let body_bytes_max = webhook.body.map_or(BODY_BYTES_MAX, ByteSize::bytes);
        Some(Webhook { remote, secret, body_bytes_max })
    }

    fn secret(&self, webhook: &config::Webhook, problems: &mut Problems) -> Option<HookSecret> {
        let place = self.place("webhook.secret");
        match (&webhook.secret, &webhook.secret_file) {
            (None, None) => None,
            (None, Some(file)) => Some(HookSecret::File(file.clone())),
            (Some(_), Some(_)) => {
                problems.add(place, "is written beside `secret_file`; keep one of them");
                None
            }
            (Some(text), None) => {
                if !text.reveal().starts_with("${") {
                    problems.add(
                        place,
                        "is written in clear; take it from a variable as `${NAME}`, or use `secret_file`",
                    );
                    return None;
                }
                let text = problems.take(place.clone(), expand(text.reveal(), self.variables))?;
                problems.take(place, Secret::parse(&text)).map(HookSecret::Given)
            }
        }
    }
}

/// What is written of how much somebody is asked.
pub(super) struct Written<'a> {
    pub(super) timeout: Option<Span>,
    pub(super) concurrency: Option<usize>,
    pub(super) breaker: &'a config::Breaker,
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_secret_file_without_a_secret_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hook.secret");
        let fault = HookSecret::File(path.clone()).read().unwrap_err();
        assert!(fault.to_string().contains("hook.secret cannot be read"), "{fault}");
        fs::write(&path, "short").unwrap();
        assert!(HookSecret::File(path.clone()).read().unwrap_err().to_string().contains("holds no secret"));
        fs::write(&path, "0123456789abcdef\n").unwrap();
        assert!(HookSecret::File(path).read().is_ok());
    }
}

//! How a command fails: one sentence with its place and the way out, the causes below it, and an exit code.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    sentence: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// It went wrong: exit code 1.
    pub(crate) fn plain(sentence: impl Into<String>) -> Self {
        Self { code: 1, sentence: sentence.into(), cause: None }
    }

    /// What was found, or that nothing was, has been told as the result, and is a failure for whoever asks by the exit
    /// code: 1.
    pub(crate) fn told_already() -> Self {
        Self::plain("")
    }

    /// It went wrong because something else did: exit code 1.
    pub(crate) fn caused(
        sentence: impl Into<String>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { code: 1, sentence: sentence.into(), cause: Some(cause.into()) }
    }

    /// The command line, the environment or the file is wrong: exit code 2.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self { code: 2, sentence: sentence.into(), cause: None }
    }

    /// The same, as a fault of the command line, the environment or the file.
    pub(crate) fn into_usage(self) -> Self {
        Self { code: 2, ..self }
    }

    /// What went wrong, without its causes.
    pub(crate) fn sentence(&self) -> &str {
        &self.sentence
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    /// What is told on stderr: a line for each problem, and its causes.
    pub(crate) fn told(&self) -> String {
        let mut told = String::new();
        for line in self.sentence.lines() {
            writeln!(told, "shadowcat: {line}").ok();
        }
        let mut cause = self.cause.as_deref().map(|cause| cause as &dyn Error);
        while let Some(current) = cause {
            writeln!(told, "  because: {current}").ok();
            cause = current.source();
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_stand_below_the_sentence() {
        let failure = Failure::caused("cannot read a.yaml", std::io::Error::other("the disk is gone"));
        assert_eq!(failure.told(), "shadowcat: cannot read a.yaml\n  because: the disk is gone\n");
    }
}

//! One message taken to all interceptors of a server that it concerns. The proxy stands on the sending side of what it passes
//! on: requests are changed first and judged as they leave, answers are judged as they came and changed then.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::catalog::{Catalog, Descriptor, Phase, Role};
use super::words::{self, Finding};
use super::{INVOKE, Link, Mcp};
use crate::external::millis;
use crate::external::verdict::{Failure, Matter, Opinion, Verdict, edited};
use shadowcat_rules::written::Fail;

pub(super) struct Round<'a> {
    mcp: &'a Mcp,
    matter: &'a Matter,
    phase: Phase,
    time: Duration,
    /// As the mutators so far have made it, once one has.
    payload: Option<String>,
    passed_over: Vec<Failure>,
    lost: u64,
}

impl<'a> Round<'a> {
    pub(super) fn new(mcp: &'a Mcp, matter: &'a Matter, phase: Phase, time: Duration) -> Self {
        Self { mcp, matter, phase, time, payload: None, passed_over: Vec::new(), lost: 0 }
    }

    pub(super) async fn go(mut self, catalog: &Catalog) -> Result<Opinion, Failure> {
        let event = self.matter.method();
        let mutators = catalog.mutators(event, self.phase);
        let validators = catalog.validators(event, self.phase);
        if self.phase == Phase::Request {
            self.mutate(&mutators).await?;
        }
        let refused = self.validate(&validators).await?;
        if let Some(reason) = refused {
            return Ok(self.opinion(Verdict::Block(Some(reason))));
        }
        if self.phase == Phase::Response {
            self.mutate(&mutators).await?;
        }
        let verdict = self.outcome()?;
        Ok(self.opinion(verdict))
    }

    fn opinion(self, verdict: Verdict) -> Opinion {
        Opinion { verdict, passed_over: self.passed_over, lost: self.lost }
    }

    /// One after the other, each with what those before it made.
    async fn mutate(&mut self, mutators: &[&Descriptor]) -> Result<(), Failure> {
        for mutator in mutators {
            if mutator.is_audit {
                self.tell(mutator);
                continue;
            }
            let changed = match self.invoke(mutator).await {
                Ok(result) => words::mutated(&result).map_err(|failure| of(mutator, &failure)),
                Err(failure) => Err(failure),
            };
            match changed {
                Ok(Some(payload)) => self.payload = Some(payload),
                Ok(None) => {}
                Err(failure) => self.pass_over(mutator, failure)?,
            }
        }
        Ok(())
    }

    /// All at one time, and all to their end. The reason to refuse, if any of them has one.
    async fn validate(&mut self, validators: &[&Descriptor]) -> Result<Option<String>, Failure> {
        let (told, asked): (Vec<_>, Vec<_>) = validators.iter().partition(|validator| validator.is_audit);
        for validator in told {
            self.tell(validator);
        }
        let answers = join_all(asked.iter().map(|validator| self.invoke(validator))).await;
        let (mut refused, mut failed) = (None, None);
        for (validator, answer) in asked.into_iter().zip(answers) {
            let found =
                answer.and_then(|result| words::finding(&result).map_err(|failure| of(validator, &failure)));
            match found {
                Ok(Finding::Valid) => {}
                Ok(Finding::Noted(sentence)) => note(validator, &sentence),
                Ok(Finding::Refused(sentence)) => {
                    refused.get_or_insert_with(|| reason(validator, &sentence));
                }
                Err(failure) => {
                    if let Err(failure) = self.pass_over(validator, failure) {
                        failed.get_or_insert(failure);
                    }
                }
            }
        }
        match (refused, failed) {
            (None, Some(failure)) => Err(failure),
            (refused, _) => Ok(refused),
        }
    }

    /// A failure of one that may fail is noted; of any other it is that of all.
    fn pass_over(&mut self, failing: &Descriptor, failure: Failure) -> Result<(), Failure> {
        let fails_open = self.mcp.settings.fail.map_or(failing.fails_open, |fail| fail == Fail::Open);
        if !fails_open {
            return Err(failure);
        }
        self.passed_over.push(failure);
        Ok(())
    }

    fn params(&self, asked: &Descriptor) -> Result<String, Failure> {
        let payload = self.payload.as_deref().unwrap_or_else(|| words::payload(&self.matter.message));
        let config = self.mcp.settings.config.get(&asked.name).map(String::as_str);
        words::invocation(&asked.name, self.matter, self.phase, payload, config, millis(self.time))
    }

    async fn invoke(&self, asked: &Descriptor) -> Result<String, Failure> {
        let params = self.params(asked)?;
        invoke(&*self.mcp.link, &params, self.time).await.map_err(|failure| of(asked, &failure))
    }

    /// Tells one in audit mode, whose answer is only noted.
    fn tell(&mut self, told: &Descriptor) {
        let Ok(params) = self.params(told) else { return };
        let (link, told, time) = (Arc::clone(&self.mcp.link), told.clone(), self.time);
        let is_taken = self.mcp.telling.tell(params.len(), async move {
            match invoke(&*link, &params, time).await.and_then(|result| shadow(&told, &result)) {
                Ok(None) => {}
                Ok(Some(sentence)) => note(&told, &sentence),
                Err(failure) => {
                    tracing::warn!(interceptor = told.name, %failure, "an interceptor in audit mode failed");
                }
            }
        });
        self.lost += u64::from(!is_taken);
    }

    fn outcome(&self) -> Result<Verdict, Failure> {
        let original = &self.matter.message;
        match &self.payload {
            Some(payload) if payload != words::payload(original) => {
                let text = words::with_payload(original, payload).text().clone();
                let text =
                    std::str::from_utf8(&text).map_err(|error| Failure::nonsense(error.to_string()))?;
                edited(original, text, &self.mcp.settings.limits).map(Verdict::Modify)
            }
            _ => Ok(Verdict::Continue),
        }
    }
}

async fn invoke(link: &dyn Link, params: &str, time: Duration) -> Result<String, Failure> {
    let answer = timeout(time, link.ask(INVOKE, params)).await;
    words::result(&answer.unwrap_or_else(|_| Err(Failure::timeout(time)))?)
}

/// What one in audit mode would have done.
fn shadow(told: &Descriptor, result: &str) -> Result<Option<String>, Failure> {
    match told.role {
        Role::Mutation => Ok(words::mutated(result)?.map(|_| "would have changed it".to_owned())),
        Role::Validation => Ok(match words::finding(result)? {
            Finding::Valid => None,
            Finding::Noted(sentence) | Finding::Refused(sentence) => Some(sentence),
        }),
    }
}

fn note(by: &Descriptor, sentence: &str) {
    tracing::info!(interceptor = by.name, sentence, "an interceptor noted something");
}

fn reason(by: &Descriptor, sentence: &str) -> String {
    match sentence {
        "" => format!("refused by the interceptor {}", by.name),
        sentence => format!("{}: {sentence}", by.name),
    }
}

fn of(asked: &Descriptor, failure: &Failure) -> Failure {
    Failure::new(failure.reason, format!("{}: {}", asked.name, failure.sentence))
}

//! One message taken to all interceptors of a server that it concerns. The proxy stands on the sending side of what it passes
//! on: requests are changed first and judged as they leave, answers are judged as they came and changed then.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use shadowcat_pipeline::ExchangeId;
use shadowcat_rules::written::Fail;
use tokio::time::timeout;

use super::catalog::{Catalog, Descriptor, Phase, Role};
use super::subject::{Subject, subjects};
use super::words::{self, Finding};
use super::{INVOKE, Link, Mcp};
use crate::external::millis;
use crate::external::verdict::{Failure, Matter, Opinion, Verdict, edited};

pub(super) struct Round<'a> {
    mcp: &'a Mcp,
    matter: &'a Matter,
    time: Duration,
    /// What is asked about now, and its payload as the mutators so far have made it.
    subject: &'a Subject,
    payload: String,
    passed_over: Vec<Failure>,
    lost: u64,
}

/// Takes a message to all that any of its subjects concerns.
pub(super) async fn go(
    mcp: &Mcp,
    matter: &Matter,
    catalog: &Catalog,
    time: Duration,
) -> Result<Opinion, Failure> {
    let original = words::payload(&matter.message);
    let mut whole = original.to_owned();
    let (mut passed_over, mut lost) = (Vec::new(), 0);
    for subject in &subjects(&matter.message, matter.method(), original)? {
        let payload = subject.payload(&whole).to_owned();
        let before = payload.clone();
        let mut round = Round { mcp, matter, time, subject, payload, passed_over, lost };
        let refused = round.go(catalog).await?;
        (passed_over, lost) = (round.passed_over, round.lost);
        if let Some(reason) = refused {
            return Ok(Opinion { verdict: Verdict::Block(Some(reason)), passed_over, lost });
        }
        if round.payload != before {
            whole = subject.changed(&whole, round.payload)?;
        }
    }
    let verdict = if whole == original { Verdict::Continue } else { modified(mcp, matter, &whole)? };
    Ok(Opinion { verdict, passed_over, lost })
}

fn modified(mcp: &Mcp, matter: &Matter, payload: &str) -> Result<Verdict, Failure> {
    let changed = words::with_payload(&matter.message, payload);
    edited(&matter.message, changed.as_str(), &mcp.settings.limits).map(Verdict::Modify)
}

impl Round<'_> {
    /// The reason to refuse, if there is one.
    async fn go(&mut self, catalog: &Catalog) -> Result<Option<String>, Failure> {
        let (event, phase) = (&self.subject.event, self.subject.phase);
        let mutators = catalog.mutators(event, phase);
        let validators = catalog.validators(event, phase);
        if phase == Phase::Request {
            self.mutate(&mutators).await?;
        }
        let refused = self.validate(&validators).await?;
        if phase == Phase::Response && refused.is_none() {
            self.mutate(&mutators).await?;
        }
        Ok(refused)
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
                Ok(Some(payload)) => self.payload = payload,
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
                Ok(Finding::Noted(sentence)) => note(self.matter.origin.exchange, validator, &sentence),
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
        let config = self.mcp.settings.config.get(&asked.name).map(String::as_str);
        words::invocation(&asked.name, self.matter, self.subject, &self.payload, config, millis(self.time))
    }

    async fn invoke(&self, asked: &Descriptor) -> Result<String, Failure> {
        let params = self.params(asked)?;
        invoke(&*self.mcp.link, &params, self.time).await.map_err(|failure| of(asked, &failure))
    }

    /// Tells one in audit mode, whose answer is only noted.
    fn tell(&mut self, told: &Descriptor) {
        let Ok(params) = self.params(told) else { return };
        let (link, told, time) = (Arc::clone(&self.mcp.link), told.clone(), self.time);
        let exchange = self.matter.origin.exchange;
        let is_taken = self.mcp.telling.tell(params.len(), async move {
            match invoke(&*link, &params, time).await.and_then(|result| shadow(&told, &result)) {
                Ok(None) => {}
                Ok(Some(sentence)) => note(exchange, &told, &sentence),
                Err(failure) => {
                    tracing::warn!(%exchange, interceptor = told.name, %failure, "an interceptor in audit mode failed");
                }
            }
        });
        self.lost += u64::from(!is_taken);
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

fn note(exchange: ExchangeId, by: &Descriptor, sentence: &str) {
    tracing::info!(%exchange, interceptor = by.name, sentence, "an interceptor noted something");
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

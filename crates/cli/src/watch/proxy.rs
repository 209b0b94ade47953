//! A running proxy as the source: messages from its live feed, what waits, and the hands into it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use shadowcat_admin::forms;
use shadowcat_pipeline::Direction;
use shadowcat_protocol::sse;
use shadowcat_tape::Frame;
use shadowcat_watch::{Breakpoint, Event, Feed, Hands, Held, HeldText, Source, Standing, Verdict, ViewEnded};
use time::OffsetDateTime;
use tokio::runtime::{Builder, Runtime};

use crate::admin_client::{Admin, AdminArgs, Messages};
use crate::failure::Failure;
use crate::pause::decide::only;
use crate::pause::edit::checked;
use crate::process::Process;

/// How often the end of the view is looked for while nothing comes.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long the proxy may take for what a person has asked: the view stands still for so long.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The way to a proxy.
#[derive(Clone)]
struct Way {
    admin: Arc<Admin>,
    runtime: Arc<Runtime>,
}

/// A proxy that runs.
pub(super) struct Proxy {
    way: Way,
    name: String,
}

impl Proxy {
    /// The one that is meant, if it answers.
    pub(super) fn find(args: &AdminArgs, process: &Process) -> Result<Self, Failure> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|cause| Failure::caused("cannot start a thread", cause))?;
        let (admin, status) = runtime.block_on(async {
            let admin = Admin::find(args, process)?;
            let status: forms::Status = admin.get("/v1/status").await?;
            Ok::<_, Failure>((admin, status))
        })?;
        // The first line of a narrow screen has room for the address alone.
        let listen = status.listen.unwrap_or_else(|| "stdio".to_owned());
        let listen = listen.trim_start_matches("http://").trim_end_matches("/mcp");
        let way = Way { admin: Arc::new(admin), runtime: Arc::new(runtime) };
        Ok(Self { way, name: format!("{} on {listen}", status.upstream) })
    }
}

impl Source for Proxy {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn hands(&self) -> Option<Box<dyn Hands>> {
        Some(Box::new(self.way.clone()))
    }

    fn feed(self: Box<Self>, feed: &Feed) -> Result<(), ViewEnded> {
        let Way { admin, runtime } = &self.way;
        runtime.block_on(async {
            let standing = match follow(admin, feed).await? {
                Ok(()) => "the proxy has ended".to_owned(),
                Err(failure) => failure.sentence().to_owned(),
            };
            feed.tell(Event::Standing(Standing::Broken(standing)))
        })
    }
}

/// Tells what passes until the proxy ends.
async fn follow(admin: &Admin, feed: &Feed) -> Result<Result<(), Failure>, ViewEnded> {
    // First of all, so that nothing comes between.
    let mut messages = match admin.messages().await {
        Ok(messages) => messages,
        Err(failure) => return Ok(Err(failure)),
    };
    for told in [all_held(admin).await, breakpoints(admin).await.map(Event::Breakpoints)] {
        match told {
            Ok(event) => feed.tell(event)?,
            Err(failure) => return Ok(Err(failure)),
        }
    }
    feed.tell(Event::Standing(Standing::Following))?;
    loop {
        match next(&mut messages, feed).await? {
            Ok(Some(event)) => match told(admin, &event).await {
                Ok(event) => feed.tell(event)?,
                Err(failure) => return Ok(Err(failure)),
            },
            Ok(None) => return Ok(Ok(())),
            Err(failure) => return Ok(Err(failure)),
        }
    }
}

async fn next(
    messages: &mut Messages,
    feed: &Feed,
) -> Result<Result<Option<sse::Event>, Failure>, ViewEnded> {
    loop {
        match tokio::time::timeout(LOOK_EVERY, messages.next()).await {
            Ok(next) => return Ok(next),
            Err(_) => feed.wait(Duration::ZERO)?,
        }
    }
}

async fn told(admin: &Admin, event: &sse::Event) -> Result<Event, Failure> {
    let data = event.data.as_deref().unwrap_or_default();
    let unknown = || Event::Gap("an event of another version of shadowcat".to_owned());
    Ok(match event.kind.as_deref() {
        None => {
            let text = std::str::from_utf8(data).unwrap_or_default();
            match Frame::parse(text) {
                Ok(frame) => Event::Frame { tape: 0, frame: Box::new(frame) },
                Err(fault) => Event::Gap(format!("a message that cannot be read: {fault}")),
            }
        }
        Some("held") => match serde_json::from_slice(data) {
            Ok(form) => Event::Held(Box::new(held(form))),
            Err(_) => unknown(),
        },
        Some("released") => match serde_json::from_slice(data) {
            Ok(forms::ReleasedEvent { id, verdict, by, reason }) => {
                let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                Event::Released { id, told: format!("{verdict} by {by}{reason}") }
            }
            Err(_) => unknown(),
        },
        Some("lost") => match serde_json::from_slice(data) {
            Ok(forms::LostEvent { of: forms::LostOf::Held, .. }) => all_held(admin).await?,
            Ok(forms::LostEvent { count, .. }) => Event::Gap(format!(
                "{count} messages are missing here: they came faster than they could be shown"
            )),
            Err(_) => unknown(),
        },
        Some(_) => unknown(),
    })
}

async fn all_held(admin: &Admin) -> Result<Event, Failure> {
    let list: forms::HeldList = admin.get("/v1/held").await?;
    Ok(Event::AllHeld(list.held.into_iter().map(held).collect()))
}

async fn breakpoints(admin: &Admin) -> Result<Vec<Breakpoint>, Failure> {
    let list: forms::BreakpointList = admin.get("/v1/breakpoints").await?;
    let breakpoint = |forms::Breakpoint { id, filter, .. }| Breakpoint { id, filter };
    Ok(list.breakpoints.into_iter().map(breakpoint).collect())
}

fn held(form: forms::Held) -> Held {
    let left = time::Duration::milliseconds(i64::try_from(form.left_ms).unwrap_or(i64::MAX));
    Held {
        id: form.id,
        exchange: form.exchange,
        direction: if form.direction == "to_client" { Direction::ToClient } else { Direction::ToServer },
        is_answer: form.kind == "answer",
        session: form.session,
        method: form.method.unwrap_or_default(),
        name: form.name,
        bytes: form.bytes,
        cause: format!("{} {}", form.cause.kind, form.cause.name),
        until: OffsetDateTime::now_utc().saturating_add(left),
        then: match form.then {
            forms::Then::Continue => "goes on",
            forms::Then::Block => "refused",
        }
        .to_owned(),
    }
}

impl Way {
    /// Asks, and gives what went wrong as a sentence.
    fn ask<T>(&self, asked: impl Future<Output = Result<T, Failure>>) -> Result<T, String> {
        let answer = self.runtime.block_on(async { tokio::time::timeout(ANSWER_MAX, asked).await });
        let late = |_| "the proxy does not answer; is it still running?".to_owned();
        answer.map_err(late)?.map_err(|failure| failure.sentence().to_owned())
    }
}

impl Hands for Way {
    fn text(&self, id: &str) -> Result<HeldText, String> {
        let held: forms::Held = self.ask(self.admin.get(&format!("/v1/held/{id}")))?;
        let text = |raw: Box<RawValue>| raw.get().to_owned();
        Ok(HeldText { message: held.message.map(text).unwrap_or_default(), asked: held.asked.map(text) })
    }

    fn decide(&self, id: &str, verdict: &Verdict) -> Result<(), String> {
        let form = form(verdict)?;
        let path = format!("/v1/held/{id}/verdict");
        self.ask(self.admin.post::<forms::Decided>(&path, &form)).map(drop)
    }

    fn add_breakpoint(&self, filter: &str) -> Result<Vec<Breakpoint>, String> {
        let form = forms::NewBreakpoint { filter: filter.to_owned(), r#for: None, then: None };
        self.ask(async {
            let _: forms::Breakpoint = self.admin.post("/v1/breakpoints", &form).await?;
            breakpoints(&self.admin).await
        })
    }

    fn remove_breakpoint(&self, id: &str) -> Result<Vec<Breakpoint>, String> {
        self.ask(async {
            self.admin.delete(&format!("/v1/breakpoints/{id}")).await?;
            breakpoints(&self.admin).await
        })
    }
}

/// What a person writes as an answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    result: Option<Box<RawValue>>,
    error: Option<forms::ErrorForm>,
}

/// What the person wrote has to be JSON; whether it is right, the proxy says.
fn form(verdict: &Verdict) -> Result<forms::Verdict, String> {
    use forms::VerdictWord::{Answer as Answered, Block, Drop, Edit, Resume};
    Ok(match verdict {
        Verdict::Resume => only(Resume),
        Verdict::Drop => only(Drop),
        Verdict::Block(reason) => forms::Verdict { reason: reason.clone(), ..only(Block) },
        Verdict::Edit(text) => forms::Verdict { message: Some(checked(text)?), ..only(Edit) },
        Verdict::Answer(text) => {
            let sentence = |cause| format!("this is no object with `result` or `error`: {cause}");
            let Answer { result, error } = serde_json::from_str(checked(text)?.get()).map_err(sentence)?;
            forms::Verdict { result, error, ..only(Answered) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_becomes_a_verdict_or_is_told_with_its_place() {
        let written = |verdict| serde_json::to_string(&form(&verdict).unwrap()).unwrap();
        assert_eq!(written(Verdict::Resume), r#"{"verdict":"resume"}"#);
        let block = Verdict::Block(Some("no".to_owned()));
        assert_eq!(written(block), r#"{"verdict":"block","reason":"no"}"#);
        let edit = Verdict::Edit(" {\"id\": 1.0}\n".to_owned());
        assert_eq!(written(edit), r#"{"verdict":"edit","message":{"id":1.0}}"#);
        let answer = Verdict::Answer("{\"result\": {\n \"a\": 1}}\n".to_owned());
        assert_eq!(written(answer), r#"{"verdict":"answer","result":{"a":1}}"#);
        let error = Verdict::Answer(r#"{"error": {"code": 1, "message": "no"}}"#.to_owned());
        assert_eq!(written(error), r#"{"verdict":"answer","error":{"code":1,"message":"no"}}"#);
        for (wrong, told) in [
            (Verdict::Edit("{\n\"a\": }".to_owned()), "line 2, column 6"),
            (Verdict::Answer("{\"resutl\": 1}".to_owned()), "unknown field `resutl`"),
        ] {
            assert!(form(&wrong).unwrap_err().contains(told));
        }
    }
}

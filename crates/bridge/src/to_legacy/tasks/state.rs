//! A task as the legacy revision has it, read, and as the modern one has it, written.

use std::time::Duration;

use shadowcat_protocol::{Response, json};

use crate::meta;
use crate::object::Object;
use crate::pace;
use crate::seal::KEY_LIFE;

/// The longest life of a task: its handle is sealed, and a seal is not sure to open later.
pub(in super::super) const LIFE_MAX: Duration = KEY_LIFE;

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Status {
    Working,
    InputRequired,
    /// It has a result, or an error.
    Ended,
    Cancelled,
}

/// A task of the server, as it told of it.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Told<'a>(&'a str);

impl<'a> Told<'a> {
    /// The task in the result of a call that became one.
    pub(in super::super) fn created(result: &'a str) -> Option<Self> {
        let task = json::get(result, &["task"])?;
        json::get(task, &["taskId"]).is_some_and(|id| id.starts_with('"')).then_some(Self(task))
    }

    /// The task in the result of `tasks/get`.
    pub(in super::super) fn got(result: &'a str) -> Self {
        Self(result)
    }

    /// Its name at the server.
    pub(in super::super) fn id(self) -> String {
        json::get(self.0, &["taskId"]).and_then(json::string).unwrap_or_default().into_owned()
    }

    pub(in super::super) fn status(self) -> Status {
        match json::get(self.0, &["status"]).and_then(json::string).as_deref() {
            Some("input_required") => Status::InputRequired,
            Some("completed" | "failed") => Status::Ended,
            Some("cancelled") => Status::Cancelled,
            _ => Status::Working,
        }
    }

    /// How long the server keeps it, as far as the bridge does.
    pub(in super::super) fn life(self) -> Duration {
        self.duration("ttl").map_or(LIFE_MAX, |ttl| ttl.min(LIFE_MAX))
    }

    /// How long to wait before the next look at it.
    pub(in super::super) fn pause(self) -> Duration {
        pace::pause(json::get(self.0, &["pollInterval"]))
    }

    fn duration(self, member: &str) -> Option<Duration> {
        json::get(self.0, &[member]).and_then(pace::millis)
    }

    /// The task for its client, under the name `id`.
    pub(in super::super) fn modern(self, id: &str, status: &str) -> Object<'a> {
        const REPLACED: [&str; 7] =
            ["task", "ttl", "pollInterval", "result", "error", "inputRequests", "resultType"];
        let task = unrelated(Object::parse(self.0)).without(&REPLACED);
        let life = self.life().as_millis().to_string();
        let task =
            task.with("taskId", json::quote(id)).with("status", json::quote(status)).with("ttlMs", life);
        match self.duration("pollInterval") {
            Some(pause) => task.with("pollIntervalMs", pause.as_millis().to_string()),
            None => task,
        }
    }
}

/// The answer to `tasks/result` as that of the call itself.
pub(in super::super) fn outcome(response: Response) -> Response {
    match response.result_json().filter(|result| result.starts_with('{')) {
        Some(result) => response.with_result(&unrelated(Object::parse(result)).to_json()),
        None => response,
    }
}

/// Without the task that the message belongs to: the modern revision does not say it.
fn unrelated(mut message: Object<'_>) -> Object<'_> {
    let Some(sent) = message.remove("_meta") else { return message };
    let kept = Object::parse(&sent).without(&[meta::RELATED_TASK]);
    if kept.is_empty() { message } else { message.with("_meta", kept.to_json()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowcat_protocol::Id;

    #[test]
    fn a_task_is_flat_and_keeps_what_both_revisions_know() {
        let created = r#"{"task":{"taskId":"t","status":"working","statusMessage":"so","createdAt":"c","lastUpdatedAt":"l","ttl":60000,"pollInterval":50,"x":1.0}}"#;
        let told = Told::created(created).unwrap();
        assert_eq!(
            told.modern("sealed", "working").to_json(),
            r#"{"taskId":"sealed","status":"working","statusMessage":"so","createdAt":"c","lastUpdatedAt":"l","x":1.0,"ttlMs":"#
                .to_owned()
                + r#"60000,"pollIntervalMs":50}"#
        );
        assert_eq!((told.id().as_str(), told.status()), ("t", Status::Working));
        assert_eq!((told.life(), told.pause()), (Duration::from_mins(1), Duration::from_millis(100)));
        assert!(Told::created(r#"{"content":[],"task":{}}"#).is_none());
    }

    #[test]
    fn no_task_lives_longer_than_its_handle() {
        for ttl in ["null", "86400000000", "-1", "1.5"] {
            let task = format!(r#"{{"taskId":"t","ttl":{ttl}}}"#);
            assert_eq!(Told::got(&task).life(), LIFE_MAX, "{ttl}");
            assert!(Told::got(&task).modern("t", "working").to_json().contains(r#""ttlMs":3600000"#));
        }
    }

    #[test]
    fn an_outcome_does_not_name_the_task_it_belongs_to() {
        let result = |meta: &str| format!(r#"{{"content":[]{meta}}}"#);
        let related = format!(r#""{}":{{"taskId":"t"}}"#, meta::RELATED_TASK);
        for (sent, kept) in [
            (format!(r#","_meta":{{{related}}}"#), ""),
            (format!(r#","_meta":{{{related},"a":1}}"#), r#","_meta":{"a":1}"#),
            (String::new(), ""),
        ] {
            let response = Response::result(&Id::from_u64(1), &result(&sent));
            assert_eq!(outcome(response).result_json(), Some(&*result(kept)));
        }
    }
}

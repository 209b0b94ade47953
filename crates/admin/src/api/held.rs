//! Messages that wait, and breakpoints.

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderValue, LOCATION};
use serde_json::value::RawValue;
use shadowcat_interceptors::pause::{BreakpointId, DecideError, Decision, HeldId, Terms, Wanted};
use shadowcat_protocol::ErrorObject;
use shadowcat_rules::Outcome;
use shadowcat_rules::written::Span;
use shadowcat_transports::server::Reply;

use super::{AdminApi, Asked, json};
use crate::forms::{
    Approval, Breakpoint, BreakpointList, Decided, ErrorForm, Held, HeldList, NewBreakpoint, Verdict,
    VerdictWord,
};
use crate::problem::Problem;

/// Who decides, for the log and the tape.
const BY: &str = "api";
/// A longer reason is no reason.
const REASON_BYTES_MAX: usize = 4096;

impl AdminApi {
    pub(super) fn list_held(&self, approvals_only: bool) -> Reply {
        let held = self.lot.list();
        let wanted = held.iter().filter(|held| !approvals_only || held.is_approval());
        json(StatusCode::OK, &HeldList { held: wanted.map(|held| Held::summary(held)).collect() })
    }

    pub(super) fn show_held(&self, asked: &Asked<'_>) -> Result<Reply, Problem> {
        let id = asked.held_id()?;
        let held = self.lot.get(id).ok_or(DecideError::Gone(id))?;
        Ok(json(StatusCode::OK, &Held::whole(&held)))
    }

    pub(super) fn decide(&self, asked: &Asked<'_>) -> Result<Reply, Problem> {
        let id = asked.held_id()?;
        let verdict: Verdict = asked.form()?;
        let word = verdict.verdict;
        self.let_go(id, word, wanted(&verdict)?, verdict.reason)
    }

    pub(super) fn approve(&self, asked: &Asked<'_>) -> Result<Reply, Problem> {
        let id = asked.held_id()?;
        let Approval { approve, reason } = asked.form()?;
        let held = self.lot.get(id).ok_or(DecideError::Gone(id))?;
        if !held.is_approval() {
            let detail = format!("{id} waits for a verdict, not for an approval; POST /v1/held/{id}/verdict");
            return Err(Problem::new(StatusCode::CONFLICT, "no_approval", detail));
        }
        let (word, wanted) =
            if approve { (VerdictWord::Resume, Wanted::Resume) } else { (VerdictWord::Block, Wanted::Block) };
        self.let_go(id, word, wanted, reason)
    }

    fn let_go(
        &self,
        id: HeldId,
        verdict: VerdictWord,
        wanted: Wanted,
        reason: Option<String>,
    ) -> Result<Reply, Problem> {
        if reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
            let detail = format!("the reason is longer than {REASON_BYTES_MAX} bytes");
            return Err(Problem::bad_request(detail));
        }
        self.lot.decide(id, &Decision { wanted, reason, by: BY.into() })?;
        Ok(json(StatusCode::OK, &Decided { id: id.to_string(), verdict }))
    }

    pub(super) fn list_breakpoints(&self) -> Reply {
        let breakpoints = self.lot.breakpoints().iter().map(Breakpoint::from).collect();
        json(StatusCode::OK, &BreakpointList { breakpoints })
    }

    pub(super) fn add_breakpoint(&self, asked: &Asked<'_>) -> Result<Reply, Problem> {
        let NewBreakpoint { filter, r#for, then } = asked.form()?;
        let held_for = r#for.as_deref().map(Span::parse).transpose();
        let held_for = held_for.map_err(|sentence| Problem::bad_request(format!("`for`: {sentence}")))?;
        let terms = Terms { held_for: held_for.map(Span::get), then: then.map(Into::into) };
        let added = self.lot.add_breakpoint(&filter, terms)?;
        let reply = json(StatusCode::CREATED, &Breakpoint::from(&added));
        let location = HeaderValue::from_str(&format!("/v1/breakpoints/{}", added.id));
        Ok(match location {
            Ok(location) => reply.with(LOCATION, location),
            Err(_) => reply,
        })
    }

    pub(super) fn remove_breakpoint(&self, asked: &Asked<'_>) -> Result<Reply, Problem> {
        let id = asked.id.unwrap_or_default();
        let was_there = BreakpointId::parse(id).is_some_and(|id| self.lot.remove_breakpoint(id));
        if was_there {
            return Ok(Reply::whole(StatusCode::NO_CONTENT.as_u16(), "application/json", Bytes::new()));
        }
        Err(Problem::not_found(format!("there is no breakpoint {id}; /v1/breakpoints lists those there are")))
    }
}

impl Asked<'_> {
    fn held_id(&self) -> Result<HeldId, Problem> {
        let id = self.id.unwrap_or_default();
        HeldId::parse(id).ok_or_else(|| {
            Problem::not_held(format!("{id:?} is not the number of a message that is held, such as h-1"))
        })
    }
}

/// What a verdict asks for; each has what belongs to it and nothing else.
fn wanted(verdict: &Verdict) -> Result<Wanted, Problem> {
    let Verdict { verdict, message, result, error, reason: _ } = verdict;
    match (verdict, message, result, error) {
        (VerdictWord::Resume, None, None, None) => Ok(Wanted::Resume),
        (VerdictWord::Drop, None, None, None) => Ok(Wanted::Drop),
        (VerdictWord::Block, None, None, None) => Ok(Wanted::Block),
        (VerdictWord::Edit, Some(message), None, None) => Ok(Wanted::Edit(text(message).into())),
        (VerdictWord::Answer, None, Some(result), None) => Ok(Wanted::Answer(Outcome::Result(text(result)))),
        (VerdictWord::Answer, None, None, Some(ErrorForm { code, message, data })) => {
            let data = data.as_deref().map(text);
            Ok(Wanted::Answer(Outcome::Error(ErrorObject { code: *code, message: message.clone(), data })))
        }
        (VerdictWord::Edit, ..) => Err(Problem::bad_request("`edit` has `message`, and nothing else")),
        (VerdictWord::Answer, ..) => {
            Err(Problem::bad_request("`answer` has either `result` or `error`, and nothing else"))
        }
        _ => Err(Problem::bad_request("`message` goes with `edit`, `result` and `error` with `answer`")),
    }
}

fn text(raw: &RawValue) -> String {
    raw.get().to_owned()
}

//! Asks a legacy client what a modern server wants to know before it goes on with a call.

use std::sync::Arc;

use futures_util::future::try_join_all;
use shadowcat_pipeline::{Back, ExchangeId, Origin, Refusal, RefusalKind};
use shadowcat_protocol::{Message, Request, Response, codes, json, method};

use crate::content::Reader;
use crate::object::Object;

use super::questions;
use super::server::ModernServer;
use super::terms::Terms;

/// Questions of one round.
const QUESTIONS_MAX: usize = 32;
const DECLINED: &str = r#"{"action":"decline"}"#;
const CANCELLED: &str = r#"{"action":"cancel"}"#;

/// Why a call cannot go on, as a sentence for its client.
pub(super) type Ended = String;

/// One client, as it may be asked in the course of one call.
pub(super) struct Asking<'c> {
    pub(super) server: &'c ModernServer,
    pub(super) client: &'c Arc<dyn Back>,
    pub(super) terms: &'c Terms,
    pub(super) exchange: ExchangeId,
    /// The call as its client knows it.
    pub(super) asked_by: &'c Origin,
}

/// One thing the server wants to know.
struct Question<'r> {
    key: &'r str,
    method: String,
    /// The parameters for the client; none if it has no way to be asked this, and a form can be declined for it.
    params: Option<String>,
}

impl Asking<'_> {
    /// Asks everything of one round at once and gives the answers as the server wants them. When one cannot be had
    /// and has no wire form, the others are withdrawn.
    pub(super) async fn round(&self, requests: &str) -> Result<String, Ended> {
        let requests = Object::parse(requests);
        if requests.members().count() > QUESTIONS_MAX {
            return Err("the server asked for too much at once".to_owned());
        }
        let questions: Vec<_> =
            requests.members().map(|(key, raw)| self.question(key, raw)).collect::<Result<_, _>>()?;
        let answers = try_join_all(questions.iter().map(|question| self.ask(question))).await?;
        let mut responses = Object::default();
        for (question, answer) in questions.iter().zip(answers) {
            responses.set(question.key, answer);
        }
        Ok(responses.to_json())
    }

    /// A server must not ask for what was not declared (2026-07-28 MRTR); one that does is not believed.
    fn question<'r>(&self, key: &'r str, raw: &str) -> Result<Question<'r>, Ended> {
        let asked = json::get(raw, &["method"]).and_then(json::string).unwrap_or_default().into_owned();
        let params = json::get(raw, &["params"]).unwrap_or("{}");
        let (revision, exchange) = (self.terms.revision, Some(self.asked_by));
        let reader = Reader { revision, counters: &self.server.counters, exchange };
        let elicitation = format!("{}-{}", self.exchange, self.server.next_id());
        let params = if self.terms.declared.allows(&asked, Some(params)).is_ok() {
            questions::readable(reader, &asked, params, &elicitation)
        } else {
            None
        };
        if params.is_none() {
            self.server.counters.lose(&asked, Some(self.asked_by));
            if asked != method::ELICITATION {
                return Err(format!("the server asked for {asked}, which this client does not offer"));
            }
        }
        Ok(Question { key, method: asked, params })
    }

    async fn ask(&self, question: &Question<'_>) -> Result<String, Ended> {
        let Some(params) = &question.params else { return Ok(DECLINED.to_owned()) };
        let request = Request::new(&self.server.next_id(), &question.method, Some(params));
        let asking = self.deliver(request);
        let answered = match tokio::time::timeout(self.server.settings.answer_max, asking).await {
            Ok(answered) => answered.map_err(|refusal| refusal.to_string()),
            Err(_) => Err("nobody answered in time".to_owned()),
        };
        let is_form = question.method == method::ELICITATION;
        match answered {
            Ok(response) => match response.result_json() {
                Some(result) => Ok(result.to_owned()),
                None if is_form => Ok(no(&response).to_owned()),
                None => Err(format!("the client refused {}: {}", question.method, reason(&response))),
            },
            Err(_) if is_form => Ok(CANCELLED.to_owned()),
            Err(why) => Err(format!("the client did not answer {}: {why}", question.method)),
        }
    }

    async fn deliver(&self, request: Request) -> Result<Response, Refusal> {
        let side = &self.server.settings.side;
        let mut replies = self.client.deliver(Message::Request(request), Some(self.exchange), side).await?;
        replies
            .response()
            .await?
            .ok_or_else(|| Refusal::new(RefusalKind::Cancelled).with_detail("the client withdrew its answer"))
    }
}

/// What an error to a form says: the client would not, or it could not.
fn no(error: &Response) -> &'static str {
    match error.error_code() {
        Some(codes::USER_REFUSED | codes::METHOD_NOT_FOUND | codes::INVALID_PARAMS) => DECLINED,
        _ => CANCELLED,
    }
}

fn reason(error: &Response) -> String {
    let message = error.error_json().and_then(|raw| json::get(raw, &["message"])).and_then(json::string);
    message.unwrap_or_default().into_owned()
}

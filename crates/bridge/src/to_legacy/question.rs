//! A request of a legacy server on its way to a modern client, as a part of a result.

use shadowcat_pipeline::{Refusal, RefusalKind, Replies};
use shadowcat_protocol::{ErrorObject, Message, Request, Response, Revision, codes, json, method};
use tokio::sync::oneshot;

use crate::meta;
use crate::object::Object;

/// A question of the server that waits for its answer.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) request: Request,
    /// Nothing once it is answered.
    answer: Option<oneshot::Sender<Response>>,
    sent: Option<oneshot::Receiver<()>>,
}

impl Question {
    /// The question, and the replies through which the server gets its answer. A question that is dropped is answered
    /// as if nobody were there: the server never waits for nothing.
    pub(super) fn ask(request: Request) -> (Self, Replies) {
        let (answer, answered) = oneshot::channel();
        let (leaving, sent) = oneshot::channel::<()>();
        let replies = futures_util::stream::unfold(Some(answered), |answered| async {
            let response = answered?.await.ok()?;
            Some((Ok(Message::Response(response)), None))
        });
        (Self { request, answer: Some(answer), sent: Some(sent) }, Replies::stream(replies).hold(leaving))
    }

    /// Whether the server does not want an answer any more.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.answer.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Gives the server the client's result, as far as its revision has a form for it.
    pub(super) fn answer(mut self, result: &str, revision: Revision) {
        let one_block = self.request.method() == method::SAMPLING && !revision.has_sampling_tools();
        let content = json::get(result, &["content"]).filter(|content| one_block && content.starts_with('['));
        let Some(content) = content else {
            return self.send(Response::result(self.request.id(), result));
        };
        let mut blocks = json::elements(content);
        if let (Some(block), None) = (blocks.next(), blocks.next()) {
            let result = Object::parse(result).with("content", block).to_json();
            return self.send(Response::result(self.request.id(), &result));
        }
        let message =
            "the client's message has several parts, and this revision has messages of one".to_owned();
        self.refuse(&ErrorObject { code: codes::INTERNAL_ERROR, message, data: None });
    }

    /// Tells the server that it may not ask this.
    pub(super) fn refuse(mut self, error: &ErrorObject) {
        self.send(Response::error(Some(self.request.id()), error));
    }

    /// Tells the server that it asks too much at once.
    pub(super) fn turn_away(mut self) {
        self.send(Refusal::new(RefusalKind::LimitQueue).response(Some(self.request.id())));
    }

    /// Gives the server the answer of a client that is not there. The receiver resolves when it has left.
    pub(super) fn give_up(mut self) -> Option<oneshot::Receiver<()>> {
        self.sent.take()
    }

    fn send(&mut self, response: Response) {
        if let Some(answer) = self.answer.take()
            && answer.send(response).is_err()
        {
            tracing::trace!("the server does not want this answer any more");
        }
    }

    /// The question as the client finds it in a result. What belongs to the server's side only is left out.
    pub(super) fn to_input_request(&self) -> String {
        let request = Object::default().with("method", json::quote(self.request.method()));
        let Some(raw) = self.request.params() else { return request.to_json() };
        let mut params = Object::parse(raw).without(&["elicitationId", "task"]);
        if let Some(sent) = json::get(raw, &["_meta"]) {
            let kept = Object::parse(sent).without(&["progressToken", meta::RELATED_TASK]);
            if kept.is_empty() {
                params.remove("_meta");
            } else {
                params.set("_meta", kept.to_json());
            }
        }
        request.with("params", params.to_json()).to_json()
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if self.answer.is_some() {
            self.send(nobody_there(&self.request));
        }
    }
}

/// The answer to a question that reaches nobody: the one the legacy revisions have for it.
pub(super) fn nobody_there(question: &Request) -> Response {
    let error = |code, message: &str| {
        let error = ErrorObject { code, message: message.to_owned(), data: None };
        Response::error(Some(question.id()), &error)
    };
    match question.method() {
        method::ELICITATION => Response::result(question.id(), r#"{"action":"cancel"}"#),
        method::SAMPLING => error(codes::USER_REFUSED, "no user interaction available"),
        method::ROOTS_LIST => error(codes::INTERNAL_ERROR, "the client's roots cannot be asked for now"),
        other => error(codes::METHOD_NOT_FOUND, &format!("the client has no method {other}")),
    }
}

/// One URL of a URL elicitation error as a question to the client.
pub(super) fn url_question(elicitation: &str) -> String {
    let params = Object::parse(elicitation).without(&["elicitationId", "task", "_meta"]);
    let params = params.with("mode", r#""url""#).to_json();
    Object::default().with("method", json::quote(method::ELICITATION)).with("params", params).to_json()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowcat_protocol::Id;

    fn request(method: &str, params: Option<&str>) -> Request {
        Request::new(&Id::parse_json("\"9\"").unwrap(), method, params)
    }

    #[test]
    fn a_question_leaves_out_what_only_its_server_understands() {
        let params = r#"{"message":"?","elicitationId":"e","task":{"ttl":1},"_meta":{"progressToken":4,"io.modelcontextprotocol/related-task":{"taskId":"t"}}}"#;
        let (question, _replies) = Question::ask(request("elicitation/create", Some(params)));
        assert_eq!(
            question.to_input_request(),
            r#"{"method":"elicitation/create","params":{"message":"?"}}"#
        );
        let (question, _replies) = Question::ask(request("roots/list", None));
        assert_eq!(question.to_input_request(), r#"{"method":"roots/list"}"#);
    }

    #[tokio::test]
    async fn a_question_withdrawn_by_its_server_is_known_as_such() {
        let (question, replies) = Question::ask(request("roots/list", None));
        assert!(!question.is_withdrawn());
        drop(replies);
        assert!(question.is_withdrawn());
    }

    #[tokio::test]
    async fn an_answer_carries_the_id_the_server_chose() {
        let (question, mut replies) = Question::ask(request("roots/list", None));
        question.answer(r#"{"roots":[]}"#, Revision::V2025_11_25);
        let Some(Ok(Message::Response(response))) = replies.next().await else { panic!() };
        assert_eq!(response.id().unwrap().as_json(), "\"9\"");
        assert!(replies.next().await.is_none());
    }

    #[tokio::test]
    async fn an_older_server_gets_a_message_of_one_part() {
        for (revision, content, told) in [
            (Revision::V2025_11_25, r#"[{"type":"text"}]"#, r#""result":{"content":[{"type":"text"}]}"#),
            (Revision::V2025_06_18, r#"[{"type":"text"}]"#, r#""result":{"content":{"type":"text"}}"#),
            (Revision::V2025_06_18, "[{},{}]", r#""error":{"code":-32603"#),
        ] {
            let (question, mut replies) = Question::ask(request("sampling/createMessage", Some("{}")));
            question.answer(&format!(r#"{{"content":{content}}}"#), revision);
            let Some(Ok(message)) = replies.next().await else { panic!() };
            let text = String::from_utf8(message.text().to_vec()).unwrap();
            assert!(text.contains(told), "{text}");
        }
    }
}

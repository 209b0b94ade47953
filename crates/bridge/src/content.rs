//! Content of later revisions for clients of earlier ones.
//!
//! Unknown members are passed over by nearly every parser; unknown kinds of content are not. So only these are changed,
//! and a text says what stood there. Servers are to do this themselves, for they know what a client has agreed on; few
//! do.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use shadowcat_pipeline::{Direction, Envelope, Interceptor, Next, Origin, Refusal, Replies};
use shadowcat_protocol::{Message, Request, Response, Revision, json, method};

use crate::counters::Counters;
use crate::object::Object;

/// Makes results readable for one revision.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'c> {
    pub(crate) revision: Revision,
    /// Counts what is lost.
    pub(crate) counters: &'c Counters,
    /// The exchange it is lost in, as the client knows it.
    pub(crate) exchange: Option<&'c Origin>,
}

impl Reader<'_> {
    /// The member of a result that holds content, as the client can read it; none if it can read what is there.
    pub(crate) fn content(&self, asked: &str, result: &Object<'_>) -> Option<(&'static str, String)> {
        match asked {
            method::TOOLS_CALL => Some(("content", changed(result.get("content")?, |raw| self.block(raw))?)),
            method::PROMPTS_GET => Some(("messages", self.messages(result.get("messages")?)?)),
            _ => None,
        }
    }

    /// Messages that hold a block each; none if the client can read all.
    fn messages(&self, raw: &str) -> Option<String> {
        changed(raw, |message| match json::get(message, &["content"]).map(|content| self.block(content)) {
            Some(Cow::Owned(content)) => {
                Cow::Owned(Object::parse(message).with("content", content).to_json())
            }
            Some(Cow::Borrowed(_)) | None => Cow::Borrowed(message),
        })
    }

    /// A block of content.
    pub(crate) fn block<'a>(&self, raw: &'a str) -> Cow<'a, str> {
        let block = Object::parse(raw);
        let kind = block.get("type").and_then(json::string);
        let note = match kind.as_deref() {
            Some("audio") if !self.revision.has_audio() => sound(&block),
            Some("resource_link") if !self.revision.has_structured_content() => link(&block),
            _ => return Cow::Borrowed(raw),
        };
        self.counters.lose(kind.as_deref().unwrap_or_default(), self.exchange);
        let text = Object::default().with("type", r#""text""#).with("text", json::quote(&note));
        Cow::Owned(match block.get("annotations") {
            Some(annotations) => text.with("annotations", annotations).to_json(),
            None => text.to_json(),
        })
    }
}

/// A JSON array with its elements changed; none if none is.
pub(crate) fn changed(raw: &str, change: impl for<'b> Fn(&'b str) -> Cow<'b, str>) -> Option<String> {
    let elements: Vec<Cow<'_, str>> = json::elements(raw).map(change).collect();
    let is_changed = elements.iter().any(|element| matches!(element, Cow::Owned(_)));
    is_changed.then(|| format!("[{}]", elements.join(",")))
}

fn sound(block: &Object<'_>) -> String {
    let kind = block.get("mimeType").and_then(json::string).unwrap_or_default();
    let size = block.get("data").map_or(0, |data| data.len().saturating_sub(2)) / 4 * 3;
    format!("[audio {kind}, about {size} bytes, which this version of the protocol cannot carry]")
}

fn link(block: &Object<'_>) -> String {
    let text = |member| block.get(member).and_then(json::string).unwrap_or_default();
    let (name, uri, about) = (text("name"), text("uri"), text("description"));
    let mut told = format!("[{name}]({uri})");
    if !about.is_empty() {
        told.push_str(": ");
        told.push_str(&about);
    }
    told
}

/// The interceptor that makes content readable for sessions of earlier revisions, whatever their server speaks.
pub struct Readable(Arc<Counters>);

impl Readable {
    /// Counts in `counters` what the clients cannot be shown.
    pub fn new(counters: Arc<Counters>) -> Self {
        Self(counters)
    }
}

#[async_trait]
impl Interceptor for Readable {
    fn name(&self) -> &'static str {
        "readable"
    }

    fn concerns(&self, envelope: &Envelope) -> bool {
        !envelope.origin.revision.has_all_content()
    }

    async fn intercept(&self, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
        let revision = envelope.origin.revision;
        let Message::Request(request) = &envelope.message else { return next.run(envelope).await };
        let asked = match (envelope.direction, request.method()) {
            (Direction::ToServer, method::TOOLS_CALL) => method::TOOLS_CALL,
            (Direction::ToServer, method::PROMPTS_GET) => method::PROMPTS_GET,
            (Direction::ToClient, method::SAMPLING) => {
                let exchange = Some(&*envelope.origin);
                let prompt = prompt(Reader { revision, counters: &self.0, exchange }, request);
                let message = prompt.map_or_else(|| envelope.message.clone(), Message::Request);
                return next.run(Envelope { message, ..envelope }).await;
            }
            _ => return next.run(envelope).await,
        };
        let (counters, origin) = (Arc::clone(&self.0), Arc::clone(&envelope.origin));
        let replies = next.run(envelope).await?;
        Ok(replies.map(move |reply| match reply {
            Ok(Message::Response(response)) => {
                let reader = Reader { revision, counters: &counters, exchange: Some(&origin) };
                Ok(Message::Response(answer(reader, asked, &response).unwrap_or(response)))
            }
            reply => reply,
        }))
    }
}

/// A response that its client can read; none if it can read this one.
fn answer(reader: Reader<'_>, asked: &str, response: &Response) -> Option<Response> {
    let result = Object::parse(response.result_json()?);
    let (member, content) = reader.content(asked, &result)?;
    tracing::debug!(method = asked, revision = %reader.revision, "content of a later revision is told as text");
    Some(response.with_result(&result.with(member, content).to_json()))
}

/// A prompt that its client can read; none if it can read this one.
fn prompt(reader: Reader<'_>, request: &Request) -> Option<Request> {
    let params = Object::parse(request.params()?);
    let messages = reader.messages(params.get("messages")?)?;
    Some(request.with_params(&params.with("messages", messages).to_json()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowcat_pipeline::{Chain, PeerId, Service, Transport};
    use shadowcat_protocol::Id;

    const SOUND: &str = r#"{"type":"audio","data":"AAAA","mimeType":"audio/wav"}"#;
    const SOUND_TOLD: &str = r#"{"type":"text","text":"[audio audio/wav, about 3 bytes, which this version of the protocol cannot carry]"}"#;
    const LINK: &str = r#"{"type":"resource_link","uri":"a:b","name":"n"}"#;
    const LINK_TOLD: &str = r#"{"type":"text","text":"[n](a:b)"}"#;

    /// Answers with the parameters it was sent.
    struct Mirror;

    #[async_trait]
    impl Service for Mirror {
        async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
            let Message::Request(request) = envelope.message else { return Ok(Replies::none()) };
            let response = Response::result(request.id(), request.params().unwrap());
            Ok(Replies::one(Message::Response(response)))
        }
    }

    async fn told(revision: Revision, direction: Direction, method: &str, params: &str) -> String {
        let counters = Arc::<Counters>::default();
        let chain = Chain::new(vec![Arc::new(Readable::new(Arc::clone(&counters)))]);
        let origin = Origin::new(PeerId::next(), Transport::Http, revision);
        let request = Request::new(&Id::from_u64(1), method, Some(params));
        let envelope =
            Envelope { direction, ..Envelope::to_server(Message::Request(request), Arc::new(origin)) };
        let response =
            chain.run(envelope, Arc::new(Mirror)).await.unwrap().response().await.unwrap().unwrap();
        let told = response.result_json().unwrap().to_owned();
        assert_eq!(counters.not_carried.get() > 0, told != params, "{told}");
        told
    }

    #[tokio::test]
    async fn a_session_is_told_as_text_what_its_revision_has_no_kind_for() {
        let result =
            |sound, link| format!(r#"{{"content":[{sound},{link},{{"type":"text", "text":"x"}}],"x":1.0}}"#);
        let messages = |sound, link| {
            format!(
                r#"{{"messages":[{{"role":"user","content":{sound}}},{{"role":"user","content":{link}}}]}}"#
            )
        };
        let rows = [
            (Revision::V2024_11_05, SOUND_TOLD, LINK_TOLD),
            (Revision::V2025_03_26, SOUND, LINK_TOLD),
            (Revision::V2025_06_18, SOUND, LINK),
            (Revision::V2025_11_25, SOUND, LINK),
        ];
        for (revision, sound, link) in rows {
            let (to_server, to_client) = (Direction::ToServer, Direction::ToClient);
            let call = told(revision, to_server, "tools/call", &result(SOUND, LINK)).await;
            assert_eq!(call, result(sound, link));
            let prompt = told(revision, to_server, "prompts/get", &messages(SOUND, LINK)).await;
            assert_eq!(prompt, messages(sound, link));
            let sample = told(revision, to_client, "sampling/createMessage", &messages(SOUND, LINK)).await;
            assert_eq!(sample, messages(sound, link));
            let other = told(revision, to_server, "vendor/thing", &result(SOUND, LINK)).await;
            assert_eq!(other, result(SOUND, LINK));
        }
    }
}

//! What an answer is kept under: all that it may depend on, in one type, so that nothing is left out.

use std::sync::Arc;

use shadowcat_pipeline::{Envelope, Origin, PeerId, Transport};
use shadowcat_protocol::caching::Cacheable;
use shadowcat_protocol::json::edit::{Change, Edits};
use shadowcat_protocol::{Message, json, meta, trace};

/// Members of a request's metadata that no answer depends on: by what the request is followed, and who says to ask, which is
/// for display only (2026-07-28 schema).
const PASSING: [&str; 6] =
    ["progressToken", trace::TRACEPARENT, trace::TRACESTATE, "baggage", meta::LOG_LEVEL, meta::CLIENT_INFO];
/// What a request has that goes on with an earlier one: its answer is for nobody else (2026-07-28 caching).
const OF_A_ROUND: [&str; 2] = ["inputResponses", "requestState"];

/// What a client asks, as far as the answer depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) what: Cacheable,
    /// The parameters in one form, with the client's revision, its capabilities and metadata that is not known here.
    params: Box<str>,
    /// The resource that is asked for.
    uri: Option<Box<str>>,
    /// The headers that travel with it.
    headers: Box<[(Box<str>, Box<str>)]>,
}

impl Question {
    /// The question in an envelope; none if its answer is not to be kept.
    pub(crate) fn of(envelope: &Envelope) -> Option<Self> {
        let Message::Request(request) = &envelope.message else { return None };
        let what = Cacheable::of(request.method())?;
        let params = request.params().unwrap_or("{}");
        if OF_A_ROUND.iter().any(|member| json::get(params, &[member]).is_some()) {
            return None;
        }
        let mut edits = Edits::default();
        for member in PASSING {
            edits.add(&["_meta", member], Change::Remove);
        }
        let params: Box<str> = json::canonical(&edits.apply(params).ok()?)?.into();
        let uri = (what == Cacheable::Resource).then(|| json::get(&params, &["uri"])).flatten();
        let uri = uri.and_then(json::string).map(Into::into);
        let mut headers = envelope.headers.clone();
        headers.sort_unstable();
        Some(Self { what, params, uri, headers: headers.into() })
    }

    /// The resource that is asked for.
    pub(crate) fn uri(&self) -> Option<&str> {
        self.uri.as_deref()
    }

    pub(crate) fn bytes(&self) -> usize {
        let uri = self.uri().map_or(0, str::len);
        self.params.len()
            + uri
            + self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// Who may be told a kept answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reader {
    /// Anybody.
    Anybody,
    /// Those of this name. What else their credential says may be long, and nothing here depends on it.
    Named(Arc<str>),
    /// A client whose name is not known, as long as its session or its pipe lasts.
    Peer(PeerId),
}

impl Reader {
    /// Who asks; none if nobody can say that the next request is of the same client.
    pub(crate) fn of(origin: &Origin) -> Option<Self> {
        match (&origin.principal, origin.transport) {
            (Some(principal), _) => Some(Self::Named(principal.name().into())),
            // Each modern request over HTTP is a peer of its own.
            (None, Transport::Http) => None,
            (None, Transport::Stdio | Transport::Sse) => Some(Self::Peer(origin.peer)),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Named(name) => name.len(),
            Self::Anybody | Self::Peer(_) => 0,
        }
    }
}

/// What an answer is kept under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) question: Arc<Question>,
    pub(crate) reader: Reader,
}

#[cfg(test)]
mod tests {
    use shadowcat_protocol::{Id, Request, Revision, method};

    use super::*;

    fn question(method: &str, params: &str) -> Option<Question> {
        let request = Message::Request(Request::new(&Id::from_u64(1), method, Some(params)));
        let origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2026_07_28);
        Question::of(&Envelope::to_server(request, Arc::new(origin)))
    }

    fn read(params: &str) -> Option<Question> {
        question(method::RESOURCES_READ, params)
    }

    #[test]
    fn what_no_answer_depends_on_makes_no_other_question() {
        let own = r#"{"uri":"a:1","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"roots":{},"sampling":{}}}}"#;
        let other = r#"{ "_meta":{"progressToken":7,"traceparent":"00-1","tracestate":"x","baggage":"y",
            "io.modelcontextprotocol/clientCapabilities":{"sampling":{},"roots":{}},"io.modelcontextprotocol/logLevel":"debug",
            "io.modelcontextprotocol/clientInfo":{"name":"c"},"io.modelcontextprotocol/protocolVersion":"2026-07-28"},"uri":"a:1"}"#;
        assert!(read(own).is_some());
        assert_eq!(read(own), read(other));
        assert_eq!(read(own).unwrap().uri(), Some("a:1"));
    }

    #[test]
    fn what_an_answer_may_depend_on_makes_another() {
        let all = [
            r#"{"uri":"a:1"}"#,
            r#"{"uri":"a:2"}"#,
            r#"{"uri":"a:1","x":1}"#,
            r#"{"uri":"a:1","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#,
            r#"{"uri":"a:1","_meta":{"io.modelcontextprotocol/clientCapabilities":{}}}"#,
            r#"{"uri":"a:1","_meta":{"io.modelcontextprotocol/clientCapabilities":{"roots":{}}}}"#,
            r#"{"uri":"a:1","_meta":{"vendor/tenant":"t"}}"#,
        ];
        let questions: std::collections::HashSet<_> =
            all.iter().map(|params| read(params).unwrap()).collect();
        assert_eq!(questions.len(), all.len());
        let [one, other] = [method::TOOLS_LIST, method::PROMPTS_LIST].map(|method| question(method, "{}"));
        assert_ne!(one, other);
        let mut with_header = Envelope::to_server(
            Message::Request(Request::new(&Id::from_u64(1), method::TOOLS_LIST, Some("{}"))),
            Arc::new(Origin::new(PeerId::next(), Transport::Http, Revision::V2026_07_28)),
        );
        with_header.headers.push(("x-tenant".into(), "t".into()));
        assert_ne!(one, Question::of(&with_header), "a rule may have added it");
    }

    #[test]
    fn what_goes_on_with_an_earlier_request_or_is_ambiguous_is_no_question() {
        for params in [
            r#"{"uri":"a:1","inputResponses":{}}"#,
            r#"{"uri":"a:1","requestState":"s"}"#,
            r#"{"uri":"a:1","requestState":null}"#,
            r#"{"uri":"a:1","x":{"a":1,"a":2}}"#,
        ] {
            assert_eq!(read(params), None, "{params}");
        }
        assert_eq!(question(method::TOOLS_CALL, r#"{"name":"t"}"#), None);
        assert_eq!(question(method::LISTEN, "{}"), None);
    }

    #[test]
    fn a_client_without_a_name_is_known_by_its_pipe_and_over_http_not_at_all() {
        let (peer, revision) = (PeerId::next(), Revision::V2026_07_28);
        let origin = |transport| Origin::new(peer, transport, revision);
        assert_eq!(Reader::of(&origin(Transport::Stdio)), Some(Reader::Peer(peer)));
        assert_eq!(Reader::of(&origin(Transport::Http)), None);
    }
}

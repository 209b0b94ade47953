//! Checks mirrored arguments for servers that cannot: a child sees no headers, so what an HTTP client says in
//! `Mcp-Param-*` has to be held against the message here (2026-07-28 streamable-http, custom headers).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use shadowcat_pipeline::{
    Direction, Envelope, Interceptor, Next, Origin, PeerId, Refusal, RefusalKind, Replies, Transport,
};
use shadowcat_protocol::headers::{ParamHeader, check_params, param_headers};
use shadowcat_protocol::{Id, Message, Request, Response, json, method};

/// Tools whose annotations are remembered.
const TOOLS_MAX: usize = 10_000;
/// Pages of a tool list that are read in search of a tool.
const PAGES_MAX: usize = 20;
const META: &str = "_meta";

/// The interceptor that checks mirrored arguments. It learns which arguments are mirrored from each tool list that
/// passes, and asks for the list itself when a tool is called that it has not seen.
#[derive(Default)]
pub struct Mirror {
    tools: Arc<Tools>,
}

/// The mirrored arguments of the tools seen so far.
#[derive(Default)]
struct Tools(Mutex<HashMap<String, Arc<[ParamHeader]>>>);

impl Tools {
    fn known(&self, tool: &str) -> Option<Arc<[ParamHeader]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(tool).cloned()
    }

    /// Reads one page of a tool list; gives the cursor of the next.
    fn learn(&self, response: &Response) -> Option<String> {
        let result = response.result_json()?;
        let mut tools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for tool in json::get(result, &["tools"]).into_iter().flat_map(json::elements) {
            let Some(name) = json::get(tool, &["name"]).and_then(json::string) else { continue };
            let schema = json::get(tool, &["inputSchema"]).unwrap_or("{}");
            // An annotation that is wrong mirrors nothing; it is for the client to leave such a tool alone.
            let params = param_headers(schema).unwrap_or_default();
            if tools.len() < TOOLS_MAX || tools.contains_key(&*name) {
                tools.insert(name.into_owned(), params.into());
            }
        }
        json::get(result, &["nextCursor"]).map(str::to_owned)
    }
}

impl Mirror {
    /// Asks the server for its tools, in the name and with the metadata of the call that needs them.
    async fn ask(&self, call: &Request, origin: &Origin, next: Next<'_>) -> Result<(), Refusal> {
        let meta = call.params().and_then(|params| json::get(params, &[META])).unwrap_or("{}");
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let at = cursor.map(|cursor| format!(r#","cursor":{cursor}"#)).unwrap_or_default();
            let params = format!(r#"{{"_meta":{meta}{at}}}"#);
            let request = Request::new(&Id::from_u64(1), method::TOOLS_LIST, Some(&params));
            let asking = Origin::new(PeerId::next(), origin.transport, origin.revision);
            let envelope = Envelope::to_server(Message::Request(request), Arc::new(asking));
            let mut replies = next.run(envelope).await?;
            cursor = replies.response().await?.and_then(|response| self.tools.learn(&response));
            if cursor.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn check(&self, call: &Request, envelope: &Envelope, next: Next<'_>) -> Result<(), Refusal> {
        let Some(name) = call.name() else { return Ok(()) };
        if self.tools.known(&name).is_none() {
            self.ask(call, &envelope.origin, next).await?;
        }
        let Some(params) = self.tools.known(&name).filter(|params| !params.is_empty()) else { return Ok(()) };
        let arguments = call.params().and_then(|params| json::get(params, &["arguments"])).unwrap_or("{}");
        let lookup = |wanted: &str| {
            let same = envelope.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            same.map(|(_, value)| value.as_bytes()).collect()
        };
        check_params(&params, arguments, lookup).map_err(|fault| {
            let kind = RefusalKind::BadMessage { code: fault.code, data: fault.data };
            Refusal::new(kind).with_detail(fault.message)
        })
    }
}

#[async_trait]
impl Interceptor for Mirror {
    fn name(&self) -> &'static str {
        "mirror"
    }

    async fn intercept(&self, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
        let origin = Arc::clone(&envelope.origin);
        let concerned =
            envelope.direction == Direction::ToServer && origin.revision.mirrors_body_in_headers();
        let Message::Request(request) = &envelope.message else { return next.run(envelope).await };
        match request.method() {
            method::TOOLS_CALL if concerned && origin.transport == Transport::Http => {
                self.check(request, &envelope, next).await?;
                next.run(envelope).await
            }
            method::TOOLS_LIST if concerned => {
                let replies = next.run(envelope).await?;
                let mirror = Arc::clone(&self.tools);
                Ok(replies.inspect(move |reply| {
                    if let Ok(Message::Response(response)) = reply {
                        mirror.learn(response);
                    }
                }))
            }
            _ => next.run(envelope).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowcat_pipeline::{Chain, Service};
    use shadowcat_protocol::{Revision, codes};

    const TOOLS: &str = r#"{"resultType":"complete","tools":[{"name":"go","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]}"#;

    struct Child;

    #[async_trait]
    impl Service for Child {
        async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
            let Message::Request(request) = envelope.message else { return Ok(Replies::none()) };
            let result = if request.method() == method::TOOLS_LIST { TOOLS } else { "{}" };
            Ok(Replies::one(Message::Response(Response::result(request.id(), result))))
        }
    }

    async fn call(transport: Transport, region: Option<&str>) -> Result<(), i64> {
        let chain = Chain::new(vec![Arc::new(Mirror::default())]);
        let origin = Origin::new(PeerId::next(), transport, Revision::V2026_07_28);
        let params = r#"{"name":"go","arguments":{"region":"eu"}}"#;
        let request = Request::new(&Id::from_u64(1), method::TOOLS_CALL, Some(params));
        let mut envelope = Envelope::to_server(Message::Request(request), Arc::new(origin));
        envelope.headers.extend(region.map(|region| ("mcp-param-region".into(), region.into())));
        chain.run(envelope, Arc::new(Child)).await.map(drop).map_err(|refusal| refusal.error_object().code)
    }

    #[tokio::test]
    async fn an_argument_and_its_header_must_say_the_same() {
        assert_eq!(call(Transport::Http, Some("eu")).await, Ok(()));
        assert_eq!(call(Transport::Http, Some("us")).await, Err(codes::HEADER_MISMATCH));
        assert_eq!(call(Transport::Http, None).await, Err(codes::HEADER_MISMATCH));
    }

    #[tokio::test]
    async fn a_client_without_headers_mirrors_nothing() {
        assert_eq!(call(Transport::Stdio, None).await, Ok(()));
    }
}

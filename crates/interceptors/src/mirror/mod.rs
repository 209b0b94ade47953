//! Checks mirrored arguments for servers that cannot: a child sees no headers, so what an HTTP client says in
//! `Mcp-Param-*` has to be held against the message here (2026-07-28 streamable-http, custom headers). What lists of tools have
//! told of them is in `tools.rs`.

mod tools;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use shadowcat_pipeline::{
    Direction, Envelope, Interceptor, Next, Origin, PeerId, Refusal, RefusalKind, Replies, Transport,
};
use shadowcat_protocol::headers::check_params;
use shadowcat_protocol::{Id, Message, Pages, Request, Response, json, method};
use tokio::time::timeout;

use tools::Tools;

/// Pages of a tool list that are read in search of a tool.
const PAGES_MAX: usize = 20;
/// How long all pages may take.
const LIST_MAX: Duration = Duration::from_secs(10);
const META: &str = "_meta";

/// The interceptor that checks mirrored arguments. It learns which arguments are mirrored from each tool list that
/// passes, and asks for the list itself when a tool is called that it has not seen. Of a tool that no list names, or where no list
/// is to be had, nothing is checked.
#[derive(Default)]
pub struct Mirror {
    tools: Arc<Tools>,
}

impl Mirror {
    /// Asks for the list if that could tell more of a tool. A call does not fail because the list does: it may need nothing of it.
    async fn look_up(&self, tool: &str, call: &Request, origin: &Origin, next: Next<'_>) {
        let asker = origin.principal.as_ref();
        let Some(asking) = self.tools.open(asker, tool) else { return };
        let _asking = asking.lock().await;
        if self.tools.open(asker, tool).is_none() {
            return;
        }
        let changes = self.tools.changes();
        match timeout(LIST_MAX, self.ask(call, origin, next)).await {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => tracing::debug!(%refusal, "mirrored arguments are not known"),
            Err(_) => tracing::debug!("mirrored arguments are not known: the tools were not listed in time"),
        }
        self.tools.asked(asker, changes);
    }

    /// Asks the server for its tools, in the name and with the metadata of the call that needs them. Rules see the question and
    /// change the answer, because they do that to what clients know of the tools; nobody holds it.
    async fn ask(&self, call: &Request, origin: &Origin, next: Next<'_>) -> Result<(), Refusal> {
        let meta = call.params().and_then(|params| json::get(params, &[META])).unwrap_or("{}");
        let mut pages = Pages::up_to(PAGES_MAX);
        while let Some(cursor) = pages.ask() {
            let at = cursor.map(|cursor| format!(r#","cursor":{cursor}"#)).unwrap_or_default();
            let params = format!(r#"{{"_meta":{meta}{at}}}"#);
            let request = Request::new(&Id::from_u64(1), method::TOOLS_LIST, Some(&params));
            let asking = Origin::new(PeerId::next(), origin.transport, origin.revision);
            // Rules may show each caller other tools.
            let asking = Origin { is_own: true, principal: origin.principal.clone(), ..asking };
            let envelope = Envelope::to_server(Message::Request(request), Arc::new(asking));
            let mut replies = next.run(envelope).await?;
            if let Some(result) = replies.response().await?.as_ref().and_then(Response::result_json) {
                self.tools.learn(origin.principal.as_ref(), result);
                pages.read(result);
            }
        }
        Ok(())
    }

    async fn check(&self, call: &Request, envelope: &Envelope, next: Next<'_>) -> Result<(), Refusal> {
        let Some(name) = call.name() else { return Ok(()) };
        self.look_up(&name, call, &envelope.origin, next).await;
        let known = self.tools.known(envelope.origin.principal.as_ref(), &name);
        let Some(params) = known.filter(|params| !params.is_empty()) else { return Ok(()) };
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
        if envelope.direction == Direction::ToClient {
            self.tools.hear(&envelope.message);
        }
        let Message::Request(request) = &envelope.message else { return next.run(envelope).await };
        match request.method() {
            method::TOOLS_CALL if concerned && origin.transport == Transport::Http => {
                self.check(request, &envelope, next).await?;
                next.run(envelope).await
            }
            method::TOOLS_LIST if concerned => {
                let replies = next.run(envelope).await?;
                let tools = Arc::clone(&self.tools);
                Ok(replies.inspect(move |reply| {
                    if let Ok(Message::Response(response)) = reply
                        && let Some(result) = response.result_json()
                    {
                        tools.learn(origin.principal.as_ref(), result);
                    }
                }))
            }
            method::LISTEN if concerned => {
                let replies = next.run(envelope).await?;
                let tools = Arc::clone(&self.tools);
                Ok(replies.inspect(move |reply| {
                    if let Ok(message) = reply {
                        tools.hear(message);
                    }
                }))
            }
            _ => next.run(envelope).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::tools::LISTED_FOR;
    use super::*;
    use shadowcat_pipeline::{Chain, Principal, Service};
    use shadowcat_protocol::{Notification, Revision, codes};

    const TOOLS: &str = r#"{"resultType":"complete","tools":[{"name":"go","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]}"#;

    /// A server that counts how often it is asked for its tools.
    #[derive(Default)]
    struct Child {
        listed: AtomicUsize,
        /// What it does then, if it does not list them.
        refuses: bool,
        hangs: bool,
        /// Who alone is shown the tool, by the role that the credential names.
        shown_to: Option<&'static str>,
    }

    #[async_trait]
    impl Service for Child {
        async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
            let Message::Request(request) = envelope.message else { return Ok(Replies::none()) };
            let answer = |result| Message::Response(Response::result(request.id(), result));
            if request.method() == method::LISTEN {
                let note = Message::Notification(Notification::new(method::TOOLS_CHANGED, None));
                return Ok(Replies::stream(futures_util::stream::iter([Ok(note), Ok(answer("{}"))])));
            }
            if request.method() != method::TOOLS_LIST {
                return Ok(Replies::one(answer("{}")));
            }
            self.listed.fetch_add(1, Ordering::Relaxed);
            if self.refuses {
                return Err(RefusalKind::PolicyDenied.into());
            }
            let role = envelope.origin.principal.as_ref().and_then(|asker| asker.claims()["role"].as_str());
            if self.shown_to.is_some_and(|wanted| role != Some(wanted)) {
                return Ok(Replies::one(answer(r#"{"tools":[]}"#)));
            }
            let silence = futures_util::stream::pending();
            Ok(if self.hangs { Replies::stream(silence) } else { Replies::one(answer(TOOLS)) })
        }
    }

    struct Case {
        child: Arc<Child>,
        chain: Chain,
    }

    impl Case {
        fn new(child: Child) -> Self {
            Self { child: Arc::new(child), chain: Chain::new(vec![Arc::new(Mirror::default())]) }
        }

        fn listed(&self) -> usize {
            self.child.listed.load(Ordering::Relaxed)
        }

        async fn run(&self, method: &str, transport: Transport, tool: &str, region: Option<&str>) -> Outcome {
            let origin = Origin::new(PeerId::next(), transport, Revision::V2026_07_28);
            self.run_from(origin, method, tool, region).await
        }

        async fn run_from(&self, origin: Origin, method: &str, tool: &str, region: Option<&str>) -> Outcome {
            let params = format!(r#"{{"name":"{tool}","arguments":{{"region":"eu"}}}}"#);
            let request = Request::new(&Id::from_u64(1), method, Some(&params));
            let mut envelope = Envelope::to_server(Message::Request(request), Arc::new(origin));
            envelope.headers.extend(region.map(|region| ("mcp-param-region".into(), region.into())));
            let replies = self.chain.run(envelope, Arc::clone(&self.child) as _).await;
            match replies {
                Ok(mut replies) => replies.response().await.map(drop),
                Err(refusal) => Err(refusal),
            }
            .map_err(|refusal| refusal.error_object().code)
        }

        /// Calls the tool with the wrong header, in the name of one whose credential names this role.
        async fn call_as(&self, role: &str) -> Outcome {
            let claims = [("role".to_owned(), role.into())].into_iter().collect();
            let origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2026_07_28);
            let origin = Origin { principal: Some(Principal::new("ann", claims, None)), ..origin };
            self.run_from(origin, method::TOOLS_CALL, "go", Some("us")).await
        }

        async fn call(&self, tool: &str) -> Outcome {
            self.run(method::TOOLS_CALL, Transport::Http, tool, None).await
        }
    }

    type Outcome = Result<(), i64>;

    async fn call(transport: Transport, region: Option<&str>) -> Outcome {
        Case::new(Child::default()).run(method::TOOLS_CALL, transport, "go", region).await
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

    #[tokio::test(start_paused = true)]
    async fn a_call_is_checked_by_the_list_that_its_caller_is_shown() {
        let case = Case::new(Child { shown_to: Some("admin"), ..Child::default() });
        for _ in 0..2 {
            assert_eq!(case.call_as("guest").await, Ok(()), "a tool that he is not shown");
            assert_eq!(case.call_as("admin").await, Err(codes::HEADER_MISMATCH));
        }
        assert_eq!(case.listed(), 2, "once for each");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_does_not_fail_because_the_list_does() {
        for (refuses, hangs) in [(true, false), (false, true)] {
            let case = Case::new(Child { refuses, hangs, ..Child::default() });
            for _ in 0..3 {
                assert_eq!(case.call("go").await, Ok(()));
            }
            assert_eq!(case.listed(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_list_is_read_again_when_it_has_changed_or_is_old() {
        let case = Case::new(Child::default());
        for _ in 0..3 {
            assert_eq!(case.call("nope").await, Ok(()));
        }
        assert_eq!(case.listed(), 1);
        case.run(method::LISTEN, Transport::Http, "", None).await.unwrap();
        case.call("nope").await.unwrap();
        assert_eq!(case.listed(), 2);
        tokio::time::advance(LISTED_FOR).await;
        case.call("nope").await.unwrap();
        assert_eq!(case.listed(), 3);
    }
}

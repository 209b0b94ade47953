//! What a bridge owes its clients where only the gateway knows who they are: nobody outside has a name yet.

use serde_json::{Value, json};
use shadowcat_bridge::{Eras, ModernServer, Seal, ToLegacy, ToLegacySettings, ToModernSettings};
use shadowcat_pipeline::{Back, ExchangeId, PeerId, Service, UpstreamSide};
use shadowcat_protocol::{Id, Request, Response, Revision, method};
use shadowcat_transports::{Connection, OpenConnection, Parting};

use super::*;
use crate::testing::{FakeServer, HANDSHAKE, records};
use crate::upstream::{OwnSessions, SharedUpstream};

/// A legacy server whose every call asks its client for a form, and answers with what came back.
#[derive(Clone)]
struct Asking;

#[async_trait]
impl Connector for Asking {
    async fn open(&self, opening: OpenConnection) -> Result<Arc<dyn Connection>, Refusal> {
        Ok(Arc::new(Open(opening.back)))
    }
}

struct Open(Arc<dyn Back>);

fn side() -> UpstreamSide {
    UpstreamSide { name: "up".into(), transport: Transport::Stdio, revision: Revision::V2025_11_25 }
}

#[async_trait]
impl Service for Open {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let Message::Request(request) = envelope.message else { return Ok(Replies::none()) };
        let (id, exchange) = (request.id().clone(), envelope.origin.exchange);
        match request.method() {
            method::INITIALIZE => Ok(Replies::one(Message::Response(Response::result(&id, HANDSHAKE)))),
            method::TOOLS_CALL => {
                let back = Arc::clone(&self.0);
                Ok(Replies::stream(futures_util::stream::once(asked(back, id, exchange))))
            }
            _ => {
                let error =
                    shadowcat_protocol::ErrorObject { code: -32601, message: "no".into(), data: None };
                Ok(Replies::one(Message::Response(Response::error(Some(&id), &error))))
            }
        }
    }
}

async fn asked(back: Arc<dyn Back>, id: Id, exchange: ExchangeId) -> Result<Message, Refusal> {
    let form = Request::new(&Id::from_u64(9), method::ELICITATION, Some(r#"{"message":"?"}"#));
    let mut replies = back.deliver(Message::Request(form), Some(exchange), &side()).await?;
    let answer = replies.response().await?.ok_or(RefusalKind::Cancelled)?;
    let told = format!(r#"{{"content":[{}]}}"#, answer.result_json().unwrap_or("null"));
    Ok(Message::Response(Response::result(&id, &told)))
}

#[async_trait]
impl Connection for Open {
    fn token(&self) -> Option<Box<str>> {
        None
    }

    fn is_alive(&self) -> bool {
        true
    }

    async fn listen(&self) -> Result<(), Refusal> {
        Ok(())
    }

    async fn close(&self, _: Parting) {}
}

fn bridged() -> Gateway {
    let connector: Arc<dyn Connector> = Arc::new(Asking);
    let tasks = Tasks::new();
    let shared = Arc::new(SharedUpstream::new(Arc::clone(&connector)));
    let own = OwnSessions {
        connector: Arc::clone(&connector),
        counters: Arc::default(),
        records: records(),
        key: Key::new(Namespace::reverse("bridge"), SessionId::generate().unwrap()),
    };
    let (chain, figures) = (Chain::default(), Arc::<shadowcat_bridge::Counters>::default());
    let settings = ToLegacySettings::default();
    let seal = Arc::new(Seal::new());
    let bridges = Arc::new(Bridges {
        eras: Eras::new(Arc::clone(&shared) as _, Transport::Stdio, tasks.clone()),
        edge: Chain::default(),
        to_legacy: ToLegacy::new(Arc::new(own), chain.clone(), seal, settings, Arc::clone(&figures), &tasks),
        to_modern: ModernServer::new(
            Arc::clone(&shared) as _,
            chain,
            ToModernSettings::new(side()),
            Arc::clone(&figures),
            tasks.clone(),
        ),
        figures,
    });
    let modern = ModernFace::new(shared, Some(Arc::clone(&bridges)));
    Gateway {
        modern: Arc::new(modern),
        bridges: Some(bridges),
        connector,
        tasks,
        ..tests::gateway(&FakeServer::default())
    }
}

/// The response to a call of a client of this name.
async fn call(gateway: &Gateway, name: &str, more: &Value) -> Value {
    let mut params = json!({"name": "t", "arguments": {}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
    }});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let request = Request::new(&Id::from_u64(1), method::TOOLS_CALL, Some(&params.to_string()));
    let mut origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2026_07_28);
    origin.principal = Some(Principal(name.into()));
    let envelope = Envelope::to_server(Message::Request(request), Arc::new(origin));
    let mut replies = gateway.exchange(envelope).await.unwrap();
    let response = replies.response().await.unwrap().unwrap();
    serde_json::from_slice(response.text()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn t58_a_state_is_of_no_use_to_another_principal() {
    let gateway = bridged();
    let asked = call(&gateway, "ann", &json!({})).await;
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let answers = json!({"requestState": asked["result"]["requestState"], "inputResponses": {"q1": {"action": "accept"}}});
    assert_eq!(call(&gateway, "bob", &answers).await["error"]["code"], -32602);
    let done = call(&gateway, "ann", &answers).await;
    assert_eq!(done["result"]["content"], json!([{"action": "accept"}]), "{done}");
    assert_eq!(call(&gateway, "ann", &answers).await["error"]["code"], -32602);
}

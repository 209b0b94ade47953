use shadowcat_pipeline::PeerId;
use shadowcat_protocol::Limits;

use super::*;
use crate::http_client::{Client, Settings, Target};
use crate::testing::NoBack;

/// A conversation with whatever is at this address.
fn connection(address: std::net::SocketAddr, tasks: &Tasks) -> Arc<HttpConnection> {
    let remote = Remote {
        name: "up".into(),
        target: Target::parse(&format!("http://{address}/mcp")).unwrap(),
        client: Arc::new(Client::new(Settings::default(), Tasks::new()).unwrap()),
        headers: HeaderMap::new(),
        limits: Limits::default(),
        first_byte_max: Duration::from_secs(30),
        reconnect_base: Duration::from_secs(1),
    };
    let opening = OpenConnection {
        back: Arc::<NoBack>::default(),
        era: Era::Legacy,
        revision: Some(Revision::V2025_11_25),
        token: None,
    };
    HttpConnection::open(remote, tasks.clone(), Arc::default(), opening)
}

#[tokio::test]
async fn a_request_that_never_left_is_not_cancelled() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tasks = Tasks::new();
    let connection = connection(closed, &tasks);
    let call = Request::new(&Id::from_u64(7), "tools/call", Some(r#"{"name":"x"}"#));
    let origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2025_11_25);
    let refused = connection.handle(Envelope::to_server(Message::Request(call), Arc::new(origin))).await;
    assert_eq!(refused.unwrap_err().kind, RefusalKind::UpstreamUnreachable);
    assert_eq!(tasks.running(), 0, "nothing is on its way to a server that is not there");
}

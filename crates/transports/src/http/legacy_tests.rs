use http_body_util::BodyExt as _;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Head, Replies};
use shadowcat_protocol::{Limits, Response as Answer};
use shadowcat_session::Outlet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::listener::EndpointSettings;
use super::*;
use crate::testing::{FakeFront, LONG, call, limits, live};

struct Bench {
    listener: HttpListener,
    live: Arc<Live>,
}

impl Bench {
    fn new(front: FakeFront) -> Self {
        let settings = EndpointSettings {
            path: "/mcp".to_owned(),
            body_bytes_max: 1_000,
            body_read_max: LONG,
            limits: Limits::default(),
            keep_alive: LONG * 100,
            in_flight_max: 10,
        };
        let listener = HttpListener::new(settings, Arc::new(front), Tasks::new(), CancellationToken::new());
        Self { listener, live: live(Transport::Http, Outlet::new(limits(), 1_000)) }
    }

    /// What a call is answered with.
    async fn call(&self) -> (u16, String) {
        let answered = timeout(LONG, self.listener.request(&self.live, call())).await.expect("a head");
        text(answered.unwrap_or_else(|fault| refusal(&fault, None))).await
    }
}

async fn text(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = timeout(LONG, response.into_body().collect()).await.expect("the end of the answer");
    (status, String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn an_answer_is_not_shed_before_its_client_could_read_it() {
    let answer = r#"{"content":["more than is kept for a client that comes back"]}"#;
    let bench = Bench::new(FakeFront::answering(move |_| async move {
        let head = Head { form: Form::Free, status: None };
        Ok(Replies::one(Message::Response(Answer::result(call().id(), answer))).with_head(head))
    }));
    let (status, text) = bench.call().await;
    assert!(status == 200 && text.contains(answer), "{status} {text}");
}

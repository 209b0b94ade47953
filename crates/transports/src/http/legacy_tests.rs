use http_body_util::BodyExt as _;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{ExchangeId, Head, Replies};
use shadowcat_protocol::{Id, Limits, Notification, Response as Answer};
use shadowcat_session::Outlet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::listener::EndpointSettings;
use super::*;
use crate::testing::{FakeFront, LONG, call, limits, live, live_of};

struct Bench {
    front: Arc<FakeFront>,
    listener: HttpListener,
    live: Arc<Live>,
}

impl Bench {
    fn new(front: FakeFront) -> Self {
        Self::stopping(front, CancellationToken::new())
    }

    fn stopping(front: FakeFront, stop: CancellationToken) -> Self {
        let settings = EndpointSettings {
            path: "/mcp".to_owned(),
            body_bytes_max: 1_000,
            body_read_max: LONG,
            limits: Limits::default(),
            keep_alive: LONG * 100,
            in_flight_max: 10,
            reads_traces: false,
        };
        let front = Arc::new(front);
        let listener = HttpListener::new(settings, Arc::clone(&front) as _, Tasks::new(), stop);
        Self { front, listener, live: live(Transport::Http, Outlet::new(limits(), 1_000)) }
    }

    /// What a call is answered with.
    async fn call(&self) -> (u16, String) {
        let answered = match self.listener.request(&self.live, call(), self.live.origin()) {
            Ok(waiting) => {
                let answer = self.listener.answer_to(None, &self.live, waiting);
                timeout(LONG, answer).await.expect("a head")
            }
            Err(fault) => refusal(&fault, None),
        };
        text(answered).await
    }

    /// Waits until the call has arrived.
    async fn handled(&self) {
        while self.front.handled() == 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Nothing is left of what was asked.
    async fn is_clean(&self) {
        let clean = async {
            while self.live.outlet.open_exchanges() + self.live.in_flight() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, clean).await.expect("nothing is left of the call");
    }
}

async fn text(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = timeout(LONG, response.into_body().collect()).await.expect("the end of the answer");
    (status, String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap())
}

fn note() -> Message {
    Message::Notification(Notification::new("notifications/message", Some(r#"{"data":1}"#)))
}

/// An event, and then what becomes of the rest.
fn event_before(
    rest: impl futures_util::Stream<Item = Result<Message, Refusal>> + Send + 'static,
) -> Replies {
    use futures_util::StreamExt as _;
    let head = Head { form: Form::Stream, status: None };
    Replies::stream(futures_util::stream::iter([Ok(note())]).chain(rest)).with_head(head)
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

fn defect() -> Result<Replies, Refusal> {
    panic!("a defect, for the test")
}

#[tokio::test]
async fn a_call_that_meets_a_defect_is_refused_and_leaves_nothing_behind() {
    let bench = Bench::new(FakeFront::answering(|_| async { defect() }));
    let (status, text) = bench.call().await;
    assert!(status == 500 && text.contains(r#""reason":"internal""#), "{status} {text}");
    assert!(text.contains(r#""id":7"#), "{text}");
    bench.is_clean().await;
}

#[tokio::test]
async fn of_a_batch_only_the_request_that_meets_a_defect_is_refused() {
    let bench = Bench::new(FakeFront::answering(|envelope| async move {
        let id = envelope.request_id().unwrap().clone();
        if id.as_json() == "2" {
            defect()
        } else {
            Ok(Replies::one(Message::Response(Answer::result(&id, "{}"))))
        }
    }));
    let requests = (1..=3).map(|id| Request::new(&Id::from_u64(id), "tools/call", Some("{}"))).collect();
    let (open, waiting) = OpenExchange::begin(&bench.live, ExchangeId::next(), None);
    pump_batch(Arc::clone(&bench.front) as _, requests, None, open, 10).await;
    let (status, text) = text(bench.listener.answer_to(None, &bench.live, waiting).await).await;
    let answers: Vec<&str> = shadowcat_protocol::json::elements(&text).collect();
    assert!(status == 200 && answers.len() == 3, "{status} {text}");
    for (answer, id) in answers.iter().zip(1..) {
        assert!(answer.contains(&format!(r#""id":{id}"#)), "{text}");
        assert_eq!(answer.contains(r#""reason":"internal""#), id == 2, "{text}");
    }
    bench.is_clean().await;
}

#[tokio::test]
async fn a_batch_is_refused_before_any_of_it_is_carried_out_or_carried_out() {
    let front = FakeFront::answering(|envelope| async move {
        let id = envelope.request_id().ok_or(RefusalKind::UpstreamExited)?.clone();
        Ok(Replies::one(Message::Response(Answer::result(&id, "{}"))))
    });
    let outlet = Outlet::new(limits(), 1_000);
    let bench = Bench { live: live_of(Revision::V2025_03_26, Transport::Http, outlet), ..Bench::new(front) };
    let initialize = Request::new(&Id::from_u64(8), method::INITIALIZE, Some("{}"));
    let batch = async |last: &Request| {
        let parts = vec![note().text().clone(), last.text().clone()];
        let answered =
            timeout(LONG, bench.listener.batch_in(&bench.live, parts, None)).await.expect("a head");
        text(answered.unwrap_or_else(|fault| refusal(&fault, None))).await
    };
    let (status, told) = batch(&initialize).await;
    assert!(status == 400 && told.contains("initialize"), "{status} {told}");
    assert_eq!(bench.front.handled(), 0);
    let (status, told) = batch(&call()).await;
    assert!(status == 200 && told.contains(r#""id":7,"result""#), "{status} {told}");
}

#[tokio::test]
async fn a_stream_that_meets_a_defect_ends_with_the_word_of_it() {
    let bench = Bench::new(FakeFront::answering(|_| async {
        let rest = futures_util::stream::once(async { Err(defect().expect_err("a defect")) });
        Ok(event_before(rest))
    }));
    let (status, text) = bench.call().await;
    let last = text.rsplit("data: ").next().unwrap();
    assert!(status == 200 && last.contains(r#""reason":"internal""#), "{status} {text}");
    bench.is_clean().await;
}

#[tokio::test]
async fn a_call_whose_session_ends_before_its_answer_is_told() {
    let streaming = || FakeFront::answering(|_| async { Ok(event_before(futures_util::stream::pending())) });
    let undecided =
        || FakeFront::answering(|_| async { Ok(Replies::stream(futures_util::stream::pending())) });
    for front in [FakeFront::silent(), undecided(), streaming()] {
        let bench = Bench::new(front);
        let ending = async {
            bench.handled().await;
            bench.live.outlet.close();
        };
        let ((status, text), ()) = tokio::join!(bench.call(), ending);
        let last = text.rsplit("data: ").next().unwrap();
        assert!(status == 200 && last.contains(r#""reason":"session_lost""#), "{status} {text}");
        bench.is_clean().await;
    }
}

#[tokio::test]
async fn a_stream_that_is_opened_while_the_proxy_ends_ends_with_it() {
    let stop = CancellationToken::new();
    let stops = stop.clone();
    let front = FakeFront::silent().at_listen(move |live| {
        stops.cancel();
        live.outlet.close_standing();
    });
    let bench = Bench::stopping(front, stop);
    let response = bench.listener.stand(None, &bench.live, None).await.unwrap();
    assert_eq!(text(response).await.0, 200);
}

use shadowcat_pipeline::Origin;
use shadowcat_protocol::Response;
use tokio::sync::watch;

use super::*;
use crate::asker::{REPLIES_WAITING_MAX, SLOW_CLIENT_GRACE};
use crate::testing::NoBack;

/// A pipe that remembers what it carried.
#[derive(Clone, Default)]
struct Carried(Arc<Mutex<Vec<Bytes>>>);

impl Carried {
    fn cancels(&self) -> Vec<Bytes> {
        let lines = self.0.lock().unwrap();
        let is_cancel = |line: &&Bytes| String::from_utf8_lossy(line).contains(method::CANCELLED);
        lines.iter().filter(is_cancel).cloned().collect()
    }
}

#[async_trait]
impl Pipe for Carried {
    async fn send(&self, line: Bytes) -> Result<(), Refusal> {
        self.0.lock().unwrap().push(line);
        Ok(())
    }

    fn reason(&self) -> Refusal {
        RefusalKind::UpstreamExited.into()
    }

    fn is_open(&self) -> bool {
        true
    }

    async fn close(&self) {}
}

/// A pipe that has taken a message only when it is let, or not at all, like an endpoint that answers a POST when the work
/// is done.
#[derive(Clone)]
struct Reluctant {
    carried: Carried,
    taken: watch::Sender<Option<bool>>,
}

#[async_trait]
impl Pipe for Reluctant {
    async fn send(&self, line: Bytes) -> Result<(), Refusal> {
        self.carried.send(line).await?;
        let taken = *self.taken.subscribe().wait_for(Option::is_some).await.unwrap();
        if taken == Some(true) { Ok(()) } else { Err(RefusalKind::UpstreamProtocol.into()) }
    }

    fn reason(&self) -> Refusal {
        self.carried.reason()
    }

    fn is_open(&self) -> bool {
        true
    }

    async fn close(&self) {}
}

/// A client that says something before it answers.
struct Talkative;

#[async_trait]
impl Back for Talkative {
    async fn deliver(
        &self,
        message: Message,
        _: Option<ExchangeId>,
        _: &UpstreamSide,
    ) -> Result<Replies, Refusal> {
        let Message::Request(question) = message else { return Ok(Replies::none()) };
        let note = Notification::new(method::PROGRESS, Some(r#"{"progressToken":1,"progress":1}"#));
        let answer = Message::Response(Response::result(question.id(), "{}"));
        Ok(Replies::stream(futures_util::stream::iter([Ok(Message::Notification(note)), Ok(answer)])))
    }

    fn let_go(&self, _: ExchangeId, _: Duration) {}

    fn stream_lost(&self) {}
}

fn duplex(pipe: &Carried) -> Arc<Duplex> {
    duplex_to(pipe.clone(), Arc::<NoBack>::default())
}

fn duplex_to(pipe: impl Pipe + 'static, back: Arc<dyn Back>) -> Arc<Duplex> {
    Duplex::new(Parts {
        name: "up".into(),
        transport: Transport::Stdio,
        revision: Some(Revision::V2025_11_25),
        limits: Limits::default(),
        pipe: Box::new(pipe),
        back,
        tasks: Tasks::new(),
        counters: Arc::default(),
    })
}

/// A call of some client, in flight.
async fn called(duplex: &Duplex) -> Replies {
    let call =
        Request::new(&Id::from_u64(7), "tools/call", Some(r#"{"name":"x","_meta":{"progressToken":"p"}}"#));
    let origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2025_11_25);
    duplex.handle(Envelope::to_server(Message::Request(call), Arc::new(origin))).await.unwrap()
}

async fn progress(duplex: &Duplex, own: u64) {
    let text = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{own},"progress":1}}}}"#
    );
    duplex.receive(Incoming::Text(text.into())).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_its_replies_holds_up_the_others_once_and_loses_its_own_exchange() {
    let pipe = Carried::default();
    let duplex = duplex(&pipe);
    let (mut slow, mut other) = (called(&duplex).await, called(&duplex).await);
    let begun = tokio::time::Instant::now();
    for _ in 0..REPLIES_WAITING_MAX + 100 {
        progress(&duplex, 1).await;
    }
    assert_eq!(begun.elapsed(), SLOW_CLIENT_GRACE, "once, whatever follows");
    duplex.receive(Incoming::Text(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#.into())).await;
    assert!(matches!(other.next().await, Some(Ok(Message::Response(_)))));

    let mut taken = 0;
    let end = loop {
        match slow.next().await.expect("a word on the end") {
            Ok(_) => taken += 1,
            Err(refusal) => break refusal.kind,
        }
    };
    assert_eq!((taken, end), (REPLIES_WAITING_MAX, RefusalKind::LimitQueue));
    drop((slow, other));
    duplex.words.join(SLOW_CLIENT_GRACE).await;
    let cancels = pipe.cancels();
    assert_eq!(cancels.len(), 1, "the server is told once: {cancels:?}");
    assert!(String::from_utf8_lossy(&cancels[0]).contains(r#""requestId":1,"#), "{cancels:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_server_says_before_it_has_taken_the_request_comes_at_once_and_counts() {
    for taken in [true, false] {
        let pipe = Reluctant { carried: Carried::default(), taken: watch::Sender::new(None) };
        let duplex = duplex_to(pipe.clone(), Arc::<NoBack>::default());
        let (replies, ()) = tokio::join!(within(called(&duplex)), progress(&duplex, 1));
        let mut replies = replies.expect("the first progress shows that the request has arrived");
        for _ in 0..3 {
            let reply = within(replies.next()).await;
            assert!(matches!(reply, Some(Some(Ok(Message::Notification(_))))), "{reply:?}");
            progress(&duplex, 1).await;
        }
        duplex.receive(Incoming::Text(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.into())).await;
        pipe.taken.send_replace(Some(taken));
        assert!(replies.response().await.unwrap().is_some(), "a late failure is none of an answered request");
        drop(replies);
        duplex.close().await;
        assert_eq!(pipe.carried.cancels().len(), 0);
    }
}

async fn within<T>(wait: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_mins(1), wait).await.ok()
}

#[tokio::test]
async fn a_server_that_goes_is_told_of_once_and_one_that_we_part_from_is_not() {
    for (parts, told) in [(false, 1), (true, 0)] {
        let back = Arc::<NoBack>::default();
        let duplex = duplex_to(Carried::default(), Arc::<NoBack>::clone(&back));
        if parts {
            duplex.close().await;
        }
        duplex.ended();
        duplex.ended();
        assert_eq!(back.0.load(Ordering::Relaxed), told);
    }
}

#[tokio::test]
async fn a_server_that_asks_gets_the_answer_and_not_what_comes_before_it() {
    let pipe = Carried::default();
    let duplex = duplex_to(pipe.clone(), Arc::new(Talkative));
    let question = r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#;
    duplex.receive(Incoming::Text(question.into())).await;
    while pipe.0.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let lines = pipe.0.lock().unwrap().clone();
    assert_eq!(lines, [r#"{"jsonrpc":"2.0","id":"q","result":{}}"#]);
}

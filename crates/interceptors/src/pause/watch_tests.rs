use std::time::Duration;

use futures_util::FutureExt as _;
use shadowcat_pipeline::{Chain, Form, PeerId, Service, Transport, UpstreamSide};
use shadowcat_protocol::{Id, Notification, Response, Revision, method};
use shadowcat_rules::{Outcome, Then};
use tokio::time::timeout;

use super::*;
use crate::pause::{
    Approval, DecideError, Decision, Happened, Heard, Held, PauseMetrics, Settings, Terms, Wanted,
};

/// Says a notification, then answers.
struct Server;

#[async_trait]
impl Service for Server {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let Some(id) = envelope.request_id() else { return Ok(Replies::none()) };
        envelope.origin.upstream.get_or_init(|| UpstreamSide {
            name: "up".into(),
            transport: Transport::Stdio,
            revision: Revision::V2025_03_26,
        });
        let note = Notification::new(method::PROGRESS, Some(r#"{"progressToken":"t","progress":3}"#));
        let text = std::str::from_utf8(envelope.message.text()).unwrap();
        let answer = if text.contains("ask me") && !text.contains("requestState") {
            Response::result(id, r#"{"resultType":"input_required","requestState":"s-1"}"#)
        } else {
            Response::result(id, &format!(r#"{{"saw":{text}}}"#))
        };
        let all = [Ok(Message::Notification(note)), Ok(Message::Response(answer))];
        Ok(Replies::stream(futures_util::stream::iter(all)))
    }
}

/// A client that answers, and says nothing else.
struct Silent;

#[async_trait]
impl Service for Silent {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let answer = envelope.request_id().map(|id| Message::Response(Response::result(id, "{}")));
        Ok(answer.map_or_else(Replies::none, Replies::one))
    }
}

struct Case {
    lot: Lot,
    chain: Chain,
    peer: PeerId,
}

impl Case {
    fn new(filters: &[&str]) -> Self {
        Self::of(Settings::default(), filters)
    }

    /// Before which calls of `rm` need an approval.
    fn approving() -> Self {
        Self::approving_or(Then::Block)
    }

    /// The same, with what becomes of calls that nobody decides about.
    fn approving_or(then: Then) -> Self {
        let when = serde_json::from_str(r#"{"tool":"rm"}"#).unwrap();
        let approval = Approval {
            name: "remove".into(),
            meant: Arc::new(shadowcat_rules::Meant::compile(&when, "when").unwrap()),
            terms: Terms { held_for: Some(Duration::from_mins(1)), then: Some(then) },
            grant_for: Duration::from_mins(10),
            approver: None,
        };
        Self::of(Settings { approvals: vec![approval], ..Settings::default() }, &[])
    }

    fn of(settings: Settings, filters: &[&str]) -> Self {
        let lot = Lot::new(settings, PauseMetrics::default());
        for filter in filters {
            lot.add_breakpoint(filter, Terms::default()).unwrap();
        }
        let pause = Pause::new(lot.clone(), "up".into(), Tasks::new());
        Self { lot, chain: Chain::new(vec![Arc::new(pause)]), peer: PeerId::next() }
    }

    async fn run(&self, message: Message) -> Result<Replies, Refusal> {
        self.run_as(message, None).await
    }

    /// Calls `rm` in the name of this principal.
    async fn remove(&self, arguments: &str, principal: Option<&str>) -> Result<Replies, Refusal> {
        let params = format!(r#"{{"_meta":{{"n":{}}},"name":"rm",{arguments}}}"#, self.lot.list().len());
        let request = Request::new(&Id::from_u64(1), method::TOOLS_CALL, Some(&params));
        self.run_as(Message::Request(request), principal).await
    }

    async fn run_as(&self, message: Message, principal: Option<&str>) -> Result<Replies, Refusal> {
        let mut origin = Origin::new(self.peer, Transport::Http, Revision::V2025_11_25);
        origin.principal = principal.map(shadowcat_pipeline::Principal::named);
        self.chain.run(Envelope::to_server(message, Arc::new(origin)), Arc::new(Server)).await
    }

    async fn call(&self, id: u64) -> Result<Replies, Refusal> {
        let params = r#"{"name":"echo","_meta":{"progressToken":"t"}}"#;
        self.run(Message::Request(Request::new(&Id::from_u64(id), method::TOOLS_CALL, Some(params)))).await
    }

    /// Lets the next message go that is held, and says which it was.
    async fn decide(&self, wanted: Wanted) -> Arc<Held> {
        let held = loop {
            if let Some(held) = self.lot.list().into_iter().next() {
                break held;
            }
            tokio::task::yield_now().await;
        };
        self.lot.decide(held.id, &Decision { wanted, reason: None, by: "api".into() }).unwrap();
        held
    }
}

async fn said(mut replies: Replies) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(reply) = replies.next().await {
        said.push(match reply {
            Ok(message) => String::from_utf8(message.text().to_vec()).unwrap(),
            Err(refusal) => format!("{}: {}", refusal.kind.reason(), refusal.detail.unwrap_or_default()),
        });
    }
    said
}

#[tokio::test]
async fn of_what_has_passed_the_recorder_nothing_is_held_that_would_not_be_on_the_tape_in_both_forms() {
    let case = Case::new(&["~m tools/call"]);
    let pause = Pause::new(case.lot.clone(), "up".into(), Tasks::new()).recorded();
    let chain = Chain::new(vec![Arc::new(pause)]);
    for is_noted in [false, true] {
        let origin = Origin::new(case.peer, Transport::Http, Revision::V2025_11_25);
        if is_noted {
            origin.deeds.see_twice();
        }
        let request = Request::new(&Id::from_u64(1), method::TOOLS_CALL, Some(r#"{"name":"echo"}"#));
        let envelope = Envelope::to_server(Message::Request(request), Arc::new(origin));
        let replies = chain.run(envelope, Arc::new(Server)).await.unwrap();
        assert_eq!(case.lot.list().len(), usize::from(is_noted));
        drop(replies);
    }
}

#[tokio::test]
async fn a_held_request_gives_way_and_goes_on_as_it_was_edited() {
    let case = Case::new(&["~q & ~id 1"]);
    let replies = case.call(1).await.unwrap();
    assert_eq!(replies.head().form, Form::Stream, "its client is shown that it lives");
    assert_eq!(said(case.call(2).await.unwrap()).await.len(), 2, "the next one went ahead");
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"other"}}"#;
    let (said, held) = tokio::join!(said(replies), case.decide(Wanted::Edit(text.into())));
    assert_eq!(
        (held.kind(), held.method(), held.name().as_deref()),
        ("request", Some("tools/call"), Some("echo"))
    );
    assert!(said[1].contains(r#""name":"other""#), "{said:?}");
}

#[tokio::test]
async fn each_reply_is_held_by_itself_with_its_request() {
    let case = Case::new(&["!~q & ~m tools/call | ~n"]);
    let replies = case.call(1).await.unwrap();
    let outcome = Outcome::Result(r#"{"mine":1}"#.to_owned());
    let decides = async {
        let first = case.decide(Wanted::Drop).await;
        (first, case.decide(Wanted::Answer(outcome)).await)
    };
    let (said, (first, second)) = tokio::join!(said(replies), decides);
    assert_eq!((first.kind(), second.kind()), ("notification", "answer"));
    assert_eq!((second.method(), second.name().as_deref()), (Some("tools/call"), Some("echo")));
    assert_eq!(said, [r#"{"jsonrpc":"2.0","id":1,"result":{"mine":1}}"#]);
}

#[tokio::test]
async fn an_answer_is_held_by_how_its_server_is_spoken_with() {
    for (word, is_held) in
        [("up", true), ("stdio", true), ("2025-03-26", true), ("legacy", true), ("http", false)]
    {
        let case = Case::new(&[&format!("~s & ~upstream {word}")]);
        let mut replies = case.call(1).await.unwrap();
        replies.next().await.unwrap().unwrap();
        let answer = replies.next();
        assert_eq!(answer.now_or_never().is_none(), is_held, "{word}");
    }
}

#[tokio::test]
async fn who_is_blocked_is_told_why_and_who_withdraws_hears_nothing() {
    let case = Case::new(&["~q"]);
    let (said_one, _) = tokio::join!(said(case.call(1).await.unwrap()), case.decide(Wanted::Block));
    assert_eq!(said_one, ["policy_denied: refused by those who run the proxy"]);
    let waits = said(case.call(2).await.unwrap());
    let mut waits = std::pin::pin!(waits);
    assert!(futures_util::poll!(&mut waits).is_pending());
    let note = Notification::new(method::CANCELLED, Some(r#"{"requestId":2}"#));
    case.run(Message::Notification(note)).await.unwrap();
    assert!(waits.await.is_empty() && case.lot.list().is_empty());
    let replies = case.call(3).await.unwrap();
    assert_eq!(case.lot.list().len(), 1);
    drop(replies);
    assert!(case.lot.list().is_empty(), "nor does who goes away");
    let waits = said(case.call(4).await.unwrap());
    case.lot.leave(case.peer);
    assert!(waits.await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_two_requests_with_one_id_the_one_that_is_still_held_is_withdrawn() {
    let case = Case::new(&["~q"]);
    let (first, second) = (said(case.call(1).await.unwrap()), said(case.call(1).await.unwrap()));
    let mut second = std::pin::pin!(second);
    assert!(futures_util::poll!(&mut second).is_pending());
    let (first, _) = tokio::join!(first, case.decide(Wanted::Resume));
    assert_eq!(first.len(), 2);
    let note = Notification::new(method::CANCELLED, Some(r#"{"requestId":1}"#));
    case.run(Message::Notification(note)).await.unwrap();
    assert!(timeout(Duration::from_mins(1), second).await.is_ok_and(|said| said.is_empty()));
    assert!(case.lot.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_gave_a_token_hears_that_its_request_waits() {
    let case = Case::new(&["~q", "~s"]);
    let mut replies = case.call(1).await.unwrap();
    let mut heard = Vec::new();
    for _ in 0..3 {
        let note = replies.next().await.unwrap().unwrap();
        heard.push(
            json::get(std::str::from_utf8(note.text()).unwrap(), &["params", "progress"]).unwrap().to_owned(),
        );
    }
    case.decide(Wanted::Resume).await;
    let server = replies.next().await.unwrap().unwrap();
    assert!(server.text().ends_with(br#""progress":3}}"#));
    let note = replies.next().await.unwrap().unwrap();
    let text = String::from_utf8(note.text().to_vec()).unwrap();
    assert!(
        text.contains(r#""progressToken":"t","progress":3.000001,"message":"held by the proxy"#),
        "{text}"
    );
    assert_eq!(heard[0], "0.000001");
    let (answer, _) = tokio::join!(replies.next(), case.decide(Wanted::Resume));
    assert!(matches!(answer, Some(Ok(Message::Response(_)))));
    assert!(replies.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_question_is_held_hears_the_answer_and_nothing_before_it() {
    for filter in ["~q", "~s"] {
        let case = Case::new(&[filter]);
        let params = r#"{"message":"?","_meta":{"progressToken":"t"}}"#;
        let question = Request::new(&Id::from_u64(1), method::ELICITATION, Some(params));
        let origin = Origin::new(case.peer, Transport::Http, Revision::V2025_11_25);
        let question = Envelope::to_client(Message::Request(question), Arc::new(origin));
        let mut replies = case.chain.run(question, Arc::new(Silent)).await.unwrap();
        let decides = async {
            tokio::time::sleep(Duration::from_secs(11)).await;
            case.decide(Wanted::Resume).await
        };
        let (first, _) = tokio::join!(replies.next(), decides);
        assert!(matches!(first, Some(Ok(Message::Response(_)))), "{filter}: {first:?}");
    }
}

#[tokio::test]
async fn a_held_notification_holds_up_nobody() {
    let case = Case::new(&["~n"]);
    let note = || Message::Notification(Notification::new("notifications/x", None));
    let handled = timeout(Duration::from_mins(1), case.run(note())).await.unwrap();
    assert!(said(handled.unwrap()).await.is_empty());
    assert_eq!(case.decide(Wanted::Resume).await.kind(), "notification");
}

#[tokio::test]
async fn what_fits_no_breakpoint_passes_as_it_is() {
    let case = Case::new(&["~t other"]);
    assert_eq!(said(case.call(1).await.unwrap()).await.len(), 2);
    assert!(case.lot.list().is_empty());
}

const FILE: &str = r#""arguments":{"path":"/tmp/x","n":1}"#;

#[tokio::test(start_paused = true)]
async fn a_call_that_needs_an_approval_goes_on_with_one_and_not_without() {
    let case = Case::approving();
    let (said_one, held) =
        tokio::join!(said(case.remove(FILE, None).await.unwrap()), case.decide(Wanted::Resume));
    assert!(held.is_approval() && held.stopped.cause.to_string() == "approval remove");
    assert!(said_one[1].contains("/tmp/x"), "{said_one:?}");
    let (denied, _) = tokio::join!(said(case.remove(FILE, None).await.unwrap()), case.decide(Wanted::Block));
    assert_eq!(denied, ["policy_denied: refused by those who run the proxy"], "once, and not for ever");
    let expired = said(case.remove(FILE, None).await.unwrap()).await;
    assert_eq!(expired, ["policy_denied: nobody has let the message go in time"]);
    assert_eq!(said(case.call(2).await.unwrap()).await.len(), 2, "other tools need none");
}

#[tokio::test(start_paused = true)]
async fn an_approval_that_comes_too_late_is_good_once_for_the_same_call() {
    let case = Case::approving();
    drop(case.remove(FILE, Some("ann")).await.unwrap());
    let held = case.lot.list().pop().unwrap();
    assert!(held.is_abandoned);
    let edit = Decision { wanted: Wanted::Edit("{}".into()), reason: None, by: "api".into() };
    assert!(matches!(case.lot.decide(held.id, &edit), Err(DecideError::Bad(_))));
    assert_eq!(case.decide(Wanted::Resume).await.id, held.id);
    assert!(case.lot.list().is_empty());
    for (arguments, principal) in [
        (FILE, None),
        (FILE, Some("bob")),
        (r#""arguments":{"path":"/tmp/x","n":1.0}"#, Some("ann")),
        (r#""arguments":{"path":"/tmp/x"}"#, Some("ann")),
    ] {
        let held = case.remove(arguments, principal).await.unwrap();
        assert_eq!(held.head().form, Form::Stream, "{arguments} {principal:?} is held");
    }
    let same = r#""arguments":{ "n":1, "path":"\u002ftmp/x" }"#;
    assert_eq!(said(case.remove(same, Some("ann")).await.unwrap()).await.len(), 2);
    let again = case.remove(same, Some("ann")).await.unwrap();
    assert_eq!(again.head().form, Form::Stream, "once");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_again_before_anybody_decided_takes_its_place_again() {
    let case = Case::approving();
    drop(case.remove(FILE, None).await.unwrap());
    let first = case.lot.list().pop().unwrap();
    let replies = case.remove(FILE, None).await.unwrap();
    let list = case.lot.list();
    assert_eq!((list.len(), list[0].id, list[0].is_abandoned), (1, first.id, false));
    let (said, _) = tokio::join!(said(replies), case.decide(Wanted::Resume));
    assert_eq!(said.len(), 2);
    drop(case.remove(FILE, None).await.unwrap());
    tokio::time::advance(Duration::from_mins(2)).await;
    assert!(case.lot.list().is_empty(), "nobody approves what is too old");
}

#[tokio::test]
async fn a_call_whose_session_ends_waits_for_its_approval_and_sends_nothing() {
    for then in [Then::Block, Then::Continue] {
        let case = Case::approving_or(then);
        let replies = case.remove(FILE, None).await.unwrap();
        case.lot.leave(case.peer);
        assert!(said(replies).await.is_empty(), "{then:?}");
        assert!(case.lot.list()[0].is_abandoned);
        case.decide(Wanted::Resume).await;
        assert_eq!(said(case.remove(FILE, None).await.unwrap()).await.len(), 2);
        assert_eq!(case.remove(FILE, None).await.unwrap().head().form, Form::Stream, "once");
    }
}

#[tokio::test]
async fn a_call_that_comes_again_keeps_its_place_when_the_first_one_ends() {
    let case = Case::approving();
    let first = case.remove(FILE, None).await.unwrap();
    case.lot.leave(case.peer);
    let again = case.remove(FILE, None).await.unwrap();
    drop(first);
    assert!(!case.lot.list()[0].is_abandoned);
    let (said, _) = tokio::join!(said(again), case.decide(Wanted::Resume));
    assert_eq!(said.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_approves_in_time_is_let_go_without_anybody_looking() {
    let case = Case::approving();
    drop(case.remove(FILE, None).await.unwrap());
    let mut feed = case.lot.subscribe();
    case.lot.sweep();
    tokio::time::advance(Duration::from_mins(1)).await;
    case.lot.sweep();
    let Some(Heard::Happened(Happened::Released { by, .. })) = feed.next().await else { panic!() };
    assert_eq!(by.word(), "deadline");
}

#[tokio::test(start_paused = true)]
async fn a_grant_expires() {
    let case = Case::approving();
    drop(case.remove(FILE, None).await.unwrap());
    case.decide(Wanted::Resume).await;
    tokio::time::advance(Duration::from_mins(11)).await;
    assert_eq!(case.remove(FILE, None).await.unwrap().head().form, Form::Stream);
}

#[tokio::test]
async fn the_next_round_of_an_approved_call_is_approved_with_it() {
    let case = Case::approving();
    let ask = r#""arguments":{"path":"ask me"}"#;
    let (said_one, _) =
        tokio::join!(said(case.remove(ask, None).await.unwrap()), case.decide(Wanted::Resume));
    assert!(said_one[1].contains("input_required"), "{said_one:?}");
    let other = format!(r#"{ask},"requestState":"s-2","inputResponses":{{}}"#);
    drop(case.remove(&other, None).await.unwrap());
    assert_eq!(case.lot.list().len(), 1, "another state is another call");
    let next = format!(r#"{ask},"requestState":"s-1","inputResponses":{{"a":{{"action":"accept"}}}}"#);
    assert_eq!(said(case.remove(&next, None).await.unwrap()).await.len(), 2);
}

#[tokio::test]
async fn the_next_round_of_an_edited_call_is_approved_as_it_was_edited() {
    let edited = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rm","arguments":{"path":"ask me"}}}"#;
    let at_the_approval = Case::approving();
    let before_it = Case::approving();
    before_it.lot.add_breakpoint("~q & ~id 1", Terms::default()).unwrap();
    for (case, decisions) in [(at_the_approval, 1), (before_it, 2)] {
        let asked = r#""arguments":{"path":"ask me first"}"#;
        let decides = async {
            case.decide(Wanted::Edit(edited.into())).await;
            if decisions == 2 {
                case.decide(Wanted::Resume).await;
            }
        };
        let (said_one, ()) = tokio::join!(said(case.remove(asked, None).await.unwrap()), decides);
        assert!(said_one[1].contains("input_required"), "{said_one:?}");
        for breakpoint in case.lot.breakpoints() {
            case.lot.remove_breakpoint(breakpoint.id);
        }
        let state = r#""requestState":"s-1","inputResponses":{}"#;
        drop(case.remove(&format!("{asked},{state}"), None).await.unwrap());
        assert_eq!(case.lot.list().len(), 1, "nobody has approved what was edited away");
        let as_approved = format!(r#""arguments":{{"path":"ask me"}},{state}"#);
        assert_eq!(said(case.remove(&as_approved, None).await.unwrap()).await.len(), 2);
    }
}

/// Says that its tools are for anybody.
struct Lister;

#[async_trait]
impl Service for Lister {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let id = envelope.request_id().unwrap();
        Ok(Replies::one(Message::Response(Response::result(id, TOOLS))))
    }
}

const TOOLS: &str = r#"{"resultType":"complete","tools":[1],"cacheScope":"public","ttlMs":60000}"#;

#[tokio::test(start_paused = true)]
async fn t51_an_answer_that_a_person_has_edited_is_told_as_for_its_reader_only() {
    let as_it_is = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{TOOLS}}}"#);
    for (wanted, expected) in [
        (Wanted::Resume, as_it_is.clone()),
        (
            Wanted::Edit(as_it_is.replace("[1]", "[]").into()),
            as_it_is.replace("[1]", "[]").replace("public", "private"),
        ),
    ] {
        let case = Case::new(&["!~q & ~m tools/list"]);
        let request = Request::new(&Id::from_u64(1), method::TOOLS_LIST, Some("{}"));
        let origin = Origin::new(case.peer, Transport::Http, Revision::V2026_07_28);
        let envelope = Envelope::to_server(Message::Request(request), Arc::new(origin));
        let replies = case.chain.run(envelope, Arc::new(Lister)).await.unwrap();
        let (said, _) = tokio::join!(said(replies), case.decide(wanted));
        assert_eq!(said, [expected]);
    }
}

use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Chain, UpstreamAnswer};
use shadowcat_session::{Key, Namespace, SessionId};

use super::*;
use crate::back::ClientBack;
use crate::testing::{FakeServer, HANDSHAKE, envelope, records};

/// The upstream of a session whose handshake is through, with one connection.
async fn upstream(server: &FakeServer) -> SessionUpstream {
    let memory = Arc::new(Memory::default());
    let key = Key::new(Namespace::reverse("up"), SessionId::parse("id").unwrap());
    let upstream = SessionUpstream::new(
        Arc::new(server.clone()),
        ClientBack::new(Chain::default(), Tasks::new()),
        Arc::default(),
        Arc::clone(&memory),
        Standing::new(records(), key, State::New),
        None,
    );
    upstream.handle(envelope(method::INITIALIZE)).await.unwrap();
    memory.agreed(HANDSHAKE, HANDSHAKE);
    assert!(upstream.standing.step(State::Active));
    assert_eq!(server.opened(), 1);
    upstream
}

async fn refused(upstream: &SessionUpstream) -> RefusalKind {
    let handled = tokio::time::timeout(HANDSHAKE_DEADLINE, upstream.handle(envelope("tools/list"))).await;
    handled.expect("an end").expect_err("a refusal").kind
}

#[tokio::test]
async fn a_late_message_of_an_ended_session_opens_nothing() {
    let server = FakeServer::default();
    let upstream = upstream(&server).await;
    upstream.close(true).await;
    assert_eq!(refused(&upstream).await, RefusalKind::SessionUnknown);
    assert_eq!((server.opened(), server.partings()), (1, vec![Parting::End]));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_while_it_is_found_lost_is_not_set_up_again() {
    let server = FakeServer::default();
    let upstream = upstream(&server).await;
    server.forgets();
    let ends = async {
        upstream.close(true).await;
        server.tell();
    };
    let (kind, ()) = tokio::join!(refused(&upstream), ends);
    assert_eq!(kind, RefusalKind::SessionUnknown);
    assert_eq!(server.opened(), 1);
}

#[tokio::test]
async fn a_message_of_a_session_put_to_sleep_is_told_when_to_come_again() {
    let server = FakeServer::default();
    let upstream = upstream(&server).await;
    upstream.close(false).await;
    let kind = refused(&upstream).await;
    assert_eq!(kind, RefusalKind::BUSY);
    assert_eq!(kind.status(), 503);
    assert_eq!((server.opened(), server.partings()), (1, vec![Parting::Keep]));
}

#[tokio::test]
async fn a_server_that_says_404_to_every_stream_loses_one_session_by_it_and_is_not_asked_again() {
    let server = FakeServer::default();
    let upstream = upstream(&server).await;
    server.has_no_stream(RefusalKind::SessionLost);
    for _ in 0..3 {
        upstream.listen().await.unwrap();
        assert_eq!((server.opened(), server.listened()), (2, 2));
    }
    upstream.handle(envelope("tools/list")).await.unwrap();
}

#[tokio::test]
async fn a_server_without_a_standing_stream_is_used_all_the_same() {
    let server = FakeServer::default();
    let upstream = upstream(&server).await;
    let answer = UpstreamAnswer { status: 405, headers: Vec::new(), body: "".into() };
    server.has_no_stream(RefusalKind::UpstreamStatus(Box::new(answer)));
    upstream.listen().await.unwrap();
    upstream.handle(envelope("tools/list")).await.unwrap();
    assert_eq!(server.opened(), 1);
}

#[tokio::test]
async fn a_server_out_of_reach_is_an_error_of_the_session_until_it_answers_again() {
    let server = FakeServer::default();
    let upstream = upstream(&server).await;
    server.is_out_of_reach(true);
    assert_eq!(refused(&upstream).await, RefusalKind::UpstreamUnreachable);
    assert_eq!(upstream.standing.state(), State::Error);
    server.is_out_of_reach(false);
    upstream.handle(envelope("tools/list")).await.unwrap();
    assert_eq!((upstream.standing.state(), server.opened()), (State::Active, 1));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_said_again_that_nobody_waits_for_any_more_leaves_an_error() {
    let server = FakeServer::default();
    let upstream = upstream(&server).await;
    server.forgets();
    server.tell();
    server.falls_silent();
    let asked = upstream.handle(envelope("tools/list"));
    let looked = async {
        tokio::time::sleep(HANDSHAKE_DEADLINE / 4).await;
        upstream.standing.state()
    };
    let (given_up, seen) = tokio::join!(tokio::time::timeout(HANDSHAKE_DEADLINE / 2, asked), looked);
    assert!(given_up.is_err());
    assert_eq!((seen, upstream.standing.state()), (State::Initializing, State::Error));
}

#[tokio::test]
async fn a_connection_that_ended_while_nobody_asked_is_an_error_when_it_is_looked_for() {
    let server = FakeServer::default();
    let upstream = upstream(&server).await;
    upstream.look();
    assert_eq!(upstream.standing.state(), State::Active);
    upstream.current().unwrap().close(Parting::Keep).await;
    upstream.look();
    assert_eq!(upstream.standing.state(), State::Error);
    upstream.handle(envelope("tools/list")).await.unwrap();
    assert_eq!((upstream.standing.state(), server.opened()), (State::Active, 2));
}

#[tokio::test]
async fn a_session_is_in_its_next_turn_from_when_it_is_lost() {
    let server = FakeServer::default();
    let upstream = upstream(&server).await;
    assert_eq!(upstream.turn(), 0);
    upstream.current().unwrap().close(Parting::Keep).await;
    assert_eq!(upstream.turn(), 1);
    upstream.handle(envelope("tools/list")).await.unwrap();
    assert_eq!((upstream.turn(), server.opened()), (1, 2));
}

#[tokio::test]
async fn a_server_that_came_back_as_another_loses_the_session() {
    let server = FakeServer::default();
    let upstream = upstream(&server).await;
    for agreed in [
        r#"{"protocolVersion":"2025-06-18","capabilities":{}}"#,
        r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}}}"#,
    ] {
        upstream.memory.agreed(HANDSHAKE, agreed);
        upstream.current().unwrap().close(Parting::Keep).await;
        assert_eq!(refused(&upstream).await, RefusalKind::SessionLost, "{agreed}");
    }
}

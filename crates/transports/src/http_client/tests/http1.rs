//! HTTP/1.1: which connection is used, when it is closed, and what failures are called.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::poll;
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;

use super::super::{BodyError, ClientError, Settings, Target};
use super::peers::{Peer, Script};
use super::{PATIENCE, Rig, get, post, text};

#[tokio::test]
async fn a_hundred_requests_in_a_row_need_one_connection() {
    let (peer, rig) = (Peer::plain().await, Rig::new(Settings::default()));
    for _ in 0..100 {
        let response = rig.client.send(post("ping"), &peer.target("/"), PATIENCE).await.unwrap();
        assert_eq!(text(response).await, "ping");
    }
    assert_eq!(rig.counts(), (1, 99));
    assert_eq!(peer.accepted(), 1);
}

#[tokio::test]
async fn answers_without_a_body_free_their_connection_at_once() {
    let (peer, rig) = (Peer::plain().await, Rig::new(Settings::default()));
    let unread = rig.get(&peer.target("/empty")).await.unwrap();
    assert_eq!(unread.status(), StatusCode::ACCEPTED);
    rig.read(&peer.target("/")).await;
    assert_eq!(rig.counts(), (1, 1));
}

#[tokio::test]
async fn a_big_answer_comes_whole() {
    let (peer, rig) = (Peer::plain().await, Rig::new(Settings::default()));
    assert_eq!(rig.read(&peer.target("/big")).await.len(), 1024 * 1024);
    assert_eq!(rig.read(&peer.target("/big")).await.len(), 1024 * 1024);
    assert_eq!(rig.counts(), (1, 1));
}

#[tokio::test]
async fn requests_at_the_same_time_have_a_connection_each_and_leave_it_to_the_next() {
    let (peer, rig) = (Peer::plain().await, Rig::new(Settings::default()));
    let target = peer.target("/held");
    let (_, ()) = tokio::join!(join_all((0..10).map(|_| rig.read(&target))), async {
        peer.arrived(10).await;
        peer.gate.send_replace(true);
    });
    join_all((0..10).map(|_| rig.read(&target))).await;
    assert_eq!(rig.counts(), (10, 10));
    assert_eq!(peer.accepted(), 10);
}

#[tokio::test]
async fn a_request_over_the_limit_of_connections_is_refused_unsent() {
    let settings = Settings { connections_per_host_max: 2, ..Settings::default() };
    let (peer, rig) = (Peer::plain().await, Rig::new(settings));
    let streams = [rig.get(&peer.target("/stream")).await, rig.get(&peer.target("/stream")).await];
    let error = rig.get(&peer.target("/")).await.unwrap_err();
    assert!(error.is_overloaded() && error.never_sent(), "{error:?}");
    drop(streams);
    rig.settles_at(0).await;
    rig.read(&peer.target("/")).await;
}

#[tokio::test]
async fn a_connection_closed_by_the_server_is_not_used_again() {
    let (peer, rig) = (Peer::plain().await, Rig::new(Settings::default()));
    assert_eq!(rig.read(&peer.target("/last")).await, "last");
    rig.settles_at(0).await;
    rig.read(&peer.target("/")).await;
    assert_eq!(rig.counts(), (2, 0));
}

#[tokio::test]
async fn a_request_that_meets_a_dying_connection_is_sent_on_a_new_one() {
    let (peer, rig) = (Peer::plain().await, Rig::new(Settings::default()));
    let target = peer.target("/");
    // A kept connection that is ready, and whose driver never gets to write.
    let (near, _far) = tokio::io::duplex(64);
    let (sender, mut connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
    assert!(poll!(&mut connection).is_pending());
    rig.client.pool.host(target.origin()).check_in(sender);

    let mut sent = Box::pin(rig.client.send(post("once"), &target, PATIENCE));
    assert!(poll!(&mut sent).is_pending());
    drop(connection);
    assert_eq!(text(sent.await.unwrap()).await, "once");
    assert_eq!(*peer.arrived.borrow(), 1);
    assert_eq!(peer.accepted(), 1);
}

#[tokio::test]
async fn a_connection_cut_before_the_answer_may_have_carried_the_request() {
    let (script, rig) = (Script::new().await, Rig::new(Settings::default()));
    let (outcome, ()) = tokio::join!(rig.get(&script.target), async { drop(script.answer("").await) });
    let error = outcome.unwrap_err();
    assert!(matches!(error, ClientError::Closed(_)) && !error.never_sent(), "{error:?}");
}

#[tokio::test]
async fn a_body_cut_short_is_an_error() {
    for head in ["content-length: 10\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let (script, rig) = (Script::new().await, Rig::new(Settings::default()));
        let answer = format!("HTTP/1.1 200 OK\r\n{head}");
        let (response, stream) = tokio::join!(rig.get(&script.target), script.answer(&answer));
        let mut body = response.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        drop(stream);
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(matches!(error, BodyError::Cut(_)), "{error:?}");
        rig.settles_at(0).await;
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_error() {
    let (script, rig) = (Script::new().await, Rig::new(Settings::default()));
    let (outcome, _stream) =
        tokio::join!(rig.get(&script.target), script.answer("220 mail.example ESMTP\r\n"));
    assert!(matches!(outcome.unwrap_err(), ClientError::Protocol(_)));
}

#[tokio::test]
async fn a_head_over_the_limit_is_a_protocol_error() {
    let settings = Settings { header_bytes_max: 8 * 1024, ..Settings::default() };
    let (script, rig) = (Script::new().await, Rig::new(settings));
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(8 * 1024));
    let (outcome, _stream) = tokio::join!(rig.get(&script.target), script.answer(&head));
    assert!(matches!(outcome.unwrap_err(), ClientError::Protocol(_)));
}

#[tokio::test]
async fn a_silent_server_is_given_up_on_and_sees_it() {
    let (script, rig) = (Script::new().await, Rig::new(Settings::default()));
    let silent = async {
        let mut stream = script.accept().await;
        stream.read_to_end(&mut Vec::new()).await
    };
    let (outcome, read) =
        tokio::join!(rig.client.send(get(), &script.target, Duration::from_millis(20)), silent);
    let error = outcome.unwrap_err();
    assert!(error.is_timeout() && !error.never_sent(), "{error:?}");
    assert_ne!(read.unwrap(), 0);
    rig.settles_at(0).await;
}

#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let rig = Rig::new(Settings::default());
    let target = Script::new().await.target.clone();
    let error = rig.get(&target).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(_)) && error.never_sent(), "{error:?}");
    assert_eq!(rig.counts(), (0, 0));
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let (peer, rig) = (Peer::plain().await, Rig::new(Settings::default()));
    let target = Target::parse(&format!("http://localhost:{}/host", peer.address.port())).unwrap();
    assert_eq!(rig.read(&target).await, format!("localhost:{}", peer.address.port()));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (peer, rig) = (Peer::plain().await, Rig::new(Settings::default()));
    assert_eq!(rig.get(&peer.target("/elsewhere")).await.unwrap().status(), StatusCode::FOUND);
    assert_eq!(*peer.arrived.borrow(), 1);
}

#[tokio::test]
async fn a_stream_dropped_early_closes_its_connection() {
    let (mut peer, rig) = (Peer::plain().await, Rig::new(Settings::default()));
    let mut body = rig.get(&peer.target("/stream")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(rig.client.stats().open(), 1);
    drop(body);
    peer.abandoned.recv().await.unwrap();
    rig.settles_at(0).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let settings = Settings { idle_timeout: Duration::from_millis(20), ..Settings::default() };
    let (script, rig) = (Script::new().await, Rig::new(settings));
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (response, mut stream) = tokio::join!(rig.get(&script.target), script.answer(answer));
    assert_eq!(text(response.unwrap()).await, "ok");
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    rig.settles_at(0).await;
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_allowed() {
    let settings = Settings { idle_per_host_max: 3, ..Settings::default() };
    let (peer, rig) = (Peer::plain().await, Rig::new(settings));
    let target = peer.target("/held");
    tokio::join!(join_all((0..8).map(|_| rig.read(&target))), async {
        peer.arrived(8).await;
        peer.gate.send_replace(true);
    });
    rig.settles_at(3).await;
}

#[tokio::test]
async fn stopping_closes_everything() {
    let (peer, rig) = (Peer::plain().await, Rig::new(Settings::default()));
    let mut body = rig.get(&peer.target("/stream")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    rig.read(&peer.target("/")).await;
    assert_eq!(rig.client.stats().open(), 2);

    rig.tasks.stop();
    assert!(rig.tasks.join(PATIENCE).await);
    assert_eq!(rig.client.stats().open(), 0);
    assert!(matches!(body.frame().await.unwrap().unwrap_err(), BodyError::Cut(_)));
    let error = rig.get(&peer.target("/")).await.unwrap_err();
    assert!(matches!(error, ClientError::Stopped), "{error:?}");
}

#[tokio::test]
async fn a_dropped_client_leaves_nothing_behind() {
    let (peer, rig) = (Peer::plain().await, Rig::new(Settings::default()));
    rig.read(&peer.target("/")).await;
    let stats = rig.client.stats();
    drop(rig.client);
    rig.tasks.stop();
    assert!(rig.tasks.join(PATIENCE).await);
    assert_eq!(stats.open(), 0);
}

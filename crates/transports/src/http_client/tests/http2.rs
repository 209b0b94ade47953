//! HTTP/2: sharing a connection, and when not to.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Response;
use http_body_util::BodyExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::super::{BodyError, ClientError, Settings, Target};
use super::peers::Peer;
use super::secure::Ca;
use super::{PATIENCE, Rig, Tasks, post, text};

/// A server that offers HTTP/2 and allows so many streams on a connection, and a client that trusts it.
async fn pair(streams_max: u32) -> (Peer, Rig) {
    let ca = Ca::new();
    (Peer::tls(ca.server(&["h2", "http/1.1"]), streams_max).await, Rig::new(ca.trusting()))
}

/// Sends so many requests, none of which ends before all have arrived.
async fn together(peer: &Peer, rig: &Rig, requests: usize) {
    let target = peer.tls_target("localhost", "/held");
    tokio::join!(join_all((0..requests).map(|_| rig.read(&target))), async {
        peer.arrived(requests).await;
        peer.gate.send_replace(true);
    });
}

#[tokio::test]
async fn requests_at_the_same_time_share_one_connection() {
    let (peer, rig) = pair(100).await;
    together(&peer, &rig, 50).await;
    assert_eq!(rig.counts(), (1, 49));
    assert_eq!(peer.accepted(), 1);
    assert_eq!(peer.most.load(Ordering::Relaxed), 50);
}

#[tokio::test]
async fn requests_are_addressed_as_http2_wants_it() {
    let (peer, rig) = pair(100).await;
    let port = peer.address.port();
    assert_eq!(rig.read(&peer.tls_target("localhost", "/host")).await, format!("localhost:{port}"));
    let response = rig.client.send(post("ping"), &peer.tls_target("localhost", "/"), PATIENCE).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(text(response).await, "ping");
}

#[tokio::test]
async fn no_connection_carries_more_streams_than_the_server_allows() {
    let (peer, rig) = pair(5).await;
    together(&peer, &rig, 12).await;
    assert_eq!(peer.accepted(), 3);
    assert_eq!(peer.most.load(Ordering::Relaxed), 5);
    assert_eq!(rig.counts(), (3, 9));
}

#[tokio::test]
async fn long_streams_do_not_stand_in_the_way() {
    let (peer, rig) = pair(2).await;
    let target = peer.tls_target("localhost", "/stream");
    let streams = join_all((0..6).map(|_| rig.get(&target))).await;
    assert!(streams.iter().all(Result::is_ok));
    rig.read(&peer.tls_target("localhost", "/")).await;
    assert_eq!(peer.accepted(), 4);
}

#[tokio::test]
async fn a_stream_dropped_early_is_reset_and_leaves_the_connection_to_others() {
    let (mut peer, rig) = pair(1).await;
    let mut body = rig.get(&peer.tls_target("localhost", "/stream")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    peer.abandoned.recv().await.unwrap();
    rig.read(&peer.tls_target("localhost", "/")).await;
    assert_eq!(rig.counts(), (1, 1));
}

#[tokio::test]
async fn a_connection_the_server_bids_farewell_on_ends_its_streams_and_takes_no_more() {
    let (peer, rig) = pair(100).await;
    let mut body = rig.get(&peer.tls_target("localhost", "/stream")).await.unwrap().into_body();
    peer.farewell.send_replace(());
    let moved_on = async {
        while rig.counts().0 == 1 {
            rig.read(&peer.tls_target("localhost", "/")).await;
        }
    };
    tokio::time::timeout(PATIENCE, moved_on).await.unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
    assert_eq!(rig.client.stats().open(), 2);
    drop(body);
    rig.settles_at(1).await;
}

#[tokio::test]
async fn an_idle_shared_connection_is_closed_after_its_time() {
    let ca = Ca::new();
    let peer = Peer::tls(ca.server(&["h2"]), 100).await;
    let rig = Rig::new(Settings { idle_timeout: Duration::from_millis(20), ..ca.trusting() });
    rig.read(&peer.tls_target("localhost", "/")).await;
    rig.settles_at(0).await;
}

#[tokio::test]
async fn stopping_closes_shared_connections() {
    let (peer, rig) = pair(100).await;
    let mut body = rig.get(&peer.tls_target("localhost", "/stream")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    rig.tasks.stop();
    assert!(rig.tasks.join(PATIENCE).await);
    assert_eq!(rig.client.stats().open(), 0);
    assert!(body.frame().await.unwrap().is_err());
}

/// A server that speaks HTTP/2 only, and the place to speak to it by hand.
async fn by_hand(
    ca: &Ca,
) -> (Target, impl Future<Output = h2::server::Connection<TlsStream<TcpStream>, Bytes>> + use<>) {
    let acceptor = TlsAcceptor::from(Arc::new(ca.server(&["h2"])));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::parse(&format!("https://{}/", listener.local_addr().unwrap())).unwrap();
    let accepted = async move {
        let (stream, _) = listener.accept().await.unwrap();
        h2::server::handshake(acceptor.accept(stream).await.unwrap()).await.unwrap()
    };
    (target, accepted)
}

#[tokio::test]
async fn a_server_that_falls_silent_is_noticed_on_an_open_stream() {
    let (ca, tasks, hush) = (Ca::new(), Tasks::new(), CancellationToken::new());
    let rig = Rig::new(Settings { keep_alive: Duration::from_millis(50), ..ca.trusting() });
    let (target, accepted) = by_hand(&ca).await;
    let hushed = hush.clone();
    tasks.spawn_until_stop(async move {
        let mut connection = accepted.await;
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        let _stream = respond.send_response(Response::new(()), false).unwrap();
        drop(hushed.run_until_cancelled(connection.accept()).await);
        std::future::pending::<()>().await;
    });
    let mut body = rig.get(&target).await.unwrap().into_body();
    hush.cancel();
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(matches!(error, BodyError::Cut(_)), "{error:?}");
    rig.settles_at(0).await;
}

#[tokio::test]
async fn a_stream_the_server_refuses_was_not_acted_on() {
    let (ca, tasks) = (Ca::new(), Tasks::new());
    let rig = Rig::new(ca.trusting());
    let (target, accepted) = by_hand(&ca).await;
    tasks.spawn_until_stop(async move {
        let mut connection = accepted.await;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        }
    });
    let error = rig.get(&target).await.unwrap_err();
    assert!(matches!(error, ClientError::NotSent(_)) && error.never_sent(), "{error:?}");
}

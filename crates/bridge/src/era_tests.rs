//! What tells a server's era, for how long it is believed, and how often it is asked.

use std::sync::atomic::{AtomicUsize, Ordering};

use shadowcat_pipeline::UpstreamAnswer;
use shadowcat_protocol::{ErrorObject, Id};

use super::*;

fn result(text: &str) -> Response {
    Response::result(&Id::from_u64(1), text)
}

fn error(code: i64, data: Option<&str>) -> Response {
    let error = ErrorObject { code, message: "no".into(), data: data.map(str::to_owned) };
    Response::error(Some(&Id::from_u64(1)), &error)
}

fn status(status: u16) -> Result<Response, Refusal> {
    let answer = UpstreamAnswer { status, headers: Vec::new(), body: bytes::Bytes::new() };
    Err(RefusalKind::UpstreamStatus(Box::new(answer)).into())
}

#[test]
fn t73_what_a_child_answers_tells_its_era() {
    let supported = r#"{"supported":["2026-07-28"],"requested":"2027-01-01"}"#;
    let rows = [
        (Ok(error(-32601, None)), Evidence::Legacy),
        (Ok(error(-32602, None)), Evidence::Legacy),
        (Ok(error(-32000, None)), Evidence::Legacy),
        (Err(RefusalKind::UpstreamTimeout.into()), Evidence::Legacy),
        (Err(RefusalKind::UpstreamExited.into()), Evidence::Legacy),
        (Ok(error(-32022, Some(supported))), Evidence::Modern),
        (Ok(error(-32022, Some(r#"{"supported":["2025-11-25"]}"#))), Evidence::Legacy),
        (Ok(result(r#"{"supportedVersions":["2025-06-18","2026-07-28"]}"#)), Evidence::Both),
        (Ok(result(r#"{"supportedVersions":["2026-07-28"]}"#)), Evidence::Modern),
        (Ok(result(r#"{"supportedVersions":["2025-06-18"]}"#)), Evidence::Legacy),
        (Ok(result("{}")), Evidence::Legacy),
        (Ok(result(r#"{"resultType":"complete"}"#)), Evidence::Modern),
        (Err(RefusalKind::UpstreamUnreachable.into()), Evidence::Nothing),
    ];
    for (row, (answer, expected)) in rows.iter().enumerate() {
        assert_eq!(evidence(answer, Transport::Stdio), *expected, "row {row}");
    }
}

#[test]
fn t74_what_an_http_server_answers_tells_its_era_and_a_fault_tells_nothing() {
    let rows = [
        (status(400), Evidence::Legacy),
        (status(404), Evidence::Legacy),
        (status(405), Evidence::Legacy),
        (Ok(error(-32022, None)), Evidence::Modern),
        (Ok(error(-32020, None)), Evidence::Modern),
        (status(401), Evidence::Nothing),
        (status(403), Evidence::Nothing),
        (status(429), Evidence::Nothing),
        (status(503), Evidence::Nothing),
        (Err(RefusalKind::UpstreamTimeout.into()), Evidence::Nothing),
    ];
    for (row, (answer, expected)) in rows.iter().enumerate() {
        assert_eq!(evidence(answer, Transport::Http), *expected, "row {row}");
    }
}

/// A server that is a legacy one for its first answers, and modern afterwards.
struct Upgraded {
    legacy_for: usize,
    asked: AtomicUsize,
}

#[async_trait]
impl Probe for Upgraded {
    async fn discover(&self) -> Result<Response, Refusal> {
        tokio::task::yield_now().await;
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if asked < self.legacy_for {
            return Ok(error(-32601, None));
        }
        Ok(result(r#"{"supportedVersions":["2026-07-28"]}"#))
    }

    async fn shake_hands(&self) -> Result<Response, Refusal> {
        Err(RefusalKind::UpstreamExited.into())
    }

    async fn give_up(&self) {}
}

fn upgraded(legacy_for: usize) -> (Arc<Upgraded>, Arc<Eras>) {
    let probe = Arc::new(Upgraded { legacy_for, asked: AtomicUsize::new(0) });
    let eras = Eras::new(Arc::clone(&probe) as _, Transport::Http, Tasks::new());
    (probe, eras)
}

#[tokio::test(start_paused = true)]
async fn b7_many_clients_at_once_ask_once_and_the_answer_is_kept() {
    let (probe, eras) = upgraded(usize::MAX);
    let all = (0..20).map(|_| {
        let eras = Arc::clone(&eras);
        async move { eras.needs_legacy().await }
    });
    assert!(futures_util::future::join_all(all).await.into_iter().all(|legacy| legacy));
    assert_eq!(probe.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn b7_an_upgrade_of_the_server_is_noticed_and_nobody_waits_for_the_question() {
    let (probe, eras) = upgraded(1);
    assert!(eras.needs_legacy().await);
    tokio::time::advance(LEGACY_FOR).await;
    assert!(eras.needs_legacy().await, "the old verdict serves while the server is asked again");
    while probe.asked.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    assert!(!eras.needs_legacy().await);
}

#[tokio::test(start_paused = true)]
async fn a_server_is_not_asked_again_beside_the_question_to_it() {
    let (probe, eras) = upgraded(usize::MAX);
    assert!(eras.needs_legacy().await);
    tokio::time::advance(LEGACY_FOR).await;
    assert_eq!(tokio::join!(eras.needs_modern(), eras.needs_legacy()), (false, true));
    while eras.known().asks_again {
        tokio::task::yield_now().await;
    }
    assert_eq!(probe.asked.load(Ordering::Relaxed), 2, "its answer is everybody's");
}

#[tokio::test(start_paused = true)]
async fn b7_a_server_that_was_set_back_is_asked_again_when_its_answers_are_doubted() {
    let (probe, eras) = upgraded(0);
    assert!(!eras.needs_legacy().await);
    eras.doubt_modern();
    assert!(!eras.needs_legacy().await);
    assert_eq!(probe.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_every_answer_is_doubtful_is_not_asked_again_for_each() {
    let (probe, eras) = upgraded(0);
    for _ in 0..100 {
        assert!(!eras.needs_legacy().await);
        eras.doubt_modern();
    }
    assert_eq!(probe.asked.load(Ordering::Relaxed), 2);
    tokio::time::advance(DOUBT_EVERY).await;
    eras.doubt_modern();
    assert!(!eras.needs_legacy().await);
    assert_eq!(probe.asked.load(Ordering::Relaxed), 3);
    let (probe, eras) = upgraded(usize::MAX);
    for _ in 0..100 {
        assert!(eras.needs_legacy().await);
        eras.doubt_legacy();
        tokio::task::yield_now().await;
    }
    assert!(probe.asked.load(Ordering::Relaxed) <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_handshake_leads_to_the_modern_side_only_if_there_is_one() {
    let (_, modern) = upgraded(0);
    assert!(!modern.refuses_legacy());
    assert!(modern.needs_modern().await);
    assert!(modern.refuses_legacy());
    tokio::time::advance(LEGACY_FOR).await;
    assert!(!modern.refuses_legacy(), "it is tried again");
    assert!(modern.needs_modern().await);
    modern.doubt_modern();
    assert!(!modern.refuses_legacy(), "it may have been set back");
    let (_, legacy) = upgraded(usize::MAX);
    assert!(!legacy.needs_modern().await);
    assert!(!legacy.refuses_legacy());
}

#[tokio::test(start_paused = true)]
async fn b7_many_refused_handshakes_at_once_ask_once() {
    let (probe, eras) = upgraded(usize::MAX);
    let all = futures_util::future::join_all((0..20).map(|_| eras.needs_modern())).await;
    assert!(all.into_iter().all(|modern| !modern));
    assert_eq!(probe.asked.load(Ordering::Relaxed), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!eras.needs_modern().await);
    assert_eq!(probe.asked.load(Ordering::Relaxed), 2, "a later one is no part of it");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_every_session_is_not_asked_again_for_each() {
    let (probe, eras) = upgraded(1);
    for _ in 0..100 {
        assert!(!eras.has_become_modern().await);
    }
    assert_eq!(probe.asked.load(Ordering::Relaxed), 1);
    tokio::time::advance(DOUBT_EVERY).await;
    for _ in 0..100 {
        assert!(eras.has_become_modern().await);
    }
    assert_eq!(probe.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_of_both_eras_that_refuses_a_handshake_is_not_bridged() {
    struct Both;
    #[async_trait]
    impl Probe for Both {
        async fn discover(&self) -> Result<Response, Refusal> {
            Ok(result(r#"{"supportedVersions":["2025-11-25","2026-07-28"]}"#))
        }

        async fn shake_hands(&self) -> Result<Response, Refusal> {
            Err(RefusalKind::UpstreamExited.into())
        }

        async fn give_up(&self) {}
    }
    let eras = Eras::new(Arc::new(Both), Transport::Http, Tasks::new());
    assert!(!eras.needs_modern().await);
    assert!(!eras.refuses_legacy());
}

#[tokio::test(start_paused = true)]
async fn a_server_wrongly_taken_for_a_legacy_one_is_asked_again_when_it_refuses_the_handshake() {
    let (probe, eras) = upgraded(1);
    assert!(eras.needs_legacy().await);
    eras.doubt_legacy();
    assert!(eras.needs_legacy().await, "nobody waits for it");
    while probe.asked.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    assert!(!eras.needs_legacy().await);
}

#[tokio::test(start_paused = true)]
async fn a_child_whose_restart_failed_is_not_taken_for_a_legacy_one_for_long() {
    /// A modern child that crashed; its second start fails.
    struct Crashed(AtomicUsize);

    #[async_trait]
    impl Probe for Crashed {
        async fn discover(&self) -> Result<Response, Refusal> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                1 => Err(RefusalKind::UpstreamExited.into()),
                _ => Ok(result(r#"{"supportedVersions":["2026-07-28"]}"#)),
            }
        }

        async fn shake_hands(&self) -> Result<Response, Refusal> {
            Err(RefusalKind::UpstreamExited.into())
        }

        async fn give_up(&self) {}
    }
    let eras = Eras::new(Arc::new(Crashed(AtomicUsize::new(0))), Transport::Stdio, Tasks::new());
    assert!(!eras.needs_legacy().await);
    eras.doubt_modern();
    assert!(eras.needs_legacy().await, "what a child does that dies of the question");
    eras.doubt_legacy();
    assert!(eras.needs_legacy().await, "nobody waits for the question");
    while eras.known().asks_again {
        tokio::task::yield_now().await;
    }
    assert!(!eras.needs_legacy().await);
}

#[tokio::test(start_paused = true)]
async fn the_question_goes_on_when_the_client_that_waited_for_it_leaves() {
    let (probe, eras) = upgraded(usize::MAX);
    let mut waiting = Box::pin(eras.needs_legacy());
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(waiting);
    while eras.remembered().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(probe.asked.load(Ordering::Relaxed), 1);
}

/// A child that answers each of both questions after so many seconds, or never.
struct Slow {
    discover: Option<(u64, fn() -> Response)>,
    initialize: Option<(u64, fn() -> Response)>,
}

async fn after(answer: Option<(u64, fn() -> Response)>) -> Result<Response, Refusal> {
    let Some((seconds, answer)) = answer else { return std::future::pending().await };
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    Ok(answer())
}

#[async_trait]
impl Probe for Slow {
    async fn discover(&self) -> Result<Response, Refusal> {
        after(self.discover).await
    }

    async fn shake_hands(&self) -> Result<Response, Refusal> {
        after(self.initialize).await
    }

    async fn give_up(&self) {}
}

#[tokio::test(start_paused = true)]
async fn t73_a_child_that_starts_slowly_is_not_taken_for_one_that_does_not_know_the_question() {
    let modern = || result(r#"{"supportedVersions":["2026-07-28"]}"#);
    let both = || result(r#"{"supportedVersions":["2025-11-25","2026-07-28"]}"#);
    let unsupported = || error(-32022, Some(r#"{"supported":["2026-07-28"]}"#));
    let unknown = || error(-32601, None);
    let agreed = || result(r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#);
    let rows: [(Slow, bool); 6] = [
        (Slow { discover: Some((12, modern)), initialize: Some((2, unsupported)) }, false),
        (Slow { discover: Some((12, both)), initialize: Some((2, agreed)) }, false),
        (Slow { discover: None, initialize: Some((2, unsupported)) }, false),
        (Slow { discover: Some((12, unknown)), initialize: Some((2, agreed)) }, true),
        (Slow { discover: None, initialize: Some((0, agreed)) }, true),
        (Slow { discover: None, initialize: None }, true),
    ];
    for (row, (child, legacy)) in rows.into_iter().enumerate() {
        let eras = Eras::new(Arc::new(child), Transport::Stdio, Tasks::new());
        assert_eq!(eras.needs_legacy().await, legacy, "row {row}");
    }
}

#[tokio::test(start_paused = true)]
async fn t74_an_http_server_that_is_silent_is_not_asked_otherwise() {
    let silent = Slow { discover: None, initialize: Some((0, || error(-32601, None))) };
    let eras = Eras::new(Arc::new(silent), Transport::Http, Tasks::new());
    let began = Instant::now();
    assert!(!eras.needs_legacy().await);
    assert_eq!(began.elapsed(), PROBE_MAX);
}

#[tokio::test(start_paused = true)]
async fn http_sse_has_no_modern_side_and_is_not_asked() {
    let probe = Arc::new(Upgraded { legacy_for: 0, asked: AtomicUsize::new(0) });
    let eras = Eras::new(Arc::clone(&probe) as _, Transport::Sse, Tasks::new());
    assert!(eras.needs_legacy().await);
    assert_eq!(probe.asked.load(Ordering::Relaxed), 0);
}

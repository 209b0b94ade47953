//! Which eras a server speaks: found out by asking, remembered for a while.
//!
//! A client's own era comes first: a server that speaks both is never bridged. A modern client's server is asked
//! `server/discover` once; a legacy client's gets its `initialize`, and is only asked otherwise if it refuses that.
//! Source: 2026-07-28, basic/versioning and basic/transports ("backward compatibility").

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Refusal, RefusalKind, Transport};
use shadowcat_protocol::{Response, Revision, codes, json};
use tokio::time::Instant;

/// How long "only legacy" is believed: a server that was upgraded goes on serving its old clients, so nothing else would
/// show it.
const LEGACY_FOR: Duration = Duration::from_mins(10);
/// How long nothing is asked again after a question that told nothing.
const UNSURE_FOR: Duration = Duration::from_secs(5);
/// How often a verdict may be doubted: some servers give answers that look like another era's to whatever they are asked.
const DOUBT_EVERY: Duration = Duration::from_secs(5);
/// How long the answer to `server/discover` may take.
const PROBE_MAX: Duration = Duration::from_secs(10);
/// How long a child that was silent may take to answer anything; it has to start in it.
const START_MAX: Duration = Duration::from_secs(30);

/// Asks a server what it speaks.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Sends `server/discover` as a modern client.
    async fn discover(&self) -> Result<Response, Refusal>;

    /// Sends `initialize` as a legacy client, behind the question that the same child has not answered.
    async fn shake_hands(&self) -> Result<Response, Refusal>;

    /// Lets go of what the question was asked on: the server is a legacy one, and a child of it may wait for a
    /// handshake that does not come, or have ended.
    async fn give_up(&self);
}

/// What an answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The server speaks a modern revision that we speak, and lists none of the other era.
    Modern,
    /// It lists revisions of both eras.
    Both,
    /// It does not.
    Legacy,
    /// Nothing: a refused login, an overload, a broken network.
    Nothing,
}

/// Which eras one server speaks.
pub struct Eras {
    probe: Arc<dyn Probe>,
    transport: Transport,
    tasks: Tasks,
    known: Mutex<Known>,
    /// Held while the server is asked, so that many clients at once ask once.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    modern: Verdict,
    /// When the server last answered the question, or did not.
    asked_at: Option<Instant>,
    /// Until when the server is known to refuse the handshake.
    no_legacy: Option<Instant>,
    asks_again: bool,
    /// When either verdict was doubted last. Each has its own time: one doubt may have been wrong, and the other is what
    /// puts it right.
    modern_doubted: Option<Instant>,
    legacy_doubted: Option<Instant>,
}

/// Whether a verdict may be doubted now that was doubted `last`.
fn takes_doubt(last: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    let takes = last.is_none_or(|at| now >= at + DOUBT_EVERY);
    if takes {
        *last = Some(now);
    }
    takes
}

#[derive(Clone, Copy, Default)]
enum Verdict {
    #[default]
    Unknown,
    Modern,
    Both,
    /// Believed until then.
    Legacy(Instant),
    /// Not asked again until then.
    Unsure(Instant),
}

impl Eras {
    /// Nothing is known yet of the server behind `probe`.
    pub fn new(probe: Arc<dyn Probe>, transport: Transport, tasks: Tasks) -> Arc<Self> {
        Arc::new(Self {
            probe,
            transport,
            tasks,
            known: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether modern messages need a bridge to this server. While nothing is known they are tried as they are.
    pub async fn needs_legacy(self: &Arc<Self>) -> bool {
        if let Some(verdict) = self.remembered() {
            return verdict;
        }
        // A task, because it goes on when the client that waits for it leaves: a silent server takes its time.
        let (tell, told) = tokio::sync::oneshot::channel();
        let this = Arc::clone(self);
        self.tasks.spawn_until_stop(async move {
            let _asking = this.asking.lock().await;
            let verdict = match this.remembered() {
                Some(verdict) => verdict,
                None => this.ask().await == Evidence::Legacy,
            };
            // Whoever waited may have left.
            let _left = tell.send(verdict);
        });
        told.await.unwrap_or(false)
    }

    /// The same without a wait; none if the server has to be asked first.
    pub fn remembered(self: &Arc<Self>) -> Option<bool> {
        if self.transport == Transport::Sse {
            // HTTP+SSE ended with the legacy era.
            return Some(true);
        }
        let mut known = self.known();
        match known.modern {
            Verdict::Unknown => None,
            Verdict::Modern | Verdict::Both => Some(false),
            Verdict::Unsure(until) => (Instant::now() < until).then_some(false),
            Verdict::Legacy(until) => {
                if Instant::now() >= until && !known.asks_again {
                    known.asks_again = true;
                    let this = Arc::clone(self);
                    // Nobody waits for it: the old verdict serves meanwhile.
                    self.tasks.spawn_until_stop(async move {
                        let _asking = this.asking.lock().await;
                        if this.is_expired() {
                            this.ask().await;
                        }
                        this.known().asks_again = false;
                    });
                }
                Some(true)
            }
        }
    }

    fn is_expired(&self) -> bool {
        matches!(self.known().modern, Verdict::Legacy(until) if Instant::now() >= until)
    }

    /// The answer to the question. A child that is silent passes over what it does not know, or has not started yet: its
    /// first word after the handshake tells which.
    async fn answer(&self) -> Result<Response, Refusal> {
        let mut discovering = self.probe.discover();
        if let Ok(answer) = tokio::time::timeout(PROBE_MAX, &mut discovering).await {
            return answer;
        }
        if self.transport != Transport::Stdio {
            return Err(RefusalKind::UpstreamTimeout.into());
        }
        let first = async {
            tokio::select! {
                biased;
                answer = discovering => answer,
                answer = self.probe.shake_hands() => answer,
            }
        };
        let answer = tokio::time::timeout(START_MAX, first).await;
        answer.unwrap_or_else(|_| Err(RefusalKind::UpstreamTimeout.into()))
    }

    async fn ask(&self) -> Evidence {
        let answer = self.answer().await;
        let evidence = evidence(&answer, self.transport);
        if let Err(refusal) = &answer {
            tracing::debug!(%refusal, ?evidence, "the server was asked what it speaks");
        } else {
            tracing::debug!(?evidence, "the server was asked what it speaks");
        }
        if evidence == Evidence::Legacy {
            self.probe.give_up().await;
        }
        let mut known = self.known();
        known.asked_at = Some(Instant::now());
        let was_legacy = matches!(known.modern, Verdict::Legacy(_));
        known.modern = match evidence {
            Evidence::Modern => Verdict::Modern,
            Evidence::Both => Verdict::Both,
            Evidence::Legacy => Verdict::Legacy(Instant::now() + LEGACY_FOR),
            // What is known of it is better than nothing, and will be asked again.
            Evidence::Nothing if was_legacy => Verdict::Legacy(Instant::now() + UNSURE_FOR),
            Evidence::Nothing => Verdict::Unsure(Instant::now() + UNSURE_FOR),
        };
        evidence
    }

    /// A modern message was refused as only a legacy server refuses it: the server is asked again before the next.
    pub fn doubt_modern(&self) {
        let mut known = self.known();
        if matches!(known.modern, Verdict::Modern | Verdict::Both) && takes_doubt(&mut known.modern_doubted) {
            known.modern = Verdict::Unknown;
        }
    }

    /// The server refused a handshake although it is taken for a legacy one: it is asked again, behind the next message.
    pub fn doubt_legacy(&self) {
        let mut known = self.known();
        if let Verdict::Legacy(until) = known.modern
            && takes_doubt(&mut known.legacy_doubted)
        {
            known.modern = Verdict::Legacy(Instant::now().min(until));
        }
    }

    /// Whether legacy sessions need a bridge to this server, as far as is known. While the rest is in doubt, so is this.
    pub fn refuses_legacy(&self) -> bool {
        let known = self.known();
        let is_modern = matches!(known.modern, Verdict::Modern);
        is_modern && known.no_legacy.is_some_and(|until| Instant::now() < until)
    }

    /// A handshake was refused: finds out whether the server speaks the other era only, and remembers it. One that
    /// speaks both had another reason.
    pub async fn needs_modern(&self) -> bool {
        let since = Instant::now();
        let _asking = self.asking.lock().await;
        let (known, asked_at) = {
            let known = self.known();
            (known.modern, known.asked_at)
        };
        let is_modern = match known {
            Verdict::Modern => true,
            Verdict::Both => false,
            // Somebody else has just asked.
            _ if asked_at.is_some_and(|at| at >= since) => false,
            _ => self.ask().await == Evidence::Modern,
        };
        if is_modern {
            self.known().no_legacy = Some(Instant::now() + LEGACY_FOR);
        }
        is_modern
    }
}

/// What the answer to `server/discover` tells of a server behind this transport.
pub fn evidence(answer: &Result<Response, Refusal>, transport: Transport) -> Evidence {
    match answer {
        Ok(response) => match (response.result_json(), response.error_code()) {
            (Some(result), _) => match json::get(result, &["supportedVersions"]) {
                // Not what the revision asks for, but no legacy server knows this word.
                None if json::get(result, &["resultType"]).is_some() => Evidence::Modern,
                versions => offered(versions),
            },
            (None, Some(codes::UNSUPPORTED_VERSION)) => {
                let data = response.error_json().and_then(|error| json::get(error, &["data", "supported"]));
                data.map_or(Evidence::Modern, |versions| offered(Some(versions)))
            }
            (None, Some(codes::HEADER_MISMATCH | codes::MISSING_CAPABILITY)) => Evidence::Modern,
            (None, _) => Evidence::Legacy,
        },
        Err(refusal) => refused(&refusal.kind, transport),
    }
}

/// What a list of versions tells. That a server answers is no sign: some legacy ones answer whatever they are asked, and
/// some list what they speak.
fn offered(versions: Option<&str>) -> Evidence {
    let Some(versions) = versions.filter(|raw| raw.starts_with('[')) else { return Evidence::Legacy };
    let known = json::elements(versions).filter_map(json::string).filter_map(|name| Revision::parse(&name));
    let (modern, legacy): (Vec<_>, Vec<_>) = known.partition(|revision| revision.is_modern());
    match (modern.is_empty(), legacy.is_empty()) {
        (false, false) => Evidence::Both,
        (true, false) => Evidence::Legacy,
        // Also a list of nothing that we know: a server that answers so is not of the old era.
        (_, true) => Evidence::Modern,
    }
}

fn refused(kind: &RefusalKind, transport: Transport) -> Evidence {
    let is_pipe = transport == Transport::Stdio;
    match kind {
        RefusalKind::UpstreamStatus(answer) if matches!(answer.status, 400 | 404 | 405 | 406 | 415) => {
            Evidence::Legacy
        }
        RefusalKind::UpstreamExited | RefusalKind::UpstreamTimeout if is_pipe => Evidence::Legacy,
        _ => Evidence::Nothing,
    }
}

#[cfg(test)]
mod tests {
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
}

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
    /// When the server was last asked because it had refused a session that it had agreed to.
    sessions_doubted: Option<Instant>,
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

    /// A session is refused by a server that had agreed to it: whether it speaks the other era only by now.
    pub async fn has_become_modern(&self) -> bool {
        {
            let mut known = self.known();
            let is_known = matches!(known.modern, Verdict::Modern);
            if !is_known && !takes_doubt(&mut known.sessions_doubted) {
                return false;
            }
        }
        self.needs_modern().await
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
#[path = "era_tests.rs"]
mod tests;

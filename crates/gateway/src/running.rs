//! A running proxy, and its end in order: no new work, then the work there is, then what it stood on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use shadowcat_interceptors::Lot;
use shadowcat_pipeline::Transport;
use shadowcat_pipeline::task::Tasks;
use shadowcat_tape::Tape;
use shadowcat_transports::stdio::{Guard, Launcher};
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::external::Externals;
use crate::gateway::Gateway;
use crate::telemetry::Telemetry;

/// How long each step after the last exchange may take.
const STEP_DEADLINE: Duration = Duration::from_secs(5);
/// How long exchanges that were told to end may take to say so to their clients.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A running proxy.
pub struct Running {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) admin: Option<Admin>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) launcher: Option<Launcher>,
    pub(crate) externals: Option<Externals>,
    pub(crate) guard: Guard,
    pub(crate) tape: Option<Tape>,
    pub(crate) telemetry: Option<Telemetry>,
    pub(crate) signals: Signals,
    /// Accept loops, connections of clients and their exchanges.
    pub(crate) front: Tasks,
    /// Connections to the server.
    pub(crate) back: Tasks,
    /// The store's worker, which writes what is left before it ends.
    pub(crate) storing: Tasks,
    pub(crate) grace: Duration,
}

/// What the parts are told, in this order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    /// No new exchanges; subscriptions end.
    pub(crate) draining: CancellationToken,
    /// Exchanges end now, with an error.
    pub(crate) force: CancellationToken,
    /// The client on stdio is gone.
    pub(crate) finished: CancellationToken,
}

/// How a proxy ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Every exchange was finished in time.
    pub in_order: bool,
    /// Everything that was to be kept is on disk.
    pub saved: bool,
    /// The tape, and how many messages were recorded.
    pub recorded: Option<(PathBuf, u64)>,
}

/// How long a step may take: hardly anything once somebody has lost patience.
fn step(force: &CancellationToken) -> Duration {
    if force.is_cancelled() { Duration::from_millis(100) } else { STEP_DEADLINE }
}

impl Running {
    /// Where clients reach it; `None` on stdio.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Where those who run it reach it; `None` if they do not.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// Where messages wait that are held.
    pub fn lot(&self) -> Lot {
        self.gateway.lot.clone()
    }

    /// Waits until the client on stdio is gone; for ever when clients come over HTTP.
    pub async fn finished(&self) {
        self.signals.finished.cancelled().await;
    }

    /// Whether client and server turned out to be of different eras, so that a bridge translated between them.
    pub fn has_bridged(&self) -> bool {
        let figures = self.gateway.bridges.as_ref().map(|bridges| &bridges.figures);
        figures.is_some_and(|figures| figures.to_legacy.get() + figures.to_modern.get() > 0)
    }

    /// Ends it in order, as [`Running::shutdown`] does, and waits for that: no longer than `timeouts.shutdown` for exchanges,
    /// and a few seconds for the rest.
    pub async fn stop(self) -> Ended {
        self.shutdown(CancellationToken::new()).await
    }

    /// Ends it in order: stop accepting, let go of what is held, let what is in flight finish, end the rest at the
    /// deadline or at `force`, stop the children, write what is to be kept.
    pub fn shutdown(self, force: CancellationToken) -> BoxFuture<'static, Ended> {
        // Boxed for the reason that `start` is.
        Box::pin(self.end(force))
    }

    async fn end(self, force: CancellationToken) -> Ended {
        self.signals.draining.cancel();
        self.gateway.draining.cancel();
        // Before anything is closed, so that what is held still goes where its verdict sends it.
        self.gateway.lot.close();
        self.close_standing_streams();
        let finished = force.run_until_cancelled(self.front.join(self.grace)).await.unwrap_or(false);
        if !finished {
            tracing::warn!("what is still in flight is ended");
            self.signals.force.cancel();
            self.front.join(LAST_WORDS).await;
        }
        // Also when told twice: it is memory that is written to, and costs no patience.
        let saved = tokio::time::timeout(STEP_DEADLINE, self.pause_sessions()).await.is_ok();
        force.run_until_cancelled(self.close_sessions()).await;
        self.front.stop();
        if let Some(externals) = &self.externals {
            externals.close(step(&force)).await;
        }
        self.back.stop();
        self.front.join(step(&force)).await;
        if let Some(admin) = &self.admin {
            // Not before: an operator may want to see what is still in flight.
            admin.end(step(&force)).await;
        }
        if let Some(launcher) = &self.launcher {
            // Told twice to end, nobody waits for children to end by themselves.
            let stopped = force.run_until_cancelled(launcher.shutdown(step(&force))).await;
            if stopped.is_none() {
                launcher.shutdown(step(&force)).await;
            }
        }
        self.guard.shutdown(step(&force)).await;
        self.back.join(step(&force)).await;
        if let Some(telemetry) = &self.telemetry {
            // Behind all whose exchanges are spans.
            telemetry.close(step(&force)).await;
        }
        let saved = self.close_disks().await && saved;
        let recorded = self.tape.as_ref().map(|tape| (tape.path(), tape.monitor().stats().frames));
        Ended { in_order: finished, saved, recorded }
    }

    /// A stream that waits for messages of the server would keep its connection open for ever.
    fn close_standing_streams(&self) {
        for live in self.gateway.table.all() {
            if live.transport == Transport::Http {
                live.outlet.close_standing();
            }
        }
    }

    async fn pause_sessions(&self) {
        let sessions = self.gateway.table.all();
        futures_util::future::join_all(sessions.iter().map(|live| self.gateway.pause(live))).await;
    }

    /// The sessions go on in the next process, so the server is not told that they end.
    async fn close_sessions(&self) {
        let sessions = self.gateway.table.all();
        let closing = sessions.iter().map(|live| async {
            live.outlet.close();
            live.upstream.close(false).await;
        });
        let closing = async {
            futures_util::future::join_all(closing).await;
            self.gateway.modern.close().await;
        };
        if tokio::time::timeout(STEP_DEADLINE, closing).await.is_err() {
            tracing::warn!("connections to the server were not closed in order");
        }
    }

    async fn close_disks(&self) -> bool {
        let tape = match &self.tape {
            Some(tape) => tape.close(STEP_DEADLINE).await.complete,
            None => true,
        };
        self.storing.stop();
        let stored = self.storing.join(STEP_DEADLINE).await;
        let closed = tokio::time::timeout(STEP_DEADLINE, self.gateway.records.store().close()).await;
        if let Ok(Err(error)) = &closed {
            tracing::warn!(%error, "the session store was not closed in order");
        }
        tape && stored && matches!(closed, Ok(Ok(())))
    }
}

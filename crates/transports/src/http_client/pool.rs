//! Finds a connection for a request: an idle one, a place on a shared one, or a new one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use foldhash::fast::RandomState;
use shadowcat_pipeline::task::Tasks;
use tokio::time::{Instant, timeout};

use super::Settings;
use super::connection::{start_http1, start_http2};
use super::dial::Dialer;
use super::error::ClientError;
use super::host::HostPool;
use super::lease::Lease;
use super::stats::{Open, Stats};
use super::target::Origin;

/// Origins whose connections are kept. Those of further ones close after each exchange.
const ORIGINS_MAX: usize = 1024;
/// How long an idle connection may be busy with the end of its last exchange before another is taken.
const SETTLE_MAX: Duration = Duration::from_millis(50);
/// An idle connection lives at most this part longer than its timeout.
const SWEEPS_PER_TIMEOUT: u32 = 4;
const SWEEP_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// All connections of a client.
pub(super) struct Pool {
    origins: Mutex<HashMap<Arc<Origin>, Arc<HostPool>, RandomState>>,
    dialer: Dialer,
    settings: Settings,
    tasks: Tasks,
    pub(super) stats: Arc<Stats>,
}

impl Pool {
    pub(super) fn new(dialer: Dialer, settings: Settings, tasks: Tasks) -> Arc<Self> {
        let every = (settings.idle_timeout / SWEEPS_PER_TIMEOUT).max(SWEEP_INTERVAL_MIN);
        let pool =
            Arc::new(Self { origins: Mutex::default(), dialer, settings, tasks, stats: Arc::default() });
        pool.tasks.spawn_until_stop(sweep(Arc::downgrade(&pool), every));
        pool
    }

    /// A connection that is open already, or a new one. Says whether it was open.
    pub(super) async fn any(&self, origin: &Arc<Origin>) -> Result<(Lease, bool), ClientError> {
        let host = self.host(origin);
        if let Some(lease) = self.take(&host).await {
            return Ok((lease, true));
        }
        self.in_time(Box::pin(self.share_or_open(&host, origin))).await
    }

    /// A new connection.
    pub(super) async fn new_one(&self, origin: &Arc<Origin>) -> Result<Lease, ClientError> {
        let host = self.host(origin);
        self.in_time(Box::pin(self.open(&host, origin))).await
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
        if self.tasks.stop_signal().is_cancelled() {
            return Err(ClientError::Stopped);
        }
        let max = self.settings.connect_timeout;
        timeout(max, work).await.unwrap_or(Err(ClientError::ConnectTimeout(max)))
    }

    async fn take(&self, host: &Arc<HostPool>) -> Option<Lease> {
        if let Some(lease) = host.join_shared() {
            self.stats.count_reused();
            return Some(lease);
        }
        while let Some(mut sender) = host.check_out() {
            if sender.is_ready() || matches!(timeout(SETTLE_MAX, sender.ready()).await, Ok(Ok(()))) {
                self.stats.count_reused();
                return Some(Lease::Whole { sender, host: Arc::clone(host) });
            }
        }
        None
    }

    /// Where a connection may be shared, one caller opens it and the others wait for a place on it.
    async fn share_or_open(
        &self,
        host: &Arc<HostPool>,
        origin: &Arc<Origin>,
    ) -> Result<(Lease, bool), ClientError> {
        if !host.may_share() {
            return Ok((self.open(host, origin).await?, false));
        }
        let opening = host.opening.lock().await;
        if let Some(lease) = self.take(host).await {
            return Ok((lease, true));
        }
        // Others may have learned meanwhile that there is nothing to share: then all go on at once.
        let opening = host.may_share().then_some(opening);
        let lease = self.open(host, origin).await?;
        drop(opening);
        Ok((lease, false))
    }

    async fn open(&self, host: &Arc<HostPool>, origin: &Arc<Origin>) -> Result<Lease, ClientError> {
        let max = self.settings.connections_per_host_max;
        let slot = host.reserve(max).ok_or(ClientError::Overloaded { max })?;
        let stream = self.dialer.dial(origin).await?;
        let is_http2 = stream.is_http2();
        host.learn_sharing(is_http2);
        let kept = (slot, Open::count(&self.stats));
        if is_http2 {
            let connection = start_http2(stream, &self.settings, &self.tasks, kept).await;
            Ok(host.add_shared(connection.map_err(ClientError::NotSent)?))
        } else {
            let sender =
                start_http1(stream, &self.settings, &self.tasks, kept).await.map_err(ClientError::NotSent)?;
            Ok(Lease::Whole { sender, host: Arc::clone(host) })
        }
    }

    pub(super) fn host(&self, origin: &Arc<Origin>) -> Arc<HostPool> {
        let mut origins = self.origins();
        if let Some(host) = origins.get(origin) {
            return Arc::clone(host);
        }
        let host = Arc::new(HostPool::new(self.settings.idle_per_host_max, origin.tls_name.is_some()));
        if origins.len() < ORIGINS_MAX {
            origins.insert(Arc::clone(origin), Arc::clone(&host));
        }
        host
    }

    fn expire(&self, now: Instant) {
        self.origins().retain(|_, host| {
            host.expire(now, self.settings.idle_timeout);
            Arc::strong_count(host) > 1 || !host.is_unused()
        });
    }

    fn origins(&self) -> MutexGuard<'_, HashMap<Arc<Origin>, Arc<HostPool>, RandomState>> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes idle connections, one task for all of them, until the pool is dropped.
async fn sweep(pool: Weak<Pool>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.expire(Instant::now());
    }
}

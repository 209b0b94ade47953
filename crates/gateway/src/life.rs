//! The life of a session, and what its record tells of it: begun, agreed on, written back, put to sleep, ended.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shadowcat_pipeline::{Refusal, RefusalKind, Transport};
use shadowcat_protocol::Revision;
use shadowcat_session::{Key, Live, Record, Sessions, Standing, State};
use shadowcat_transports::Front as _;

use crate::gateway::{Gateway, now_ms};

/// Sessions that are over and still listed; the one that ended first gives way. They go in any case when they were not
/// used for as long as a living one may be idle.
const CLOSED_MAX: usize = 1_000;

/// The sessions that are being ended here, and those that ended last.
#[derive(Default)]
pub(crate) struct Closed(Mutex<Ends>);

#[derive(Default)]
struct Ends {
    closing: HashSet<Key>,
    closed: VecDeque<Key>,
}

impl Closed {
    fn lock(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, standing: &Standing) {
        self.lock().closing.insert(standing.key().clone());
        standing.step(State::Closing);
    }

    /// The last step of a session: nothing it held is left.
    async fn close(&self, standing: &Standing, records: &Sessions) {
        standing.step(State::Closed);
        if let Some(oldest) = self.push(standing.key().clone()) {
            records.remove(&oldest).await;
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().closed.len()
    }

    fn is_closing(&self, key: &Key) -> bool {
        self.lock().closing.contains(key)
    }

    /// Notes one more; gives the one that is listed no longer.
    fn push(&self, key: Key) -> Option<Key> {
        let mut ends = self.lock();
        ends.closing.remove(&key);
        ends.closed.push_back(key);
        if ends.closed.len() > CLOSED_MAX { ends.closed.pop_front() } else { None }
    }
}

impl Gateway {
    /// Puts a session into the table; when it is full, the one that was idle longest gives way. It stays in the store.
    pub(crate) async fn seat(&self, live: Arc<Live>) -> Result<Arc<Live>, Refusal> {
        if let Ok(seated) = self.table.insert(Arc::clone(&live)) {
            return Ok(seated);
        }
        if let Some(idlest) = self.table.idlest() {
            self.put_to_sleep(&idlest).await;
        }
        self.table.insert(live).map_err(|full| {
            Refusal::new(RefusalKind::BUSY).with_detail("too many sessions are open").with_cause(full)
        })
    }

    /// A session that has an id, and a handshake to come.
    pub(crate) fn begin(&self, live: &Live, asked: Revision) {
        let mut record = Record::new(self.key(&live.id), asked, &*self.upstream_name, now_ms());
        record.principal = live.principal.as_ref().map(|principal| principal.name().to_owned());
        if let Err(error) = self.records.insert(record) {
            tracing::warn!(session = %live.tag, %error, "the session does not outlive this process");
        }
    }

    /// The session is set up: from now on it outlives the process.
    pub(crate) async fn activate(&self, live: &Live) {
        // First what it is set up again from, so that it is written down as active with it.
        self.save(live).await;
        live.standing.step(State::Active);
    }

    /// Writes back what a session in use has changed; says whether that worked.
    pub(crate) async fn save(&self, live: &Live) -> bool {
        let idle = u64::try_from(live.idle_for().as_millis()).unwrap_or(u64::MAX);
        let used = now_ms().saturating_sub(idle);
        let updated = self.records.update(live.standing.key(), |record| {
            record.touch(used);
            record.revision = live.revision();
            let (requests, errors) = live.take_counts();
            record.requests += requests;
            record.errors += errors;
            live.upstream.keep(record);
            live.standing.tell(record);
        });
        let updated = updated.await;
        if let Err(error) = &updated {
            tracing::warn!(session = %live.tag, %error, "the session was not written back");
        }
        updated.is_ok()
    }

    /// Takes a session out of use without ending it. One whose client calls meanwhile stays.
    async fn put_to_sleep(&self, live: &Arc<Live>) {
        self.pause(live).await;
        if !live.retire() {
            if !live.is_retired() && live.standing.state() == State::Paused {
                live.standing.step(State::Active);
            }
            return;
        }
        if self.table.remove(live) {
            live.outlet.close();
            let upstream = Arc::clone(&live.upstream);
            self.tasks.spawn(async move { upstream.close(false).await });
        }
    }

    /// Leaves a session to the store. One whose server's side is lost stays as it is: it can be woken all the same.
    pub(crate) async fn pause(&self, live: &Live) {
        live.standing.step(State::Paused);
        self.save(live).await;
    }

    /// Ends a session that was taken out of the table, so that this happens once.
    pub(crate) async fn finish(&self, live: &Arc<Live>) {
        self.let_go(live);
        if !self.save(live).await {
            // Its record may not have heard of the end. Without one it is over, too.
            self.records.remove(live.standing.key()).await;
        }
    }

    /// Closes the server's side of a session: a task, so that it happens even if nobody waits for it.
    pub(crate) fn let_go(&self, live: &Arc<Live>) {
        self.closed.begin(&live.standing);
        let (upstream, standing) = (Arc::clone(&live.upstream), Arc::clone(&live.standing));
        let (records, closed) = (Arc::clone(&self.records), Arc::clone(&self.closed));
        self.tasks.spawn(async move {
            upstream.close(true).await;
            closed.close(&standing, &records).await;
        });
    }

    /// A client on stdio has its session for as long as it is there; others may have gone without a word.
    fn is_finished(&self, live: &Live) -> bool {
        let over =
            live.idle_for() > self.rules.idle || (live.age() > self.rules.life && live.in_flight() == 0);
        over && live.transport != Transport::Stdio
    }

    /// Forgets sessions in the store that nobody has used for too long; those in use are written back often enough.
    pub(crate) async fn expire(&self) {
        let idle = u64::try_from(self.rules.idle.as_millis()).unwrap_or(u64::MAX);
        match self.records.expire(now_ms().saturating_sub(idle)).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "sessions that nobody used are forgotten"),
            Err(error) => tracing::warn!(%error, "old sessions could not be forgotten"),
        }
    }

    /// Looks through what is held and through the sessions in use: ends those that are over or were killed, and writes back
    /// those that were used since the last look.
    pub(crate) async fn sweep(&self, since: Duration) {
        self.lot.sweep();
        self.end_killed().await;
        let oldest = tokio::time::Instant::now().checked_sub(self.rules.resume_window);
        for live in self.table.all() {
            if self.is_finished(&live) {
                tracing::info!(session = %live.tag, "a session is over");
                self.end(&live).await;
                continue;
            }
            if let Some(oldest) = oldest {
                live.outlet.forget_ended(oldest);
                live.outlet.abandon(oldest);
            }
            live.upstream.look();
            // What nobody used has nothing new to say.
            if live.idle_for() <= since || live.upstream.has_changed() {
                self.save(&live).await;
            }
        }
    }

    /// Ends the sessions that another program has killed in the store.
    async fn end_killed(&self) {
        let killed = match self.records.ended_elsewhere(&self.rules.namespace).await {
            Ok(killed) => killed,
            Err(error) => return tracing::debug!(%error, "the store does not say what was killed"),
        };
        for key in killed.into_iter().filter(|key| !self.closed.is_closing(key)) {
            tracing::info!(session = %key.id, "a session was killed");
            match self.table.get(&key.id) {
                Some(live) => self.end(&live).await,
                None => self.close_record(key).await,
            }
        }
    }

    /// Ends a session that is not in use, and so has only a record.
    async fn close_record(&self, key: Key) {
        if let Err(error) = self.records.get(&key).await {
            tracing::warn!(session = %key.id, %error, "a killed session stays as it is");
            return;
        }
        let standing = Standing::new(Arc::clone(&self.records), key, State::Active);
        self.closed.begin(&standing);
        self.closed.close(&standing, &self.records).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowcat_session::{Namespace, SessionId};

    #[test]
    fn of_more_closed_sessions_than_are_kept_the_oldest_is_forgotten() {
        let key = |number: usize| {
            Key::new(Namespace::reverse("up"), SessionId::parse(&format!("id-{number}")).unwrap())
        };
        let closed = Closed::default();
        for number in 0..CLOSED_MAX {
            assert_eq!(closed.push(key(number)), None);
        }
        assert_eq!(closed.push(key(CLOSED_MAX)), Some(key(0)));
        assert_eq!(closed.push(key(CLOSED_MAX + 1)), Some(key(1)));
    }
}

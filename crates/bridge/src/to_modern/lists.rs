//! What changes in a modern server's lists, told to all legacy sessions by one subscription: each session of its own
//! would take a place of the connection that all calls share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shadowcat_pipeline::task::Tasks;
use shadowcat_protocol::Notification;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::server::ModernServer;
use super::subscription::{Subscriber, Subscription};

/// Changes kept for a session that has not heard them yet. One that falls further behind is told once of every list.
const UNHEARD_MAX: usize = 16;

/// The changes that all sessions are told of.
pub(super) struct Lists {
    tasks: Tasks,
    changes: broadcast::Sender<Notification>,
    followed: Mutex<Followed>,
}

#[derive(Default)]
struct Followed {
    /// Sessions that want to know.
    by: usize,
    /// Ends the subscription; is cancelled where that has ended by itself.
    end: Option<CancellationToken>,
}

/// What a session hears of the lists.
pub(super) enum Heard {
    Change(Notification),
    /// Any list may have changed.
    Missed,
}

impl Lists {
    pub(super) fn new(tasks: Tasks) -> Self {
        Self { tasks, changes: broadcast::Sender::new(UNHEARD_MAX), followed: Mutex::default() }
    }

    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells every session that follows.
    pub(super) fn tell(&self, change: Notification) {
        // Nobody left to hear it is no fault.
        let _ = self.changes.send(change);
    }

    fn keep_open(&self, server: Arc<ModernServer>) -> CancellationToken {
        let end = CancellationToken::new();
        let (ended, gone) = (end.clone(), end.clone().drop_guard());
        let subscription = Subscription::new(server, Subscriber::All);
        self.tasks.spawn_until_stop(Box::pin(async move {
            let _gone = gone;
            ended.run_until_cancelled(subscription.keep_open(None)).await;
        }));
        end
    }
}

/// One session's place among those that follow. The subscription is there for as long as there is any.
pub(super) struct Following {
    server: Arc<ModernServer>,
    changes: broadcast::Receiver<Notification>,
}

impl Following {
    /// From now on changes are heard. Opens the subscription if there is none.
    pub(super) fn begin(server: Arc<ModernServer>) -> Self {
        let lists = &server.lists;
        let changes = lists.changes.subscribe();
        let mut followed = lists.followed();
        followed.by += 1;
        if followed.end.as_ref().is_none_or(CancellationToken::is_cancelled) {
            // Nobody has heard what changed before.
            server.tools.doubt();
            followed.end = Some(lists.keep_open(Arc::clone(&server)));
        }
        drop(followed);
        Self { server, changes }
    }

    /// The next change; `None` when there will be no more.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        match self.changes.recv().await {
            Ok(change) => Some(Heard::Change(change)),
            Err(broadcast::error::RecvError::Lagged(_)) => {
                self.changes = self.changes.resubscribe();
                Some(Heard::Missed)
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut followed = self.server.lists.followed();
        followed.by = followed.by.saturating_sub(1);
        if followed.by == 0
            && let Some(end) = followed.end.take()
        {
            end.cancel();
        }
    }
}

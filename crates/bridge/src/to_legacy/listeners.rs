//! The subscriptions that modern clients have opened on one legacy session.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use shadowcat_protocol::subscription::{Filter, is_of_list};
use shadowcat_protocol::{Notification, json, method};
use tokio::sync::mpsc;

/// Notifications that wait for one listener. One that does not read loses its subscription, and can open another.
const WAITING_MAX: usize = 256;
/// The most subscriptions on one session.
const LISTENERS_MAX: usize = 10_000;
/// What comes between a resource's name and the name of its part.
const PART: [char; 3] = ['/', '?', '#'];

/// The open subscriptions of one session.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    open: Mutex<HashMap<u64, Listener>>,
    /// The resources that the server is told of; held while it is.
    pub(super) resources: tokio::sync::Mutex<HashMap<String, Resource>>,
}

/// One resource that somebody listens to, or wants to.
#[derive(Debug, Default)]
pub(super) struct Resource {
    pub(super) listeners: usize,
    /// The server has said that it tells of changes.
    pub(super) accepted: bool,
}

#[derive(Debug)]
struct Listener {
    filter: Filter,
    notes: mpsc::Sender<Notification>,
}

impl Listeners {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Listener>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a subscription; what comes for it ends when it is taken out. None if there are too many.
    pub(super) fn enter(&self, number: u64, filter: Filter) -> Option<mpsc::Receiver<Notification>> {
        let mut open = self.lock();
        if open.len() >= LISTENERS_MAX {
            return None;
        }
        let (notes, heard) = mpsc::channel(WAITING_MAX);
        open.insert(number, Listener { filter, notes });
        Some(heard)
    }

    /// Changes what a subscription is for.
    pub(super) fn narrow(&self, number: u64, filter: Filter) {
        if let Some(listener) = self.lock().get_mut(&number) {
            listener.filter = filter;
        }
    }

    pub(super) fn leave(&self, number: u64) {
        self.lock().remove(&number);
    }

    /// Ends every subscription.
    pub(super) fn end(&self) {
        self.lock().clear();
    }

    /// Tells every subscription that is for this; says whether it is something to subscribe to at all.
    pub(super) fn tell(&self, note: &Notification) -> bool {
        if note.method() != method::RESOURCE_UPDATED && !is_of_list(note.method()) {
            return false;
        }
        let mut open = self.lock();
        let named = updated_resource(note);
        // The resource may be a part of the one that was subscribed to, and nothing says of which: if no name fits,
        // everybody is told who has subscribed to any.
        let fits = |filter: &Filter| named.as_ref().is_some_and(|uri| is_within(filter, uri));
        let somebody_fits = open.values().any(|listener| fits(&listener.filter));
        open.retain(|_, listener| {
            if !listener.filter.wants(note.method()) || (somebody_fits && !fits(&listener.filter)) {
                return true;
            }
            listener.notes.try_send(note.clone()).is_ok()
        });
        true
    }
}

fn updated_resource(note: &Notification) -> Option<String> {
    let uri = (note.method() == method::RESOURCE_UPDATED).then(|| json::get(note.params()?, &["uri"]))??;
    json::string(uri).map(Into::into)
}

fn is_within(filter: &Filter, uri: &str) -> bool {
    filter.uris.iter().any(|subscribed| {
        let Some(rest) = uri.strip_prefix(subscribed.as_str()) else { return false };
        rest.is_empty() || subscribed.ends_with(PART) || rest.starts_with(PART)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updated(uri: &str) -> Notification {
        Notification::new(method::RESOURCE_UPDATED, Some(&format!(r#"{{"uri":"{uri}"}}"#)))
    }

    fn filter(params: &str) -> Filter {
        Filter::read(Some(&format!(r#"{{"notifications":{params}}}"#)))
    }

    #[test]
    fn an_update_goes_to_those_who_asked_for_the_resource_or_what_it_is_a_part_of() {
        let listeners = Listeners::default();
        let mut one = listeners.enter(1, filter(r#"{"resourceSubscriptions":["file:///a"]}"#)).unwrap();
        let mut other = listeners.enter(2, filter(r#"{"resourceSubscriptions":["file:///b"]}"#)).unwrap();
        assert!(listeners.tell(&updated("file:///a/part")));
        assert!(one.try_recv().is_ok() && other.try_recv().is_err());
        assert!(listeners.tell(&updated("other:x")));
        assert!(one.try_recv().is_ok() && other.try_recv().is_ok());
        assert!(!is_within(&filter(r#"{"resourceSubscriptions":["file:///a"]}"#), "file:///ab"));
        assert!(is_within(&filter(r#"{"resourceSubscriptions":["file:///"]}"#), "file:///ab"));
        assert!(!listeners.tell(&Notification::new("notifications/elicitation/complete", None)));
    }

    #[test]
    fn a_listener_that_does_not_read_loses_its_subscription() {
        let listeners = Listeners::default();
        let mut heard = listeners.enter(1, filter(r#"{"toolsListChanged":true}"#)).unwrap();
        for _ in 0..=WAITING_MAX {
            listeners.tell(&Notification::new(method::TOOLS_CHANGED, None));
        }
        while heard.try_recv().is_ok() {}
        assert!(heard.is_closed());
    }
}

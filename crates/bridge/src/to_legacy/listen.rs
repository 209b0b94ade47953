//! `subscriptions/listen` of a modern client, on a legacy session: its standing stream, and a subscription at the
//! server for each resource that somebody listens to.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use shadowcat_pipeline::{Form, Head, Refusal, RefusalKind, Replies};
use shadowcat_protocol::subscription::Filter;
use shadowcat_protocol::{Id, Message, Notification, Response, json, method};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::agreed::Agreed;
use super::pool::Lease;
use super::round::Round;
use super::session::{Session, VERDICT_PATIENCE};
use super::tasks::{Handles, Watched};
use crate::meta;
use crate::object::Object;

/// How long the server may take to accept the resources of one subscription. The rest is left out.
const SUBSCRIBING_MAX: Duration = Duration::from_secs(30);
/// Resources that the listeners of one session are told of, all together. The rest is left out.
const SESSION_RESOURCES_MAX: usize = 10_000;

/// Opens a subscription. The acknowledgement names what will really be told.
pub(super) async fn listen(
    round: Round,
    lease: Lease,
    agreed: Arc<Agreed>,
    handles: &Handles,
    stop: CancellationToken,
) -> Result<Replies, Refusal> {
    let wanted = Filter::read(round.request.params());
    let id = round.id().clone();
    let mut place = Place::enter(lease, id.clone(), &wanted)?;
    let granted = place.subscribe(&agreed, wanted).await.to_json();
    let watched = Watched::of(&round, handles);
    let mut granted = Object::parse(&granted);
    if let Some(tasks) = watched.to_json() {
        granted.set("taskIds", tasks);
    }
    let ack = Object::default().with("notifications", granted.to_json()).to_json();
    place.tasks = watched.told(&Arc::new(round));
    let ack = tagged(&Notification::new(method::LISTEN_ACKNOWLEDGED, Some(&ack)), &id);
    let told = stream::unfold(Some((place, stop)), move |listening| {
        let agreed = Arc::clone(&agreed);
        async move {
            let (mut place, stop) = listening?;
            let next = stop.run_until_cancelled(place.next()).await.flatten();
            Some(match next {
                Some(note) => (Ok(tagged(&note, &place.id)), Some((place, stop))),
                None => (Ok(end(&agreed, &place.id)), None),
            })
        }
    });
    let replies = stream::iter([Ok(ack)]).chain(told);
    Ok(Replies::stream(replies).with_head(Head { form: Form::Stream, status: None }))
}

fn end(agreed: &Agreed, id: &Id) -> Message {
    Message::Response(Response::result(id, &agreed.subscription_end(id)))
}

/// The notification as one of the subscription that this request has opened.
fn tagged(note: &Notification, id: &Id) -> Message {
    let mut params = Object::of(note.params());
    let meta = params.remove("_meta");
    let meta = Object::of(meta.as_deref()).with(meta::SUBSCRIPTION, id.as_json()).to_json();
    Message::Notification(note.with_params(&params.with("_meta", meta).to_json()))
}

/// A subscription's place in a session, for as long as its client listens.
struct Place {
    lease: Lease,
    id: Id,
    number: u64,
    heard: mpsc::Receiver<Notification>,
    tasks: BoxStream<'static, Notification>,
    resources: Vec<Subscription>,
}

/// One listener's part in the subscription to a resource. Taken back when it is dropped: also in the middle of the
/// question to the server, which may still accept it.
struct Subscription {
    session: Arc<Session>,
    uri: String,
}

impl Place {
    fn enter(lease: Lease, id: Id, wanted: &Filter) -> Result<Self, Refusal> {
        let number = shadowcat_pipeline::ExchangeId::next().get();
        // From now on: a change while the server still accepts resources is a change the client has not seen.
        let heard = lease.session.listeners.enter(number, wanted.clone()).ok_or(RefusalKind::LimitQueue)?;
        Ok(Self { lease, id, number, heard, tasks: stream::empty().boxed(), resources: Vec::new() })
    }

    /// What is told next; `None` when nothing will be any more.
    async fn next(&mut self) -> Option<Notification> {
        tokio::select! {
            biased;
            heard = self.heard.recv() => heard,
            Some(changed) = self.tasks.next() => Some(changed),
        }
    }

    /// Makes the server tell what is wanted; what of it will be told.
    async fn subscribe(&mut self, agreed: &Agreed, wanted: Filter) -> Filter {
        let session = Arc::clone(&self.lease.session);
        let mut granted = Filter::default();
        if session.stand(VERDICT_PATIENCE).await {
            granted = wanted.with_offered_lists(|list| agreed.can(list));
            let uris = std::mem::take(&mut granted.uris);
            let until = Instant::now() + SUBSCRIBING_MAX;
            for uri in uris.into_iter().filter(|_| agreed.can(&["resources", "subscribe"])) {
                let accepted = tokio::time::timeout_at(until, subscribe(&session, uri)).await;
                self.resources.extend(accepted.ok().flatten());
            }
            granted.uris = self.resources.iter().map(|subscription| subscription.uri.clone()).collect();
        }
        session.listeners.narrow(self.number, granted.clone());
        granted
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lease.session.listeners.leave(self.number);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let (session, uri) = (Arc::clone(&self.session), std::mem::take(&mut self.uri));
        self.session.tasks.spawn_until_stop(async move { unsubscribe(&session, &uri).await });
    }
}

/// Enters one more listener of a resource; the server is asked until it has accepted one.
async fn subscribe(session: &Arc<Session>, uri: String) -> Option<Subscription> {
    let mut resources = session.listeners.resources.lock().await;
    if resources.len() >= SESSION_RESOURCES_MAX && !resources.contains_key(&uri) {
        return None;
    }
    let resource = resources.entry(uri.clone()).or_default();
    resource.listeners += 1;
    let subscription = Subscription { session: Arc::clone(session), uri };
    if !resource.accepted {
        resource.accepted = tell(session, method::RESOURCES_SUBSCRIBE, &subscription.uri).await;
    }
    resource.accepted.then_some(subscription)
}

/// Takes out one listener of a resource; the server is told of the last.
async fn unsubscribe(session: &Session, uri: &str) {
    let mut resources = session.listeners.resources.lock().await;
    let Some(resource) = resources.get_mut(uri) else { return };
    resource.listeners -= 1;
    if resource.listeners == 0 {
        resources.remove(uri);
        tell(session, method::RESOURCES_UNSUBSCRIBE, uri).await;
    }
}

async fn tell(session: &Session, asked: &str, uri: &str) -> bool {
    let params = Object::default().with("uri", json::quote(uri)).to_json();
    match session.ask(asked, &params).await {
        Ok(response) => response.result_json().is_some(),
        Err(refusal) => {
            tracing::debug!(%refusal, method = asked, "the legacy server was not reached");
            false
        }
    }
}

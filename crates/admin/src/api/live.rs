//! What passes and what is held, as one stream of events.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde::Serialize;
use shadowcat_interceptors::pause::{self, Happened, Heard};
use shadowcat_protocol::sse::Event;
use shadowcat_tape::{Shown, Watching};

use crate::forms::{Held, LostEvent, LostOf, ReleasedEvent};

/// Ends when the feed does.
pub(super) fn events(watching: Watching, held: pause::Feed) -> BoxStream<'static, Event> {
    let next = |(mut watching, mut held): (Watching, Option<pause::Feed>)| async move {
        let event = tokio::select! {
            shown = watching.next() => of_feed(shown?),
            heard = next_of(&mut held) => of_lot(heard),
        };
        Some((event, (watching, held)))
    };
    stream::unfold((watching, Some(held)), next).boxed()
}

/// For ever, once the lot is no more: the feed says when it is over.
async fn next_of(held: &mut Option<pause::Feed>) -> Heard {
    if let Some(feed) = held
        && let Some(heard) = feed.next().await
    {
        return heard;
    }
    *held = None;
    std::future::pending().await
}

fn of_feed(shown: Shown) -> Event {
    match shown {
        Shown::Frame(object) => Event::message(object),
        Shown::Lost(count) => lost(count, LostOf::Messages),
    }
}

fn of_lot(heard: Heard) -> Event {
    match heard {
        Heard::Happened(Happened::Held(held)) => event("held", &Held::summary(&held)),
        Heard::Happened(Happened::Released { held, verdict, by, reason }) => {
            let released = ReleasedEvent {
                id: held.id.to_string(),
                verdict: verdict.to_owned(),
                by: by.word().to_owned(),
                reason: reason.map(|reason| reason.to_string()),
            };
            event("released", &released)
        }
        Heard::Lost(count) => lost(count, LostOf::Held),
    }
}

fn lost(count: u64, of: LostOf) -> Event {
    event("lost", &LostEvent { count, of })
}

fn event(kind: &'static str, said: &impl Serialize) -> Event {
    let data = serde_json::to_vec(said).unwrap_or_default();
    Event { kind: Some(kind.into()), ..Event::message(Bytes::from(data)) }
}

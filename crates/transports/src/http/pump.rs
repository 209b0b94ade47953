//! Moves the replies of a legacy exchange to its client, whether or not the client is there.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use shadowcat_pipeline::{Envelope, ExchangeId, Form, Origin, Principal, Refusal, RefusalKind, Replies};
use shadowcat_protocol::{Id, Message, Request, Response, Revision};
use shadowcat_session::{InFlight, Live, Reader, Stream};
use tokio::sync::oneshot;

use crate::batch;
use crate::front::Front;

/// The largest event every known client takes: the smallest default limit found among them is 1 MiB.
const EVENT_BYTES_SAFE: usize = 512 * 1024;

/// An answer that came before anything else did, so that it needs no stream.
pub(super) enum Whole {
    /// A response.
    Answer(Response),
    /// The responses to a batch, as one array.
    Batch(Bytes),
    /// A batch in which every request was cancelled.
    Nothing,
    /// A refusal, and the id it answers.
    Refused(Refusal, Option<Id>),
}

/// Waits for the answer, or until its stream is `opened`.
async fn whole(answered: &mut oneshot::Receiver<Whole>, opened: impl Future<Output = ()>) -> Option<Whole> {
    tokio::select! {
        biased;
        Ok(whole) = &mut *answered => Some(whole),
        // The answer comes before the end of its stream; both may have come since the line above was looked at.
        () = opened => answered.try_recv().ok(),
    }
}

/// A request that is being answered. However that ends, its stream does too; if it is by a defect of ours, its client is
/// told.
pub(super) struct OpenExchange {
    live: Arc<Live>,
    exchange: ExchangeId,
    stream: Arc<Stream>,
    /// Where a whole answer goes; taken when it is known what becomes of the request.
    answer: Option<oneshot::Sender<Whole>>,
    id: Option<Id>,
}

/// The client of an [`OpenExchange`], for as long as it waits for the head of its answer.
pub(super) struct Waiting {
    answered: oneshot::Receiver<Whole>,
    /// Its stream, and the number of that. Its client is here: nothing that comes from now on gives way to what is kept
    /// for one that is not.
    pub(super) reader: Reader,
    pub(super) number: u64,
}

impl OpenExchange {
    /// Opens a request of this session.
    pub(super) fn begin(live: &Arc<Live>, exchange: ExchangeId, id: Option<Id>) -> (Self, Waiting) {
        let (number, stream) = live.outlet.open_exchange(exchange);
        let reader = stream.read();
        let (answer, answered) = oneshot::channel();
        let open = Self { live: Arc::clone(live), exchange, stream, answer: Some(answer), id };
        (open, Waiting { answered, reader, number })
    }

    /// Ends it with its only message and says so, unless a stream is open already, onto which its last ones belong then.
    fn end(&mut self, whole: Whole) -> bool {
        let Some(answer) = self.answer.take() else { return true };
        // In one step with the look at the stream: otherwise it could be opened by somebody else in between.
        let is_ended = self.stream.end_unopened();
        if is_ended {
            // A client that is gone has no use for an answer it cannot come back to.
            drop(answer.send(whole));
        }
        is_ended
    }

    /// The same with what `run` has come to; gives the last message where there is a stream for it.
    fn end_run(&mut self, ended: Result<Option<Response>, Refusal>) -> Option<Bytes> {
        let (whole, text) = match ended {
            Ok(Some(response)) => {
                let text = response.text().clone();
                (Whole::Answer(response), Some(text))
            }
            Ok(None) => {
                self.answer = None;
                return None;
            }
            Err(fault) => {
                let text = fault.answer(self.id.as_ref());
                (Whole::Refused(fault, self.id.clone()), text)
            }
        };
        if self.end(whole) { None } else { text }
    }
}

impl Drop for OpenExchange {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            let fault = Refusal::new(RefusalKind::Internal);
            if self.stream.end_unopened() {
                drop(answer.send(Whole::Refused(fault, self.id.take())));
            } else if let Some(text) = fault.answer(self.id.as_ref()) {
                self.stream.offer(&text);
            }
        }
        self.live.outlet.close_exchange(self.exchange);
    }
}

impl Waiting {
    /// Waits for an answer that needs no stream; `None` when it has one.
    pub(super) async fn whole(&mut self) -> Option<Whole> {
        whole(&mut self.answered, self.reader.stream().wait_opened()).await
    }
}

/// Runs one exchange to its end. Its response goes to its client as a whole if it is the first thing that comes, else onto
/// its stream like everything before it.
#[expect(clippy::manual_async_fn, reason = "that would hold the envelope twice")]
pub(super) fn pump(
    front: Arc<dyn Front>,
    envelope: Envelope,
    mut open: OpenExchange,
    place: InFlight,
) -> impl Future<Output = ()> + Send {
    async move {
        let _place = place;
        let origin = Arc::clone(&envelope.origin);
        let handling = front.handle(&open.live, envelope);
        let ended = run(handling, &origin, &open.live, &open.stream).await;
        if let Some(text) = open.end_run(ended) {
            // A stream that has ended by itself has nobody left to tell.
            drop(open.stream.push(text).await);
        }
        // Before its place is another's.
        drop(open);
    }
}

/// Passes on all that comes before the response; gives the response, or `None` when the exchange was cancelled, or its
/// client stopped reading.
async fn run(
    handling: BoxFuture<'_, Result<Replies, Refusal>>,
    origin: &Origin,
    live: &Live,
    stream: &Stream,
) -> Result<Option<Response>, Refusal> {
    let handled = tokio::select! {
        biased;
        handled = handling => handled,
        () = stream.wait_given_up() => Err(given_up()),
    };
    let mut replies = handled?;
    let form = replies.head().form;
    if form == Form::Stream {
        stream.open();
    }
    loop {
        let reply = tokio::select! {
            biased;
            reply = next(&mut replies, origin, stream) => reply,
            // Without its replies the request is withdrawn.
            () = stream.wait_given_up() => Some(Err(given_up())),
        };
        let text = match before_end(reply, form, live, stream) {
            ControlFlow::Continue(text) => text,
            ControlFlow::Break(end) => return end,
        };
        if stream.push(text).await.is_err() {
            return Ok(None);
        }
    }
}

/// What goes onto the stream of this reply, unless it ends the exchange. No part of the future that waits for it, which would
/// hold each reply several times.
fn before_end(
    reply: Option<Result<Message, Refusal>>,
    form: Form,
    live: &Live,
    stream: &Stream,
) -> ControlFlow<Result<Option<Response>, Refusal>, Bytes> {
    match reply {
        Some(Ok(Message::Response(response))) => {
            if form == Form::Free && as_event(live.revision(), &response) {
                stream.open();
            }
            ControlFlow::Break(Ok(Some(response)))
        }
        Some(Ok(message)) => ControlFlow::Continue(message.text().clone()),
        Some(Err(refusal)) => ControlFlow::Break(Err(refusal)),
        None => ControlFlow::Break(Ok(None)),
    }
}

/// Why a request is answered no more. A client that did not come back for its answer has no stream left to be told on.
fn given_up() -> Refusal {
    Refusal::new(RefusalKind::SessionLost).with_detail("the session has ended")
}

/// The next reply. A client that waits for one that is held is shown that its request lives.
async fn next(replies: &mut Replies, origin: &Origin, stream: &Stream) -> Option<Result<Message, Refusal>> {
    std::future::poll_fn(|context| {
        let reply = replies.poll_next_unpin(context);
        if reply.is_pending() && origin.waits.is_open() {
            stream.open();
        }
        reply
    })
    .await
}

/// Whether an answer that has no form of its own is given as an event: clients of 2025-11-25 can come back for what
/// they missed of a stream, and cannot for a JSON body. Some clients take no large events, so a large answer is JSON.
fn as_event(revision: Revision, response: &Response) -> bool {
    revision.has_priming_events()
        && response.result_json().is_some()
        && response.text().len() <= EVENT_BYTES_SAFE
}

/// Runs the requests of a batch side by side, each in a place of its own, as many as the session has left; their responses go
/// together in one array, or one by one on the stream if something else came first.
pub(super) async fn pump_batch(
    front: Arc<dyn Front>,
    requests: Vec<Request>,
    asker: Option<Principal>,
    mut open: OpenExchange,
    in_flight_max: usize,
) {
    let answer = |request| {
        let mut origin: Origin = open.live.origin_by(asker.as_ref());
        origin.exchange = open.exchange;
        let origin = Arc::new(origin);
        let envelope = Envelope::to_server(Message::Request(request), Arc::clone(&origin));
        let (front, live, stream) = (&*front, &open.live, &*open.stream);
        let place = live.enter(in_flight_max);
        async move {
            let _place = match place {
                Ok(place) => place,
                Err(refusal) => return Some(Err(refusal)),
            };
            run(front.handle(live, envelope), &origin, live, stream).await.transpose()
        }
    };
    let responses = batch::answered(requests, answer).await;
    let texts: Vec<Bytes> = responses.iter().map(|response| response.text().clone()).collect();
    // An empty array must not be sent (JSON-RPC 2.0, 6).
    let whole = if responses.is_empty() { Whole::Nothing } else { Whole::Batch(batch::join(&responses)) };
    if !open.end(whole) {
        for text in texts {
            // As above.
            drop(open.stream.push(text).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_not_lost_that_comes_with_the_end_of_its_stream() {
        let (answer, mut answered) = oneshot::channel();
        // Both happen on another thread, after the answer was looked for and before the stream is.
        let opened = async {
            drop(answer.send(Whole::Batch(Bytes::new())));
        };
        assert!(whole(&mut answered, opened).await.is_some());
    }
}

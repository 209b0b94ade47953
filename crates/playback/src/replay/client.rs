//! One client of the tape, saying again what it said.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use shadowcat_protocol::{Id, Message, Notification, Request, method};
use shadowcat_tape::message_limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::Played;
use super::pace::{Go, Pace};
use super::stock::Stock;
use super::waiting::{Done, Rounds};
use super::wire::Wire;
use crate::run_values::{Carried, is_redacted};
use crate::script::{Call, Client, Note, Outcome, Says, Step};
use crate::tapes::Place;

/// How long a subscription may take to be acknowledged before the next thing is said.
const ACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);
/// How much longer than on tape a server may take with what it says of its own accord.
const HEARD_GRACE: Duration = Duration::from_secs(2);
/// How often it is looked whether it came.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Says what the client said, and gives what came of it.
pub(super) async fn run<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    client: &Client,
    pace: &Pace,
    begun: Instant,
    (input, output): (R, W),
    terminal: &tokio::sync::Mutex<()>,
) -> Played {
    let (wire, stock) = (Wire::new(output, pace.patience), Mutex::new(Stock::new(&client.questions)));
    let mut speaker = Speaker::new(client, pace, begun, &wire, &stock, terminal);
    let lost = {
        let mut reading = std::pin::pin!(wire.read(input, pace, &stock));
        let mut speaking = std::pin::pin!(speaker.speak());
        tokio::select! {
            () = &mut speaking => false,
            // What is still waited for is told so, and what is still to be said gets no answer.
            () = &mut reading => {
                speaking.await;
                true
            }
        }
    };
    let mut played = speaker.played;
    played.heard = wire.take_heard();
    played.failure = lost.then(|| "the way to the server was lost before the end of the tape".to_owned());
    played.surprises = stock.into_inner().unwrap_or_else(PoisonError::into_inner).surprises();
    played
}

/// A call that has no answer yet.
struct Running {
    place: Place,
    recorded_id: Box<str>,
    /// When it was answered on tape, if others may have waited for that.
    ends: Option<Duration>,
    live_id: u64,
    at: Instant,
    /// Whether it is ended from here, and not by its answer.
    is_held: bool,
    cancel: Option<tokio::sync::oneshot::Sender<()>>,
}

struct Speaker<'a, W> {
    client: &'a Client,
    pace: &'a Pace,
    begun: Instant,
    wire: &'a Wire<W>,
    stock: &'a Mutex<Stock>,
    terminal: &'a tokio::sync::Mutex<()>,
    carried: Carried,
    running: BTreeMap<Place, Running>,
    played: Played,
}

impl<'a, W: AsyncWrite + Unpin> Speaker<'a, W> {
    fn new(
        client: &'a Client,
        pace: &'a Pace,
        begun: Instant,
        wire: &'a Wire<W>,
        stock: &'a Mutex<Stock>,
        terminal: &'a tokio::sync::Mutex<()>,
    ) -> Self {
        let (carried, running, played) = (Carried::default(), BTreeMap::new(), Played::default());
        Self { client, pace, begun, wire, stock, terminal, carried, running, played }
    }

    async fn speak(&mut self) {
        if let Some(request) = missing_handshake(self.client) {
            let handshake = self.wire.ask(&request).await;
            tokio::time::timeout(self.pace.patience, handshake.answer).await.ok();
            self.wire.take(handshake.id);
            self.wire.say(&Message::Notification(Notification::new(method::INITIALIZED, None))).await;
        }
        let mut calls = FuturesUnordered::new();
        for step in &self.client.steps {
            self.wait_for_turn(step, &mut calls).await;
            match self.allowed(step).await {
                Go::Stop => break,
                Go::Skip => continue,
                Go::Say => (),
            }
            match &step.says {
                Says::Note(note) => self.note(note).await,
                Says::Call(call) => {
                    if let Some(answer) = self.call(call).await {
                        calls.push(answer);
                    }
                }
            }
        }
        while self.running.values().any(|call| !call.is_held)
            && let Some(done) = calls.next().await
        {
            self.answered(done);
        }
        self.pace.until(self.begun, self.client.ends).await;
        self.wait_for_words().await;
        let held: Vec<u64> = self.running.values().map(|call| call.live_id).collect();
        for id in held {
            self.cancel(id).await;
        }
        let places: Vec<Place> = self.running.keys().copied().collect();
        for place in places {
            self.end(place, None);
        }
    }

    /// Waits until it is time, and until all has been answered that had been answered when this was said on tape.
    async fn wait_for_turn<F>(&mut self, step: &Step, calls: &mut FuturesUnordered<F>)
    where
        F: Future<Output = Done<'a>>,
    {
        let due = self.due(step);
        loop {
            let is_early = due.is_some_and(|due| due > Instant::now());
            let is_waited_for = |call: &Running| call.ends.is_some_and(|ends| ends <= step.at);
            if !is_early && !self.running.values().any(is_waited_for) {
                return;
            }
            let until = due.filter(|_| is_early).unwrap_or_else(|| Instant::now() + self.pace.patience);
            tokio::select! {
                Some(done) = calls.next() => self.answered(done),
                () = tokio::time::sleep_until(until) => (),
            }
        }
    }

    /// A cancellation keeps its distance to its call at any speed: said at once, it would cancel what never began.
    fn due(&self, step: &Step) -> Option<Instant> {
        if let Some(due) = self.pace.due(self.begun, step.at) {
            return Some(due);
        }
        let Says::Note(note) = &step.says else { return None };
        let call = self.running.get(&self.cancelled(note)?)?;
        let asked = self.client.steps.iter().find(|step| step.place == call.place)?;
        Some(call.at + step.at.saturating_sub(asked.at))
    }

    async fn allowed(&self, step: &Step) -> Go {
        let Some(stepper) = &self.pace.stepper else { return Go::Say };
        let _terminal = self.terminal.lock().await;
        stepper.next(step).await
    }

    /// The call that a note cancels.
    fn cancelled(&self, note: &Note) -> Option<Place> {
        if note.method != method::CANCELLED {
            return None;
        }
        let id = notification(&note.text)?.request_id()?;
        self.running.values().find(|call| &*call.recorded_id == id.as_json()).map(|call| call.place)
    }

    async fn note(&mut self, note: &Note) {
        let Some(mut message) = notification(&note.text) else { return };
        if note.method == method::CANCELLED {
            // Of a call that has its answer by now, or of one that was left out.
            let Some(place) = self.cancelled(note) else { return };
            let Some(call) = self.running.get_mut(&place) else { return };
            message = message.with_request_id(&Id::from_u64(call.live_id));
            let cancel = call.cancel.take();
            self.wire.say(&Message::Notification(message)).await;
            if let Some(cancel) = cancel {
                cancel.send(()).ok();
            }
            return;
        }
        if note.method == method::PROGRESS {
            // Of a server's question, whose token is another one now; no server waits for it.
            return;
        }
        self.wire.say(&Message::Notification(message)).await;
    }

    /// Sends a call, and gives what waits for its answer.
    async fn call(&mut self, call: &'a Call) -> Option<impl Future<Output = Done<'a>> + use<'a, W>> {
        let mut value: Value = serde_json::from_str(&call.request).ok()?;
        let carried = self.carried.apply(&mut value);
        self.played.carried += carried;
        let mut request = request(&call.request)?;
        let params = value.get("params").map(Value::to_string);
        if let Some(params) = &params {
            if carried > 0 {
                request = request.with_params(params);
            }
            if is_redacted(params) {
                self.played.redacted.push(call.place);
            }
        }
        let asked = self.wire.ask(&request).await;
        let is_held = call.method == method::LISTEN || call.outcome.answer.is_none();
        let (cancel, cancelled) = tokio::sync::oneshot::channel();
        let running = Running {
            place: call.place,
            recorded_id: call.id.clone(),
            ends: call.ended.filter(|_| !is_held),
            live_id: asked.id,
            at: asked.at,
            is_held,
            cancel: Some(cancel),
        };
        let live_id = asked.id;
        self.running.insert(call.place, running);
        let rounds = Rounds { call, wire: self.wire, stock: self.stock, pace: self.pace, begun: self.begun };
        let waiting = rounds.wait(request, asked, cancelled);
        if call.method == method::LISTEN && !call.outcome.between.is_empty() {
            self.wait_until(ACKNOWLEDGED_MAX, |speaker| speaker.wire.came(live_id) > 0).await;
        }
        Some(waiting)
    }

    fn answered(&mut self, done: Done<'a>) {
        let recorded = done.call.outcome.answer.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let live = done.outcome.answer.as_deref().and_then(|text| serde_json::from_str(text).ok());
        if let (Some(recorded), Some(live)) = (recorded, live) {
            self.carried.learn(&recorded, &live);
        }
        self.end(done.call.place, Some(done.outcome));
    }

    fn end(&mut self, place: Place, outcome: Option<Outcome>) {
        let Some(running) = self.running.remove(&place) else { return };
        let outcome = outcome.unwrap_or_else(|| {
            let between = self.wire.take(running.live_id);
            Outcome { answer: None, between, took: None }
        });
        self.played.outcomes.insert(place, outcome);
        if let Some(watch) = &self.pace.watch {
            watch();
        }
    }

    async fn cancel(&self, id: u64) {
        let params = json!({"requestId": id}).to_string();
        self.wire.say(&Message::Notification(Notification::new(method::CANCELLED, Some(&params)))).await;
    }

    /// Waits for what the server said of its own accord on tape, about as long as it took there.
    async fn wait_for_words(&self) {
        let said = self.client.steps.last().map_or(self.client.ends, |step| step.at);
        let mut last = None;
        let mut methods: Vec<&str> = Vec::new();
        for heard in self.client.heard.iter().filter(|heard| self.client.hears_again(&heard.method)) {
            last = last.max(Some(heard.at));
            methods.push(&heard.method);
        }
        let Some(last) = last else { return };
        let at_most = last.saturating_sub(said) + HEARD_GRACE;
        self.wait_until(at_most, |speaker| speaker.wire.has_heard(&methods)).await;
    }

    async fn wait_until(&self, at_most: Duration, is_so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + at_most;
        while !is_so(self) && Instant::now() < end {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// The handshake of a session whose own is not on the tape: what its revision is, and that it answers what it is asked.
fn missing_handshake(client: &Client) -> Option<Request> {
    let is_open = client.calls().next().is_none_or(|call| call.method == method::INITIALIZE);
    if client.session.is_none() && client.is_modern || is_open {
        return None;
    }
    let mut capabilities = serde_json::Map::new();
    for question in &client.questions {
        let name = match question.asked.get("method").and_then(Value::as_str) {
            Some(method::SAMPLING) => "sampling",
            Some(method::ELICITATION) => "elicitation",
            Some(method::ROOTS_LIST) => "roots",
            _ => continue,
        };
        capabilities.insert(name.to_owned(), json!({}));
    }
    let params = json!({
        "protocolVersion": client.revision,
        "capabilities": capabilities,
        "clientInfo": {"name": "shadowcat", "version": env!("CARGO_PKG_VERSION")},
    });
    Some(Request::new(&Id::from_u64(0), method::INITIALIZE, Some(&params.to_string())))
}

fn request(text: &str) -> Option<Request> {
    match parse(text)? {
        Message::Request(request) => Some(request),
        Message::Notification(_) | Message::Response(_) => None,
    }
}

fn notification(text: &str) -> Option<Notification> {
    match parse(text)? {
        Message::Notification(note) => Some(note),
        Message::Request(_) | Message::Response(_) => None,
    }
}

fn parse(text: &str) -> Option<Message> {
    Message::parse(bytes::Bytes::copy_from_slice(text.as_bytes()), &message_limits()).ok()
}

//! Tapes in the place of a server: a connection whose other end is a player. Which answer a client gets is the player's
//! business; here it is said, at the right time and to the right client. It speaks the era its tapes were recorded in, so
//! that a client of the other era meets the bridge, as before any server.

mod beyond;
mod performance;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{
    Envelope, Origin, PeerId, Refusal, RefusalKind, Replies, Service, SessionTag, Transport, UpstreamSide,
};
use shadowcat_playback::Speed;
use shadowcat_playback::player::{Act, Cursor, Live, Player, Scene, Turn};
use shadowcat_protocol::{Era, Id, Message, Notification, Request, Revision, codes, method};
use shadowcat_transports::{Connection, Connector, OpenConnection, Parting};
use tokio_util::sync::CancellationToken;

pub(crate) use beyond::Beyond;
use beyond::BeyondSession;
use performance::{Asides, Performance, Stage};

/// Clients of the modern era whose place on the tapes is remembered; the one that has been silent for longest begins
/// anew.
const CURSORS_MAX: usize = 10_000;
/// Calls of one connection that are being played at one time.
const PLAYED_MAX: usize = 4_096;

/// Opens connections to a player.
pub(crate) struct TapeConnector {
    pub(crate) name: Arc<str>,
    pub(crate) player: Arc<Player>,
    pub(crate) speed: Speed,
    pub(crate) beyond: Option<Arc<Beyond>>,
    pub(crate) tasks: Tasks,
}

#[async_trait]
impl Connector for TapeConnector {
    async fn open(&self, opening: OpenConnection) -> Result<Arc<dyn Connection>, Refusal> {
        let tasks = self.tasks.child();
        Ok(Arc::new(TapeConnection {
            stage: Arc::new(Stage {
                name: Arc::clone(&self.name),
                player: Arc::clone(&self.player),
                speed: self.speed,
                back: Arc::clone(&opening.back),
                tasks: tasks.clone(),
                asked: AtomicU64::default(),
                asides: Asides::default(),
            }),
            beyond: self.beyond.as_ref().map(|beyond| beyond.session(opening.era, opening.back)),
            era: opening.era,
            revision: Mutex::new(opening.revision),
            greeting: Mutex::default(),
            cursors: Mutex::default(),
            playing: Arc::default(),
            tasks,
            closed: AtomicBool::new(false),
        }))
    }
}

/// A connection whose other end is a player.
struct TapeConnection {
    stage: Arc<Stage>,
    beyond: Option<BeyondSession>,
    era: Era,
    revision: Mutex<Option<Revision>>,
    /// The parameters of the client's handshake, for the server beyond the tapes.
    greeting: Mutex<Option<String>>,
    cursors: Mutex<Cursors>,
    playing: Arc<InFlight>,
    tasks: Tasks,
    closed: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whose place on the tapes it is. A legacy connection has one client. The modern era knows no sessions: behind the bridge
/// there is one all the same, on a pipe the client is the pipe, and over HTTP all clients move one place, as they would
/// move the state of one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Reader {
    Session(SessionTag),
    Pipe(PeerId),
    Everybody,
}

impl Reader {
    fn of(origin: &Origin, era: Era) -> Self {
        match &origin.session {
            _ if era == Era::Legacy => Self::Everybody,
            Some(session) => Self::Session(session.clone()),
            None if origin.transport == Transport::Stdio => Self::Pipe(origin.peer),
            None => Self::Everybody,
        }
    }
}

/// The places of the clients of one connection.
#[derive(Default)]
struct Cursors {
    places: HashMap<Reader, (u64, Cursor)>,
    clock: u64,
}

impl Cursors {
    fn of(&mut self, reader: Reader) -> &mut Cursor {
        if self.places.len() >= CURSORS_MAX && !self.places.contains_key(&reader) {
            let oldest = self.places.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(reader, _)| reader.clone()) {
                self.places.remove(&oldest);
            }
        }
        self.clock += 1;
        let (used, cursor) = self.places.entry(reader).or_default();
        *used = self.clock;
        cursor
    }
}

/// The calls that are being played and that a client may cancel.
#[derive(Default)]
struct InFlight {
    calls: Mutex<BTreeMap<u64, (PeerId, Id, CancellationToken)>>,
}

impl TapeConnection {
    fn side(&self) -> UpstreamSide {
        let revision = lock(&self.revision).unwrap_or(Revision::V2025_03_26);
        // The nearest there is: what a tape says comes in one order and without headers, as on a pipe.
        UpstreamSide { name: Arc::clone(&self.stage.name), transport: Transport::Stdio, revision }
    }

    async fn request(&self, request: &Request, envelope: &Envelope) -> Result<Replies, Refusal> {
        let origin = &envelope.origin;
        let turn = {
            let mut cursors = lock(&self.cursors);
            let cursor = cursors.of(Reader::of(origin, self.era));
            self.stage.player.answer(self.era, cursor, request)
        };
        if request.method() == method::INITIALIZE {
            *lock(&self.greeting) = Some(request.params().unwrap_or("{}").to_owned());
        }
        match turn {
            Turn::Missing(what) => match &self.beyond {
                Some(beyond) => {
                    self.stage.player.score().note_asked();
                    let greeting = lock(&self.greeting).clone();
                    beyond.ask(envelope.clone(), greeting).await
                }
                None => Err(Refusal::new(RefusalKind::NotRecorded)
                    .with_upstream(&self.stage.name)
                    .with_detail(what)),
            },
            Turn::Ready(response) => {
                origin.upstream.get_or_init(|| self.side());
                Ok(Replies::one(Message::Response(response)))
            }
            Turn::Scene(scene, live) => {
                self.note_revision(request, &scene);
                origin.upstream.get_or_init(|| self.side());
                self.play(request, scene, live, origin)
            }
        }
    }

    fn play(
        &self,
        request: &Request,
        scene: Arc<Scene>,
        live: Live,
        origin: &Origin,
    ) -> Result<Replies, Refusal> {
        if let [step] = scene.steps.as_slice()
            && let Act::Answer(answer) = &step.act
            && scene.after.is_empty()
            && self.stage.speed.scaled(step.gap).is_zero()
        {
            // Nearly every call: an answer that is there at once needs no stream.
            return Ok(Replies::one(Message::Response(live.answer(answer))));
        }
        let cancelled = CancellationToken::new();
        let held = self.hold(origin, request.id(), cancelled.clone())?;
        let performance =
            Performance::new(Arc::clone(&self.stage), scene, live, origin.exchange, self.side(), cancelled);
        Ok(performance.replies().hold(held))
    }

    fn hold(&self, origin: &Origin, id: &Id, cancelled: CancellationToken) -> Result<Held, Refusal> {
        let exchange = origin.exchange.get();
        let mut calls = lock(&self.playing.calls);
        if calls.len() >= PLAYED_MAX {
            return Err(Refusal::new(RefusalKind::LimitQueue).with_upstream(&self.stage.name));
        }
        calls.insert(exchange, (origin.peer, id.clone(), cancelled));
        Ok(Held { playing: Arc::clone(&self.playing), exchange })
    }

    /// What the recorded server agreed to is what this connection speaks.
    fn note_revision(&self, request: &Request, scene: &Scene) {
        if request.method() != method::INITIALIZE {
            return;
        }
        if let Some(revision) =
            scene.answer().and_then(|answer| Revision::of_handshake(answer.result_json()?))
        {
            *lock(&self.revision) = Some(revision);
        }
    }

    async fn notification(&self, note: &Notification, envelope: &Envelope) -> Result<Replies, Refusal> {
        let origin = &envelope.origin;
        if note.method() == method::CANCELLED {
            self.cancel(origin.peer, note.request_id().as_ref());
        }
        if let Some(beyond) = &self.beyond {
            beyond.tell(envelope.clone()).await?;
        }
        origin.upstream.get_or_init(|| self.side());
        let heard = {
            let mut cursors = lock(&self.cursors);
            let cursor = cursors.of(Reader::of(origin, self.era));
            self.stage.player.hear(self.era, cursor, note.method())
        };
        if let Some(steps) = heard {
            Stage::aside(&self.stage, steps, self.side());
        }
        Ok(Replies::none())
    }

    /// Ends the newest call that this client calls by this id.
    fn cancel(&self, peer: PeerId, id: Option<&Id>) {
        let calls = lock(&self.playing.calls);
        let meant = calls.values().rev().find(|(owner, own, _)| *owner == peer && Some(own) == id);
        if let Some((_, _, cancelled)) = meant {
            cancelled.cancel();
        }
    }
}

/// A call that is being played, for as long as somebody listens.
struct Held {
    playing: Arc<InFlight>,
    exchange: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.playing.calls).remove(&self.exchange);
    }
}

#[async_trait]
impl Service for TapeConnection {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Refusal::new(RefusalKind::UpstreamExited).with_upstream(&self.stage.name));
        }
        match &envelope.message {
            Message::Request(request) => self.request(request, &envelope).await,
            Message::Notification(note) => self.notification(note, &envelope).await,
            Message::Response(_) => {
                Err(Refusal::bad_message(codes::INVALID_REQUEST, "a response to no request of the server"))
            }
        }
    }
}

#[async_trait]
impl Connection for TapeConnection {
    fn token(&self) -> Option<Box<str>> {
        None
    }

    fn is_alive(&self) -> bool {
        !self.closed.load(Ordering::Acquire)
    }

    async fn listen(&self) -> Result<(), Refusal> {
        Ok(())
    }

    async fn close(&self, parting: Parting) {
        self.closed.store(true, Ordering::Release);
        if let Some(beyond) = &self.beyond {
            beyond.close(parting == Parting::End).await;
        }
        self.tasks.stop();
    }
}

#[cfg(test)]
mod tests;

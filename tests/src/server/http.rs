//! The server on Streamable HTTP: sessions, answers as JSON or as a stream, the standing GET stream.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, mpsc};

use super::{Connection, Fake, Out, Speaks, member};
use crate::tls::{Authority, Identity};
use crate::upstream::{Reply, Seen, Upstream};

/// How requests are answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// As JSON if the response is the first message, else as a stream.
    Fitting,
    /// Always as a stream.
    Stream,
}

/// How the server is set up.
#[derive(Clone, Copy)]
pub struct HttpSettings {
    /// How requests are answered.
    pub answers: Answers,
    /// Whether a GET opens the standing stream; else 405.
    pub standing: bool,
    /// The eras it speaks.
    pub speaks: Speaks,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self { answers: Answers::Fitting, standing: true, speaks: Speaks::Both }
    }
}

/// A running server on Streamable HTTP.
pub struct HttpServer {
    /// Its HTTP side.
    pub upstream: Upstream,
    sessions: Arc<Sessions>,
    program: Arc<Mutex<Program>>,
}

/// What runs behind the address.
#[derive(Clone)]
struct Program {
    fake: Arc<Fake>,
    settings: HttpSettings,
}

impl Program {
    fn new(settings: HttpSettings) -> Self {
        Self { fake: Arc::new(Fake::new(settings.speaks, None)), settings }
    }
}

#[derive(Default)]
struct Sessions {
    known: Mutex<HashMap<String, Session>>,
    made: Mutex<u64>,
}

#[derive(Clone)]
struct Session {
    connection: Connection,
    standing: Arc<AsyncMutex<mpsc::Receiver<String>>>,
}

impl HttpServer {
    /// Starts it.
    pub async fn start(settings: HttpSettings) -> Self {
        let (sessions, program) = Self::parts(settings);
        let upstream = Upstream::start(answering(&sessions, &program)).await;
        Self { upstream, sessions, program }
    }

    /// Starts it behind TLS.
    pub async fn start_secure(settings: HttpSettings, authority: &Authority, identity: &Identity) -> Self {
        let (sessions, program) = Self::parts(settings);
        let answer = answering(&sessions, &program);
        let upstream = Upstream::start_secure(authority, identity, answer).await;
        Self { upstream, sessions, program }
    }

    fn parts(settings: HttpSettings) -> (Arc<Sessions>, Arc<Mutex<Program>>) {
        (Arc::default(), Arc::new(Mutex::new(Program::new(settings))))
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.upstream.url("/mcp")
    }

    /// Forgets every session, as after a restart.
    pub fn forget(&self) {
        self.sessions.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Puts another version of it in its place, which speaks these eras: it knows nothing of the first one's sessions.
    pub fn becomes(&self, speaks: Speaks) {
        let mut program = self.program.lock().unwrap_or_else(PoisonError::into_inner);
        *program = Program::new(HttpSettings { speaks, ..program.settings });
        self.forget();
        self.upstream.cut_all();
    }

    /// The ids of its sessions.
    pub fn sessions(&self) -> Vec<String> {
        self.sessions.known.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

impl Sessions {
    fn create(&self) -> Session {
        let number = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            *made += 1;
            *made
        };
        let (standing, receiver) = Out::new();
        let name: Arc<str> = format!("upstream-session-{number}").into();
        let connection = Connection { name: Arc::clone(&name), standing };
        let session = Session { connection, standing: Arc::new(AsyncMutex::new(receiver)) };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_string(), session.clone());
        session
    }

    fn find(&self, seen: &Seen) -> Option<Session> {
        let id = seen.header("mcp-session-id")?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

type Answering = Pin<Box<dyn Future<Output = Reply> + Send>>;

fn answering(
    sessions: &Arc<Sessions>,
    program: &Arc<Mutex<Program>>,
) -> impl Fn(Seen) -> Answering + Send + Sync + 'static {
    let (sessions, program) = (Arc::clone(sessions), Arc::clone(program));
    move |seen| {
        let Program { fake, settings } = program.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sessions = Arc::clone(&sessions);
        Box::pin(async move { answer(seen, fake, &sessions, settings).await })
    }
}

async fn answer(seen: Seen, fake: Arc<Fake>, sessions: &Sessions, settings: HttpSettings) -> Reply {
    if let Some(refusal) = settings.speaks.turns_down(&seen) {
        return refusal;
    }
    let rpc = seen.rpc();
    let modern = seen.header("mcp-protocol-version") == Some("2026-07-28");
    let session = match (modern, rpc.as_deref()) {
        (true, _) | (false, Some("initialize")) => sessions.create(),
        _ => match sessions.find(&seen) {
            Some(session) => session,
            None => return Reply::empty(404),
        },
    };
    match seen.method.as_str() {
        "GET" if settings.standing => standing(&session),
        "DELETE" => {
            let id = seen.header("mcp-session-id").unwrap_or_default();
            sessions.known.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
            Reply::empty(204)
        }
        "POST" if rpc.is_none() || member(&seen.body, "id").is_none() => {
            let (out, _) = Out::new();
            fake.take(&seen.body, &session.connection, &out).await;
            Reply::empty(202)
        }
        "POST" => {
            let reply = request(seen, fake, session.connection.clone(), settings).await;
            if rpc.as_deref() == Some("initialize") {
                reply.header("mcp-session-id", &session.connection.name)
            } else {
                reply
            }
        }
        _ => Reply::empty(405),
    }
}

async fn request(seen: Seen, fake: Arc<Fake>, connection: Connection, settings: HttpSettings) -> Reply {
    let (out, mut messages) = Out::new();
    let (pieces, stream) = Reply::events();
    let mut first = None;
    let mut work: Pin<Box<dyn Future<Output = ()> + Send>> =
        Box::pin(async move { fake.take(&seen.body, &connection, &out).await });
    if settings.answers == Answers::Fitting {
        tokio::select! {
            biased;
            message = messages.recv() => first = message,
            () = &mut work => first = messages.recv().await,
        }
        if let Some(response) = first.as_deref().filter(|text| member(text, "method").is_none()) {
            return Reply::json(settings.speaks.status(response), response);
        }
    }
    // Ends with the connection that carries it: the sender fails when the asker is gone.
    #[expect(clippy::disallowed_methods, reason = "hyper owns the answer, and its end ends this task")]
    tokio::spawn(async move {
        if let Some(first) = first {
            pieces.event(&first).await;
        }
        let mut working = true;
        loop {
            tokio::select! {
                biased;
                message = messages.recv() => match message {
                    Some(message) if pieces.event(&message).await => {}
                    _ => return,
                },
                () = &mut work, if working => {
                    working = false;
                    // Dropping the work drops its way out: what is left is read, then the channel ends.
                    work = Box::pin(std::future::pending());
                }
                () = pieces.closed() => return,
            }
        }
    });
    stream
}

fn standing(session: &Session) -> Reply {
    let (pieces, reply) = Reply::events();
    let receiver = Arc::clone(&session.standing);
    #[expect(clippy::disallowed_methods, reason = "hyper owns the answer, and its end ends this task")]
    tokio::spawn(async move {
        // A second stream waits here until the first is gone: a message goes out on one stream only.
        let mut receiver = receiver.lock().await;
        loop {
            tokio::select! {
                message = receiver.recv() => match message {
                    Some(message) if pieces.event(&message).await => {}
                    _ => return,
                },
                () = pieces.closed() => return,
            }
        }
    });
    reply
}

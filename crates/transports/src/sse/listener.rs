//! The two endpoints of HTTP+SSE: a GET opens the stream and with it the client's pipe, POSTs write into it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, Response};
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Principal, Refusal, RefusalKind, Transport};
use shadowcat_protocol::Limits;
use shadowcat_session::{SessionId, StreamLimits};
use tokio_util::sync::CancellationToken;

use crate::front::Front;
use crate::pipe_client::{PipeBounds, PipeClient};
use crate::server::{Body, BodyError, Endpoint, Incomer, SessionEvents, plain, refusal, with_header};

/// How long the last requests of a client may take once the proxy ends; the proxy's own deadline may be shorter.
const DRAIN_DEADLINE: Duration = Duration::from_mins(10);

/// How long the tasks of a client that is gone may take to stop.
const STOP_DEADLINE: Duration = Duration::from_secs(1);

/// The bounds of the two endpoints.
#[derive(Clone, Debug)]
pub struct SseSettings {
    /// Where the stream is opened.
    pub stream_path: String,
    /// Where messages are POSTed to.
    pub message_path: String,
    /// Bytes of one request body.
    pub body_bytes_max: usize,
    /// How long a request body may take.
    pub body_read_max: Duration,
    /// The bounds of a message.
    pub limits: Limits,
    /// How long the stream may be silent before a comment is sent.
    pub keep_alive: Duration,
    /// Requests of one client that may be in flight.
    pub in_flight_max: usize,
    /// Clients at a time.
    pub clients_max: usize,
    /// The bounds of what waits for a client.
    pub stream: StreamLimits,
}

/// The two endpoints of HTTP+SSE.
pub struct SseListener {
    settings: SseSettings,
    front: Arc<dyn Front>,
    tasks: Tasks,
    clients: Arc<Mutex<HashMap<SessionId, Arc<PipeClient>>>>,
    stop: CancellationToken,
}

type Clients = HashMap<SessionId, Arc<PipeClient>>;

fn lock(clients: &Mutex<Clients>) -> MutexGuard<'_, Clients> {
    clients.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SseListener {
    /// Endpoints in front of `front`, their clients' tasks owned by `tasks`. At `stop` each stream ends as soon as
    /// its client's requests are answered.
    pub fn new(settings: SseSettings, front: Arc<dyn Front>, tasks: Tasks, stop: CancellationToken) -> Self {
        Self { settings, front, tasks, clients: Arc::default(), stop }
    }

    fn open(&self, principal: Option<&Principal>) -> Result<Response<Body>, Refusal> {
        let bounds = PipeBounds {
            message: self.settings.limits,
            in_flight_max: self.settings.in_flight_max,
            stream: self.settings.stream,
        };
        let tasks = self.tasks.child();
        let client = PipeClient::new(
            Arc::clone(&self.front),
            Transport::Sse,
            bounds,
            principal.cloned(),
            tasks.clone(),
            self.stop.clone(),
        );
        let key =
            SessionId::generate().map_err(|error| Refusal::new(RefusalKind::Internal).with_cause(error))?;
        {
            let mut clients = lock(&self.clients);
            if clients.len() >= self.settings.clients_max {
                return Err(RefusalKind::BUSY.into());
            }
            clients.insert(key.clone(), Arc::clone(&client));
        }
        let gone = CancellationToken::new();
        let first =
            format!("event: endpoint\ndata: {}?session_id={}\n\n", self.settings.message_path, key.as_str());
        let events = SessionEvents::new(client.stream().read(), 0, self.settings.keep_alive)
            .unnumbered("message")
            .beginning_with(first.as_bytes())
            .opened_by(principal)
            .holding(gone.clone().drop_guard());
        self.end_with(gone, key, client, tasks);
        Ok(events.into_response())
    }

    /// On this transport the stream is the session: when it ends, everything of the client does.
    fn end_with(&self, gone: CancellationToken, key: SessionId, client: Arc<PipeClient>, tasks: Tasks) {
        let clients = Arc::clone(&self.clients);
        let stop = self.stop.clone();
        self.tasks.spawn_until_stop(async move {
            tokio::select! {
                () = gone.cancelled() => {}
                () = stop.cancelled() => {
                    tasks.join(DRAIN_DEADLINE).await;
                }
            }
            lock(&clients).remove(&key);
            // First what may still be opening the session.
            tasks.stop();
            tasks.join(STOP_DEADLINE).await;
            client.end().await;
            client.stream().end();
        });
    }

    async fn post(&self, request: &mut Incomer) -> Response<Body> {
        let Some(client) = self.client(request) else {
            return refusal(&RefusalKind::SessionUnknown.into(), None);
        };
        match request.read_body(self.settings.body_bytes_max, self.settings.body_read_max).await {
            Ok(text) => {
                client.take(text, request.principal.take()).await;
                let mut response = plain(202, "Accepted");
                *response.status_mut() = http::StatusCode::ACCEPTED;
                response
            }
            Err(BodyError::TooLarge) => refusal(&RefusalKind::LimitBody.into(), None),
            Err(BodyError::TooSlow) => plain(408, "the request body did not come in time\n"),
            Err(BodyError::Cut) => plain(400, "the request body was cut short\n"),
        }
    }

    fn client(&self, request: &Incomer) -> Option<Arc<PipeClient>> {
        let query = request.query.as_deref()?;
        let key = query.split('&').find_map(|pair| pair.strip_prefix("session_id="))?;
        let client = lock(&self.clients).get(&SessionId::parse(key)?).cloned();
        // Somebody else's looks like none at all.
        client.filter(|client| client.is_of(request.principal.as_ref()))
    }
}

#[async_trait]
impl Endpoint for SseListener {
    fn owns(&self, path: &str) -> bool {
        path == self.settings.stream_path || path == self.settings.message_path
    }

    async fn answer(&self, request: &mut Incomer) -> Response<Body> {
        let streams = request.path == self.settings.stream_path;
        match (&request.method, streams) {
            (&Method::GET, true) => {
                self.open(request.principal.as_ref()).unwrap_or_else(|fault| refusal(&fault, None))
            }
            (&Method::POST, false) => self.post(request).await,
            // 405 on the stream's path is how a client of both transports learns which one this is.
            (_, true) => with_header(plain(405, "the stream is opened by GET\n"), "allow", "GET"),
            (_, false) => with_header(plain(405, "messages are sent by POST\n"), "allow", "POST"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeFront, LONG, limits};

    const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;

    fn listener(front: &Arc<FakeFront>) -> SseListener {
        let settings = SseSettings {
            stream_path: "/sse".to_owned(),
            message_path: "/messages".to_owned(),
            body_bytes_max: 1_000,
            body_read_max: LONG,
            limits: Limits::default(),
            keep_alive: LONG * 100,
            in_flight_max: 10,
            clients_max: 10,
            stream: limits(),
        };
        SseListener::new(settings, Arc::clone(front) as _, Tasks::new(), CancellationToken::new())
    }

    fn only_client(listener: &SseListener) -> Arc<PipeClient> {
        lock(&listener.clients).values().next().unwrap().clone()
    }

    async fn no_session_is_left(front: &FakeFront) {
        let ended = async {
            while front.sessions() != (1, 1) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, ended).await.expect("an end of the session that was opened");
    }

    #[tokio::test]
    async fn a_session_that_is_opened_while_its_stream_ends_ends_with_it() {
        let front = Arc::new(FakeFront::silent());
        let listener = listener(&front);
        let stream = listener.open(None).unwrap();
        only_client(&listener).take(INITIALIZE.into(), None).await;
        drop(stream);
        front.openings.add_permits(1);
        no_session_is_left(&front).await;
    }

    #[tokio::test]
    async fn a_session_that_is_asked_for_when_its_stream_has_ended_is_ended_at_once() {
        let front = Arc::new(FakeFront::silent());
        let listener = listener(&front);
        let stream = listener.open(None).unwrap();
        let client = only_client(&listener);
        drop(stream);
        assert!(listener.tasks.join(LONG).await);
        front.openings.add_permits(1);
        client.take(INITIALIZE.into(), None).await;
        no_session_is_left(&front).await;
    }
}

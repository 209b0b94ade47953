//! A connection to an HTTP+SSE server: its event stream and its endpoint make one pipe.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::HeaderMap;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Refusal, RefusalKind, Transport};
use shadowcat_protocol::Era;
use tokio_util::sync::CancellationToken;

use crate::connector::{Connection, Connector, OpenConnection};
use crate::counters::Counters;
use crate::duplex::{Duplex, Incoming, Parts, Pipe};
use crate::event_source::EventSource;
use crate::http_client::Target;
use crate::pipe_connection::PipeConnection;
use crate::remote::{Remote, media_type};

/// How long the server may take to name its endpoint.
const ENDPOINT_DEADLINE: Duration = Duration::from_secs(10);

/// Opens connections to one HTTP+SSE server.
pub struct SseConnector {
    remote: Remote,
    tasks: Tasks,
    counters: Arc<Counters>,
}

impl SseConnector {
    /// Connections to this server, their tasks owned by `tasks`.
    pub fn new(remote: Remote, tasks: Tasks, counters: Arc<Counters>) -> Self {
        Self { remote, tasks, counters }
    }

    async fn events(&self) -> Result<EventSource, Refusal> {
        let response = self.remote.get(HeaderMap::new(), self.remote.first_byte_max).await?;
        if !response.status().is_success() {
            let answer = self.remote.error_answer(response).await;
            return Err(self.remote.refused(answer));
        }
        if media_type(&response) != "text/event-stream" {
            return Err(self.remote.broken("the server did not open an event stream"));
        }
        Ok(EventSource::new(response.into_body(), self.remote.limits.message_bytes_max))
    }

    /// The first event names where messages are POSTed to. Anywhere but on the same origin it would make us send a
    /// client's messages to a stranger.
    async fn endpoint(&self, events: &mut EventSource) -> Result<Target, Refusal> {
        let named = tokio::time::timeout(ENDPOINT_DEADLINE, async {
            while let Some(event) = events.next(&self.remote).await? {
                if event.kind.as_deref() == Some("endpoint") {
                    return Ok::<_, Refusal>(event.data);
                }
            }
            Ok(None)
        });
        let named = named.await.map_err(|_| self.unreachable("the server named no endpoint in time"))??;
        let named = named.ok_or_else(|| self.unreachable("the server named no endpoint"))?;
        let text = std::str::from_utf8(&named).map_err(|_| self.unreachable("the endpoint is no URI"))?;
        let target = self.remote.target.join(text.trim());
        let target = target.map_err(|error| self.unreachable("the endpoint is no URI").with_cause(error))?;
        if !target.same_origin(&self.remote.target) {
            return Err(self.unreachable("the server named an endpoint on another origin"));
        }
        Ok(target)
    }

    fn unreachable(&self, detail: &str) -> Refusal {
        Refusal::new(RefusalKind::UpstreamUnreachable).with_upstream(&self.remote.name).with_detail(detail)
    }
}

#[async_trait]
impl Connector for SseConnector {
    async fn open(&self, opening: OpenConnection) -> Result<Arc<dyn Connection>, Refusal> {
        if opening.era == Era::Modern {
            let detail = "the server is reached by HTTP+SSE, which the 2026-07-28 revision does not have";
            return Err(Refusal::bad_message(shadowcat_protocol::codes::METHOD_NOT_FOUND, detail));
        }
        let mut events = self.events().await?;
        let endpoint = self.endpoint(&mut events).await?;
        let tasks = self.tasks.child();
        let pipe = Endpoint {
            remote: self.remote.clone(),
            target: endpoint,
            closed: CancellationToken::new(),
            reason: Mutex::new("the server's event stream was closed"),
        };
        let closed = pipe.closed.clone();
        let duplex = Duplex::new(Parts {
            name: Arc::clone(&self.remote.name),
            transport: Transport::Sse,
            revision: opening.revision,
            limits: self.remote.limits,
            pipe: Box::new(pipe),
            back: opening.back,
            tasks: tasks.clone(),
            counters: Arc::clone(&self.counters),
        });
        tasks.spawn_until_stop(Box::pin(receive(Arc::clone(&duplex), events, self.remote.clone(), closed)));
        Ok(Arc::new(PipeConnection { duplex, tasks }))
    }
}

async fn receive(duplex: Arc<Duplex>, mut events: EventSource, remote: Remote, closed: CancellationToken) {
    loop {
        match closed.run_until_cancelled(events.next(&remote)).await {
            Some(Ok(Some(event))) => {
                if event.kind.as_deref().is_none_or(|kind| kind == "message") {
                    duplex.receive(Incoming::Text(event.data.unwrap_or_default())).await;
                }
            }
            Some(Ok(None)) | None => break,
            Some(Err(refusal)) => {
                tracing::warn!(upstream = %remote.name, %refusal, "the event stream is given up");
                break;
            }
        }
    }
    duplex.pipe().close().await;
    duplex.ended();
}

/// The writing half: POSTs to the endpoint.
struct Endpoint {
    remote: Remote,
    target: Target,
    closed: CancellationToken,
    reason: Mutex<&'static str>,
}

#[async_trait]
impl Pipe for Endpoint {
    async fn send(&self, line: Bytes) -> Result<(), Refusal> {
        let headers = self.remote.post_headers(HeaderMap::new());
        let response = self.remote.post(&self.target, line, headers).await?;
        if response.status().is_success() {
            self.remote.discard(response.into_body()).await;
            return Ok(());
        }
        let answer = self.remote.error_answer(response).await;
        if answer.status == 404 {
            // The server has forgotten the stream: whatever still comes on it is not for this session.
            *self.reason.lock().unwrap_or_else(PoisonError::into_inner) =
                "the server has forgotten the session";
            self.closed.cancel();
            return Err(Refusal::new(RefusalKind::SessionLost).with_upstream(&self.remote.name));
        }
        Err(self.remote.refused(answer))
    }

    fn reason(&self) -> Refusal {
        let reason = *self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        Refusal::new(RefusalKind::SessionLost).with_upstream(&self.remote.name).with_detail(reason)
    }

    fn is_open(&self) -> bool {
        !self.closed.is_cancelled()
    }

    async fn close(&self) {
        self.closed.cancel();
    }
}

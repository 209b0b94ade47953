//! Where clients come in: standard input and output, or HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shadowcat_auth::is_loopback;
use shadowcat_pipeline::task::Tasks;
use shadowcat_transports::Front;
use shadowcat_transports::http::{self, EndpointSettings, HttpListener};
use shadowcat_transports::server::{Gate, HttpServer, ServerSettings};
use shadowcat_transports::sse::{SseListener, SseSettings};
use shadowcat_transports::stdio::StdioListener;

use crate::auth::Auth;
use crate::build::{Pipe, StartError, message_limits, stream_limits};
use crate::gateway::Gateway;
use crate::pages::StatusPages;
use crate::plan::{Listen, Plan};
use crate::running::Signals;

/// Where MCP is served.
pub(crate) const ENDPOINT: &str = http::PATH;
/// The two endpoints of HTTP+SSE: where the stream is opened, and where messages are POSTed to.
pub(crate) const STREAM: &str = "/sse";
pub(crate) const MESSAGES: &str = "/messages";

/// Begins to listen; none is the address of standard input and output.
pub(crate) async fn listen(
    plan: &Plan,
    gateway: &Arc<Gateway>,
    pipe: Option<Pipe>,
    pages: Arc<StatusPages>,
    auth: Option<Auth>,
    tasks: &Tasks,
    signals: &Signals,
) -> Result<Option<SocketAddr>, StartError> {
    let front: Arc<dyn Front> = Arc::clone(gateway) as _;
    match &plan.listen {
        Listen::Stdio => {
            let listener = StdioListener {
                front,
                limits: message_limits(&plan.limits),
                in_flight_max: plan.limits.in_flight_per_session_max,
                stream: stream_limits(&plan.limits, &plan.timeouts),
                grace: plan.timeouts.shutdown,
            };
            if plan.auth.is_some() && pipe.is_none() {
                tracing::info!("`auth` is for clients on HTTP; whoever started this program is not asked");
            }
            let (signals, own) = (signals.clone(), tasks.child());
            tasks.spawn(async move {
                let Pipe { input, output } = pipe.unwrap_or_default();
                listener.run(input, output, own, signals.draining).await;
                signals.finished.cancel();
            });
            Ok(None)
        }
        Listen::Http { address, allowed_hosts, allowed_origins, keep_alive, .. } => {
            let gate = Gate::new(allowed_hosts, allowed_origins, is_loopback(address.ip()))?;
            let server = HttpServer::bind(*address, server_settings(plan, gate)).await?;
            let bound = server.address();
            let streamable = HttpListener::new(
                endpoint_settings(plan, *keep_alive),
                Arc::clone(&front),
                tasks.clone(),
                signals.draining.clone(),
            );
            let sse = SseListener::new(
                sse_settings(plan, *keep_alive),
                front,
                tasks.clone(),
                signals.draining.clone(),
            );
            let protection = auth.map(|auth| auth.protection(bound)).transpose()?;
            let server = server.serving(streamable, sse, pages).protected(protection);
            tasks.spawn(server.run(tasks.clone(), signals.draining.clone()));
            Ok(Some(bound))
        }
    }
}

fn server_settings(plan: &Plan, gate: Gate) -> ServerSettings {
    ServerSettings {
        connections_max: plan.limits.connections_max,
        header_bytes_max: plan.limits.header_bytes_max,
        header_read_max: plan.timeouts.header_read,
        write_stall_max: plan.timeouts.write_stall,
        gate,
    }
}

fn endpoint_settings(plan: &Plan, keep_alive: Duration) -> EndpointSettings {
    EndpointSettings {
        path: ENDPOINT.to_owned(),
        body_bytes_max: plan.limits.body_bytes_max,
        body_read_max: plan.timeouts.body_read,
        limits: message_limits(&plan.limits),
        keep_alive,
        in_flight_max: plan.limits.in_flight_per_session_max,
        reads_traces: plan.telemetry.is_some(),
    }
}

fn sse_settings(plan: &Plan, keep_alive: Duration) -> SseSettings {
    SseSettings {
        stream_path: STREAM.to_owned(),
        message_path: MESSAGES.to_owned(),
        body_bytes_max: plan.limits.body_bytes_max,
        body_read_max: plan.timeouts.body_read,
        limits: message_limits(&plan.limits),
        keep_alive,
        in_flight_max: plan.limits.in_flight_per_session_max,
        clients_max: plan.sessions.max,
        stream: stream_limits(&plan.limits, &plan.timeouts),
    }
}

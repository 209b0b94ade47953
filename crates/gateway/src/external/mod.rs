//! Programs outside the proxy that are asked about messages: put together here from what the plan says, and ended with the
//! proxy. What they are asked, and what a failure costs, is in the interceptors.
//!
//! | file | holds |
//! |---|---|
//! | `peer.rs` | the conversation with a server of interceptors |

mod peer;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::HeaderValue;
use shadowcat_interceptors::external::mcp::{self, Mcp};
use shadowcat_interceptors::external::webhook::Webhook;
use shadowcat_interceptors::external::{External, Telling};
use shadowcat_interceptors::pause::{Approval, Approver};
use shadowcat_interceptors::{ExternalMetrics, Externals as Step};
use shadowcat_pipeline::task::Tasks;
use shadowcat_transports::stdio::Launcher;

use crate::build::{StartError, message_limits};
use crate::endpoint::{Bounds, Endpoint};
use crate::plan::{self, InterceptorServer, InterceptorTarget, Plan};
use crate::reach::Reach;

use peer::Peer;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// How long the start of the proxy waits for the lists of interceptors. What is not there by then is asked for by the first
/// message that it concerns.
const PREPARE_MAX: Duration = Duration::from_secs(10);

/// The approvals of the plan, with those who are asked about their calls.
pub(crate) fn approvals(
    plan: &Plan,
    tasks: &Tasks,
    metrics: &ExternalMetrics,
) -> Result<Vec<Approval>, StartError> {
    let mut approvals = plan.pause.settings.approvals.clone();
    for plan::Approver { approval: name, limits, webhook: written } in &plan.pause.approvers {
        let webhook = webhook(plan, written, limits.timeout, tasks)?;
        let host = written.remote.url.authority().map_or_else(String::new, ToString::to_string);
        let approver = Approver::new(Arc::clone(name), &host, webhook, *limits, tasks.clone(), metrics);
        let approver = Arc::new(approver);
        for approval in approvals.iter_mut().filter(|approval| approval.name == *name) {
            approval.approver = Some(Arc::clone(&approver));
        }
    }
    Ok(approvals)
}

fn webhook(
    plan: &Plan,
    written: &plan::Webhook,
    timeout: Duration,
    tasks: &Tasks,
) -> Result<Webhook, StartError> {
    let secret = written.secret.as_ref().map(plan::HookSecret::read).transpose()?;
    let bounds = Bounds { body_bytes_max: written.body_bytes_max, timeout };
    let endpoint = Endpoint::new(plan, &written.remote, JSON, bounds, tasks)?;
    let limits = message_limits(&plan.limits);
    Ok(Webhook::new(Box::new(endpoint), secret, written.body_bytes_max, limits))
}

/// All who are asked.
pub(crate) struct Externals {
    step: Arc<Step>,
    telling: Telling,
    servers: Vec<Server>,
}

/// A server of interceptors.
struct Server {
    name: Arc<str>,
    mcp: Arc<Mcp>,
    peer: Arc<Peer>,
    launcher: Option<Launcher>,
}

impl Externals {
    /// Puts them together, and begins the conversations and reads the lists, ahead of the first message; none if nobody is to
    /// be asked.
    pub(crate) async fn open(
        reach: &Reach<'_>,
        metrics: &ExternalMetrics,
    ) -> Result<Option<Self>, StartError> {
        let plan = reach.plan;
        if plan.interceptors.is_empty() {
            return Ok(None);
        }
        let telling = Telling::start();
        let mut servers = Vec::new();
        let mut externals = Vec::new();
        for plan::Interceptor { settings, target } in &plan.interceptors {
            let external: Arc<dyn External> = match target {
                InterceptorTarget::Webhook(written) => {
                    Arc::new(webhook(plan, written, settings.limits.timeout, reach.tasks)?)
                }
                InterceptorTarget::Mcp(written) => {
                    let server = Server::open(&settings.name, written, reach, &telling)?;
                    let mcp = Arc::clone(&server.mcp);
                    servers.push(server);
                    mcp
                }
            };
            externals.push((settings.clone(), external));
        }
        let step = Step::new(externals, Arc::clone(&plan.upstream.name), &telling, metrics);
        let externals = Self { step: Arc::new(step), telling, servers };
        externals.prepare().await;
        Ok(Some(externals))
    }

    /// The step of the chain in which they are asked.
    pub(crate) fn step(&self) -> Arc<Step> {
        Arc::clone(&self.step)
    }

    async fn prepare(&self) {
        join_all(self.servers.iter().map(|server| async {
            let interceptor = &*server.name;
            match server.mcp.prepare(PREPARE_MAX).await {
                Ok(number) => tracing::info!(interceptor, number, "the list of interceptors is read"),
                Err(failure) => tracing::warn!(interceptor, %failure, "no list of interceptors yet"),
            }
        }))
        .await;
    }

    /// Says what is left to be told, and ends the conversations.
    pub(crate) async fn close(&self, deadline: Duration) {
        let unsaid = self.telling.close(deadline).await;
        if unsaid > 0 {
            tracing::warn!(messages = unsaid, "interceptors in audit were not told of all messages");
        }
        let closing = self.servers.iter().map(|server| async {
            server.peer.close().await;
            if let Some(launcher) = &server.launcher {
                launcher.shutdown(deadline).await;
            }
        });
        if tokio::time::timeout(deadline, join_all(closing)).await.is_err() {
            tracing::warn!("conversations with servers of interceptors were not closed in order");
        }
    }
}

impl Server {
    fn open(
        name: &Arc<str>,
        written: &InterceptorServer,
        reach: &Reach<'_>,
        telling: &Telling,
    ) -> Result<Self, StartError> {
        let server = plan::Upstream { name: Arc::clone(name), target: written.target.clone() };
        let connected = reach.connect(&server)?;
        let peer = Peer::new(connected.connector, reach.tasks.child());
        let settings = mcp::Settings {
            fail: written.fail,
            config: written.config.clone(),
            limits: message_limits(&reach.plan.limits),
        };
        let mcp = Arc::new(Mcp::new(Arc::clone(&peer) as _, settings, telling.clone()));
        Ok(Self { name: Arc::clone(name), mcp, peer, launcher: connected.launcher })
    }
}

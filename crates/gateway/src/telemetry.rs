//! The traces of the proxy: put together here from what the plan says, and ended with it. What a span is, and what becomes of it
//! when the collector is away, is in the interceptors.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use prometheus_client::registry::Registry;
use shadowcat_interceptors::trace::exporter;
use shadowcat_interceptors::{Trace, TraceMetrics};
use shadowcat_pipeline::task::Tasks;

use crate::build::StartError;
use crate::endpoint::{Bounds, Endpoint};
use crate::plan::Plan;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
/// How long a collector may take to begin its answer; the exporter bounds the whole.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Whoever sends spans on.
pub(crate) struct Telemetry {
    /// Its own, because it ends behind all that makes spans.
    tasks: Tasks,
    /// Its connections, which end behind it.
    connections: Tasks,
}

impl Telemetry {
    /// Begins to send spans on; none if nobody wants them.
    pub(crate) fn open(
        plan: &Plan,
        registry: &mut Registry,
    ) -> Result<Option<(Self, Arc<Trace>)>, StartError> {
        let Some(written) = &plan.telemetry else { return Ok(None) };
        let (tasks, connections) = (Tasks::new(), Tasks::new());
        let bounds = Bounds { body_bytes_max: ANSWER_BYTES_MAX, timeout: TIMEOUT };
        let endpoint = Endpoint::new(plan, &written.collector, PROTOBUF, bounds, &connections)?;
        let (spans, exporter) =
            exporter(&written.service, Box::new(endpoint), TraceMetrics::register(registry));
        tasks.spawn(exporter.run(tasks.stop_signal()));
        Ok(Some((Self { tasks, connections }, Arc::new(Trace::new(spans, written.sample)))))
    }

    /// Sends on what is left.
    pub(crate) async fn close(&self, deadline: Duration) {
        self.tasks.stop();
        if !self.tasks.join(deadline).await {
            tracing::warn!("the last spans were not sent in time");
        }
        self.connections.stop();
        self.connections.join(deadline).await;
    }
}

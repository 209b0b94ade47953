//! The traces of the proxy: put together here from what the plan says, and ended with it. What a span is, and what becomes of it
//! when the collector is away, is in the interceptors.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use prometheus_client::registry::Registry;
use shadowcat_interceptors::trace::exporter;
use shadowcat_interceptors::{Trace, TraceMetrics};
use shadowcat_pipeline::task::Tasks;
use tokio_util::sync::CancellationToken;

use crate::build::StartError;
use crate::endpoint::{Bounds, Endpoint};
use crate::plan::Plan;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
/// How long a collector may take to begin its answer; the exporter bounds the whole.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How long it may take to drop what has not ended in time.
const DROP_MAX: Duration = Duration::from_millis(100);

/// Whoever sends spans on.
pub(crate) struct Telemetry {
    /// Whoever sends them: in a set of its own, because it ends behind all that makes spans.
    tasks: Tasks,
    /// No more spans will come.
    ending: CancellationToken,
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
        let (tasks, connections, ending) = (Tasks::new(), Tasks::new(), CancellationToken::new());
        let bounds = Bounds { body_bytes_max: ANSWER_BYTES_MAX, timeout: TIMEOUT };
        let endpoint = Endpoint::new(plan, &written.collector, PROTOBUF, bounds, &connections)?;
        let (spans, exporter) =
            exporter(&written.service, Box::new(endpoint), TraceMetrics::register(registry));
        tasks.spawn_until_stop(exporter.run(ending.clone()));
        Ok(Some((Self { tasks, ending, connections }, Arc::new(Trace::new(spans, written.sample)))))
    }

    /// Sends on what is left, as far as the time allows.
    pub(crate) async fn close(&self, deadline: Duration) {
        self.ending.cancel();
        if !self.tasks.join(deadline).await {
            tracing::warn!("the last spans were not sent in time");
        }
        for tasks in [&self.tasks, &self.connections] {
            tasks.stop();
            tasks.join(DROP_MAX).await;
        }
    }
}

impl Drop for Telemetry {
    /// A proxy that does not start ends nothing in order.
    fn drop(&mut self) {
        self.tasks.stop();
        self.connections.stop();
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use shadowcat_pipeline::{Chain, Envelope, Refusal, RefusalKind, Replies, Service};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::{Loaded, Variables};
    use crate::plan::{Face, Overrides};
    use crate::testing::envelope;

    struct Refuses;

    #[async_trait]
    impl Service for Refuses {
        async fn handle(&self, _: Envelope) -> Result<Replies, Refusal> {
            Err(RefusalKind::PolicyDenied.into())
        }
    }

    #[tokio::test]
    async fn nothing_goes_on_behind_an_end_that_took_too_long() {
        // A collector that takes connections and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let file = format!("upstream: {{url: 'http://h/mcp'}}\ntelemetry: {{otlp: 'http://{address}'}}\n");
        let loaded = Loaded::parse("sc.yaml", &file).unwrap();
        let plan = Plan::resolve(Face::Http, &Overrides::default(), &loaded, &Variables::default()).unwrap();
        let (telemetry, trace) = Telemetry::open(&plan, &mut Registry::default()).unwrap().unwrap();
        Chain::new(vec![trace]).run(envelope("ping"), Arc::new(Refuses)).await.unwrap_err();
        telemetry.close(Duration::from_millis(200)).await;
        assert_eq!([&telemetry.tasks, &telemetry.connections].map(Tasks::running), [0, 0]);
    }
}

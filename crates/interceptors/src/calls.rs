//! Counts and times every exchange, and writes a line about each into the log.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use shadowcat_pipeline::{Direction, Envelope, ExchangeId, Interceptor, Next, Refusal, Replies, Transport};
use shadowcat_protocol::trace::TraceId;
use shadowcat_protocol::{Message, method};
use tracing::field::display;

/// The steps of the duration histogram in seconds, as the OpenTelemetry conventions for MCP name them.
const BUCKETS: [f64; 14] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Methods that get a label of their own. Anybody can invent others, so those share one.
const LABELLED: [&str; 22] = [
    method::INITIALIZE,
    method::INITIALIZED,
    method::PING,
    method::CANCELLED,
    method::PROGRESS,
    method::LOG_MESSAGE,
    method::DISCOVER,
    method::LISTEN,
    method::TOOLS_LIST,
    method::TOOLS_CALL,
    method::PROMPTS_LIST,
    method::PROMPTS_GET,
    method::RESOURCES_LIST,
    method::RESOURCE_TEMPLATES_LIST,
    method::RESOURCES_READ,
    method::RESOURCES_SUBSCRIBE,
    method::RESOURCES_UNSUBSCRIBE,
    method::COMPLETE,
    method::SET_LEVEL,
    method::SAMPLING,
    method::ELICITATION,
    method::ROOTS_LIST,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    direction: &'static str,
    transport: &'static str,
    method: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    direction: &'static str,
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageLabels {
    direction: &'static str,
    kind: &'static str,
}

/// What is counted of exchanges.
#[derive(Debug)]
pub struct CallMetrics {
    calls: Family<CallLabels, Counter>,
    durations: Family<DurationLabels, Histogram, fn() -> Histogram>,
    /// The series of calls that were answered, by their place, found once: nearly every call is one.
    answered: Box<[OnceLock<Series>]>,
    traffic: Traffic,
    in_flight: Gauge<i64, std::sync::atomic::AtomicI64>,
}

/// What a call counts in.
type Series = (Counter, Histogram);

/// The outcome of nearly every call.
const ANSWERED: &str = "ok";

impl CallMetrics {
    /// Metrics that show in this registry.
    pub fn register(registry: &mut Registry) -> Self {
        let (messages, bytes) = (Family::<MessageLabels, Counter>::default(), Family::default());
        let metrics = Self {
            calls: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            answered: (0..PLACES).map(|_| OnceLock::new()).collect(),
            traffic: Traffic::of(&messages, &bytes),
            in_flight: Gauge::default(),
        };
        registry.register(
            "calls",
            "Requests that were answered, refused or cancelled",
            metrics.calls.clone(),
        );
        registry.register_with_unit(
            "call_duration",
            "Time from a request to its response",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register("messages", "Messages that passed, by the side they go to", messages);
        registry.register_with_unit("message_size", "Bytes of the messages that passed", Unit::Bytes, bytes);
        registry.register("calls_in_flight", "Requests without a response yet", metrics.in_flight.clone());
        metrics
    }

    fn call(&self, place: usize, labels: &CallLabels, took: Duration) {
        let find = || {
            let timed = DurationLabels { direction: labels.direction, method: labels.method };
            (self.calls.get_or_create(labels).clone(), self.durations.get_or_create(&timed).clone())
        };
        let known = self.answered.get(place).filter(|_| labels.outcome == ANSWERED);
        let found;
        let (count, duration) = if let Some(known) = known {
            known.get_or_init(find)
        } else {
            found = find();
            &found
        };
        count.inc();
        duration.observe(took.as_secs_f64());
    }

    fn message(&self, direction: Direction, message: &Message) {
        let counts = self.traffic.at(direction, message);
        counts.messages.inc();
        counts.bytes.inc_by(message.text().len() as u64);
    }
}

/// The counters of every kind of message, found once: they are touched for each message.
#[derive(Debug)]
struct Traffic {
    to_server: Kinds,
    to_client: Kinds,
}

#[derive(Debug)]
struct Kinds {
    requests: Counts,
    notifications: Counts,
    responses: Counts,
}

#[derive(Debug)]
struct Counts {
    messages: Counter,
    bytes: Counter,
}

impl Traffic {
    fn of(messages: &Family<MessageLabels, Counter>, bytes: &Family<MessageLabels, Counter>) -> Self {
        let counts = |direction: Direction, kind| {
            let labels = MessageLabels { direction: direction.as_str(), kind };
            Counts {
                messages: messages.get_or_create(&labels).clone(),
                bytes: bytes.get_or_create(&labels).clone(),
            }
        };
        let kinds = |direction| Kinds {
            requests: counts(direction, "request"),
            notifications: counts(direction, "notification"),
            responses: counts(direction, "response"),
        };
        Self { to_server: kinds(Direction::ToServer), to_client: kinds(Direction::ToClient) }
    }

    fn at(&self, direction: Direction, message: &Message) -> &Counts {
        let kinds = match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        };
        match message {
            Message::Request(_) => &kinds.requests,
            Message::Notification(_) => &kinds.notifications,
            Message::Response(_) => &kinds.responses,
        }
    }
}

/// The interceptor that counts.
pub struct Calls {
    metrics: Arc<CallMetrics>,
}

impl Calls {
    /// Counts into these metrics.
    pub fn new(metrics: CallMetrics) -> Self {
        Self { metrics: Arc::new(metrics) }
    }
}

#[async_trait]
impl Interceptor for Calls {
    fn name(&self) -> &'static str {
        "calls"
    }

    // No `async fn`: that would hold the envelope a second time, in every exchange.
    fn intercept<'s, 'n, 'f>(
        &'s self,
        envelope: Envelope,
        next: Next<'n>,
    ) -> BoxFuture<'f, Result<Replies, Refusal>>
    where
        's: 'f,
        'n: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            self.metrics.message(envelope.direction, &envelope.message);
            let Message::Request(request) = &envelope.message else {
                return next.run(envelope).await;
            };
            self.metrics.in_flight.inc();
            let method = Labelled::of(request.method());
            let mut call = Call {
                metrics: Arc::clone(&self.metrics),
                place: method.place(envelope.direction, envelope.origin.transport),
                labels: CallLabels {
                    direction: envelope.direction.as_str(),
                    transport: envelope.origin.transport.as_str(),
                    method: method.label(),
                    outcome: "cancelled",
                },
                back: envelope.direction.back(),
                exchange: envelope.origin.exchange,
                trace: envelope.origin.span.get().map(|span| span.context.trace_id()),
                begun: Instant::now(),
            };
            match next.run(envelope).await {
                // The call is over when its replies are; until then it lives in them.
                Ok(replies) => Ok(replies.inspect(move |reply| call.see(reply))),
                Err(refusal) => {
                    call.refused(&refusal);
                    Err(refusal)
                }
            }
        })
    }
}

/// One request on its way. Counted when it is dropped: that is when it is over, however it ended.
struct Call {
    metrics: Arc<CallMetrics>,
    place: usize,
    labels: CallLabels,
    back: Direction,
    exchange: ExchangeId,
    trace: Option<TraceId>,
    begun: Instant,
}

impl Call {
    fn see(&mut self, reply: &Result<Message, Refusal>) {
        match reply {
            Ok(message) => {
                self.metrics.message(self.back, message);
                if let Message::Response(response) = message {
                    self.labels.outcome = if response.error_code().is_some() { "error" } else { ANSWERED };
                }
            }
            Err(refusal) => self.refused(refusal),
        }
    }

    fn refused(&mut self, refusal: &Refusal) {
        self.labels.outcome = refusal.kind.reason();
        let cause = refusal.cause.as_deref().map(chain_of_causes);
        let (exchange, trace) = (self.exchange, self.trace.map(display));
        if refusal.kind.is_defect() {
            tracing::error!(%exchange, trace, %refusal, cause, "refused");
        } else {
            tracing::info!(%exchange, trace, %refusal, cause, "refused");
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let took = self.begun.elapsed();
        self.metrics.in_flight.dec();
        self.metrics.call(self.place, &self.labels, took);
        tracing::debug!(
            exchange = %self.exchange,
            trace = self.trace.map(display),
            direction = self.labels.direction,
            method = self.labels.method,
            outcome = self.labels.outcome,
            ?took,
            "call"
        );
    }
}

/// The causes behind a refusal, outermost first.
fn chain_of_causes(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut text = cause.to_string();
    let mut deeper = cause.source();
    while let Some(next) = deeper {
        text.push_str(": ");
        text.push_str(&next.to_string());
        deeper = next.source();
    }
    text
}

/// The number of a method among those that have a label, or the one behind them.
#[derive(Clone, Copy)]
struct Labelled(usize);

/// How many there are, for calls of two directions by three transports.
const PLACES: usize = 2 * 3 * (LABELLED.len() + 1);

impl Labelled {
    fn of(method: &str) -> Self {
        Self(LABELLED.iter().position(|known| *known == method).unwrap_or(LABELLED.len()))
    }

    fn label(self) -> &'static str {
        LABELLED.get(self.0).copied().unwrap_or("other")
    }

    /// A number of its own for each direction, transport and method.
    fn place(self, direction: Direction, transport: Transport) -> usize {
        (direction as usize * 3 + transport as usize) * (LABELLED.len() + 1) + self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_direction_transport_and_method_has_a_place_of_its_own() {
        let mut places = Vec::new();
        for direction in [Direction::ToServer, Direction::ToClient] {
            for transport in [Transport::Stdio, Transport::Sse, Transport::Http] {
                let methods = LABELLED.into_iter().chain(["x/invented"]);
                places.extend(methods.map(|method| Labelled::of(method).place(direction, transport)));
            }
        }
        assert_eq!(places, (0..PLACES).collect::<Vec<_>>());
    }
}

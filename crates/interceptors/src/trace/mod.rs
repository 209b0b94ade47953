//! Makes a span of each request, so that client, proxy and server are in one trace: its parent is the span that the sender
//! names, and it is the parent of what the receiver does. What is known of it, and under which names, follows the
//! OpenTelemetry conventions for MCP. For users it is described in `docs/telemetry.md`.
//!
//! | file | holds |
//! |---|---|
//! | `span.rs` | what is known of one request, from its beginning to its end |
//! | `export.rs` | the queue of spans that have ended, and whoever sends them on |
//! | `otlp.rs` | spans as OTLP writes them |

mod export;
mod otlp;
mod span;

use async_trait::async_trait;
use shadowcat_pipeline::{Envelope, Interceptor, Next, OwnSpan, Refusal, Replies};
use shadowcat_protocol::trace::{TRACEPARENT, TraceContext, TraceId, TraceParent};
use shadowcat_protocol::{Message, Request};

pub use export::{Exporter, Spans, TraceMetrics, exporter};

use span::{Open, Place};

/// The interceptor that makes spans.
#[derive(Debug)]
pub struct Trace {
    spans: Spans,
    share: Share,
}

impl Trace {
    /// Hands over the spans that have ended to `spans`. Of the traces that begin here, this share is kept (0 to 1); what others
    /// began is kept if they do.
    pub fn new(spans: Spans, share: f64) -> Self {
        Self { spans, share: Share(share) }
    }

    /// Where the request has its place, and the request as it goes on.
    fn begin(&self, request: &Request, envelope: &Envelope) -> Option<(Place, TraceContext)> {
        let (said, heard) = (TraceContext::of_request(request), envelope.origin.http_trace.as_deref());
        // What is no trace context is none (W3C Trace Context 2.2.3): the trace begins anew.
        let parent = said.as_ref().or(heard);
        let link = said.as_ref().and(heard).map(|heard| heard.parent);
        let (trace_id, span_id) = ids()?;
        let trace_id = parent.map_or(trace_id, TraceContext::trace_id);
        let is_kept = parent.map_or_else(|| self.share.has(trace_id), |context| context.parent.is_sampled());
        let own = TraceParent::new(trace_id, span_id, is_kept)?;
        let link = link.filter(|link| parent.is_some_and(|context| context.parent != *link));
        let place = Place { own, parent: parent.map(|context| context.parent.span_id()), link };
        Some((place, TraceContext { parent: own, state: parent.and_then(|context| context.state.clone()) }))
    }
}

/// Whether the receiver is told in `_meta`. A legacy server that nobody has told of a trace gets what its client wrote: it
/// need not understand more than that. The modern revision has the member, and so has whoever is sent it.
fn is_told(request: &Request, envelope: &Envelope, place: &Place) -> bool {
    place.parent.is_some() || envelope.origin.revision.is_modern() || request.meta(TRACEPARENT).is_some()
}

#[async_trait]
impl Interceptor for Trace {
    fn name(&self) -> &'static str {
        "trace"
    }

    async fn intercept(&self, mut envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
        let Message::Request(request) = &envelope.message else { return next.run(envelope).await };
        let Some((place, context)) = self.begin(request, &envelope) else { return next.run(envelope).await };
        let kept = place.own.is_sampled().then(|| Open::new(request, &envelope, place, self.spans.clone()));
        let mut is_in_message = false;
        if is_told(request, &envelope, &place) {
            let written = context.written_into(request);
            is_in_message = written.meta(TRACEPARENT).is_some();
            envelope.message = Message::Request(written);
        }
        envelope.origin.span.get_or_init(|| Box::new(OwnSpan { context, is_in_message }));
        let Some(mut open) = kept else { return next.run(envelope).await };
        match next.run(envelope).await {
            // The span ends with the replies; until then it lives in them.
            Ok(replies) => Ok(replies.inspect(move |reply| open.see(reply))),
            Err(refusal) => {
                open.refused(&refusal);
                Err(refusal)
            }
        }
    }
}

/// An id of a trace, and one of a span; none if the system gives no randomness.
fn ids() -> Option<(TraceId, u64)> {
    let mut random = [0; 24];
    getrandom::fill(&mut random).ok()?;
    let (trace, span) = random.split_first_chunk()?;
    Some((TraceId::new(u128::from_be_bytes(*trace))?, u64::from_be_bytes(*span.first_chunk()?)))
}

/// A share of all traces.
#[derive(Clone, Copy, Debug)]
struct Share(f64);

impl Share {
    /// By the id, so that whoever else decides like this decides the same.
    fn has(self, trace_id: TraceId) -> bool {
        const BITS: u32 = 53;
        #[expect(clippy::cast_precision_loss, reason = "an f64 holds 53 bits exactly")]
        let of = |number: u64| number as f64;
        // The low half, which is random in every trace id; of that what an f64 holds.
        let low = u64::try_from(trace_id.get() & u128::from(u64::MAX)).unwrap_or_default();
        of(low >> (u64::BITS - BITS)) < self.0 * of(1 << BITS)
    }
}

#[cfg(test)]
mod tests;

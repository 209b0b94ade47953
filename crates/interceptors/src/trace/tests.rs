use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::registry::Registry;
use shadowcat_pipeline::{Chain, Direction, Origin, PeerId, RefusalKind, Service, SessionTag, Transport};
use shadowcat_protocol::{ErrorObject, Id, Response, Revision};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::external::webhook::Post;
use crate::external::{Failure, Reason};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
const OK: &str = "{}";

/// Keeps what it is sent, and fails as often as it is told to.
#[derive(Clone, Default)]
struct Collector {
    bodies: Arc<Mutex<Vec<Bytes>>>,
    failures: Arc<Mutex<u32>>,
    /// What it answers with then, if it answers at all.
    status: Option<u16>,
    asked: Arc<AtomicUsize>,
    /// What it says of what it takes.
    says: &'static [u8],
    hangs: bool,
}

#[async_trait]
impl Post for Collector {
    async fn post(&self, _: &[(&'static str, String)], body: Bytes) -> Result<Bytes, Failure> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let fails = {
            let mut failures = self.failures.lock().unwrap();
            let fails = *failures > 0;
            *failures = failures.saturating_sub(1);
            fails
        };
        if fails {
            let status = self.status;
            return Err(Failure { status, ..Failure::new(Reason::Unreachable, "it is away") });
        }
        self.bodies.lock().unwrap().push(body);
        Ok(Bytes::from_static(self.says))
    }
}

impl Collector {
    /// Whether a text is in what it was sent, and how often.
    fn holds(&self, text: &str) -> usize {
        let bodies = self.bodies.lock().unwrap();
        bodies.iter().map(|body| memchr_count(body, text.as_bytes())).sum()
    }
}

fn memchr_count(body: &[u8], text: &[u8]) -> usize {
    body.windows(text.len()).filter(|window| *window == text).count()
}

/// Keeps the request as it comes, and answers as it is told to.
struct Server {
    seen: Mutex<Vec<Envelope>>,
    says: Says,
}

#[derive(Clone, Copy)]
enum Says {
    Result(&'static str),
    Error,
    Refusal,
    Nothing,
}

#[async_trait]
impl Service for Server {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        self.seen.lock().unwrap().push(envelope.clone());
        let id = envelope.request_id().cloned().unwrap_or_else(|| Id::from_u64(1));
        let error = ErrorObject { code: -32602, message: "a secret".into(), data: None };
        match self.says {
            Says::Result(result) => Ok(Replies::one(Message::Response(Response::result(&id, result)))),
            Says::Error => Ok(Replies::one(Message::Response(Response::error(Some(&id), &error)))),
            Says::Refusal => Err(RefusalKind::UpstreamTimeout.into()),
            Says::Nothing => Ok(Replies::stream(futures_util::stream::pending())),
        }
    }
}

struct Case {
    trace: Arc<Trace>,
    exporter: Exporter,
    collector: Collector,
    registry: Registry,
}

impl Case {
    fn new(share: f64) -> Self {
        Self::with(share, Collector::default())
    }

    fn with(share: f64, collector: Collector) -> Self {
        let mut registry = Registry::default();
        let metrics = TraceMetrics::register(&mut registry);
        let (spans, exporter) = exporter("cat", Box::new(collector.clone()), metrics);
        Self { trace: Arc::new(Trace::new(spans, share)), exporter, collector, registry }
    }

    /// What the server gets, and the collector once all is over.
    async fn pass(self, envelope: Envelope, says: Says) -> (Envelope, Collector) {
        let server = Arc::new(Server { seen: Mutex::default(), says });
        let chain = Chain::new(vec![self.trace]);
        let mut replies = chain.run(envelope, Arc::clone(&server) as _).await;
        if let (Ok(replies), false) = (&mut replies, matches!(says, Says::Nothing)) {
            while replies.next().await.is_some() {}
        }
        drop((replies, chain));
        let stop = CancellationToken::new();
        stop.cancel();
        self.exporter.run(stop).await;
        let seen = server.seen.lock().unwrap().pop().unwrap();
        (seen, self.collector)
    }

    fn figure(&self, outcome: &str) -> u64 {
        figure(&self.registry, outcome)
    }
}

fn figure(registry: &Registry, outcome: &str) -> u64 {
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, registry).unwrap();
    let line = format!("trace_spans_total{{outcome=\"{outcome}\"}} ");
    page.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap()
}

fn envelope(revision: Revision, params: &str) -> Envelope {
    let request = Request::new(&Id::from_u64(7), "tools/call", Some(params));
    let mut origin = Origin::new(PeerId::next(), Transport::Http, revision);
    origin.session = Some(SessionTag("tag".into()));
    Envelope::to_server(Message::Request(request), Arc::new(origin))
}

fn named(mut envelope: Envelope, traceparent: &str) -> Envelope {
    let http_trace = TraceContext::of_headers(traceparent, &["from=header"]).map(Box::new);
    envelope.origin = Arc::new(Origin { http_trace, ..(*envelope.origin).clone() });
    envelope
}

fn meta(text: &str) -> String {
    format!(r#"{{"name":"t","_meta":{{{text}}}}}"#)
}

/// The trace context in the message that the server got.
fn told(envelope: &Envelope) -> Option<TraceContext> {
    let Message::Request(request) = &envelope.message else { panic!("no request") };
    TraceContext::of_request(request)
}

#[tokio::test]
async fn the_span_of_ours_stands_between_the_clients_and_the_servers() {
    let sent =
        envelope(Revision::V2025_11_25, &meta(&format!(r#""traceparent":"{PARENT}","tracestate":"a=1""#)));
    let (seen, collector) = Case::new(1.0).pass(sent, Says::Result(OK)).await;
    let (told, parent) = (told(&seen).unwrap(), TraceParent::parse(PARENT).unwrap());
    assert_eq!((told.trace_id(), told.state.as_deref()), (parent.trace_id(), Some("a=1")));
    assert_ne!(told.parent.span_id(), parent.span_id());
    assert_eq!(
        seen.origin.span.get().map(|span| &span.context),
        Some(&told),
        "and what is said in headers is the same"
    );
    assert!(!seen.is_changed, "headers that mirror the message are as they were");
    let bodies = collector.bodies.lock().unwrap();
    for id in [parent.span_id(), told.parent.span_id()] {
        assert_eq!(memchr_count(&bodies[0], &id.to_be_bytes()), 1);
    }
}

#[tokio::test]
async fn what_the_message_says_goes_before_the_header() {
    let both = named(envelope(Revision::V2026_07_28, &meta(&format!(r#""traceparent":"{PARENT}""#))), OTHER);
    let (seen, collector) = Case::new(1.0).pass(both, Says::Result(OK)).await;
    let (told, other) = (told(&seen).unwrap(), TraceParent::parse(OTHER).unwrap());
    assert_eq!((told.trace_id(), told.state), (TraceParent::parse(PARENT).unwrap().trace_id(), None));
    let link = other.trace_id().get().to_be_bytes();
    assert_eq!(memchr_count(&collector.bodies.lock().unwrap()[0], &link), 1, "the other is linked to");
    for sent in [meta(""), meta(r#""traceparent":"00-nonsense","tracestate":"a=1""#)] {
        let header = named(envelope(Revision::V2025_11_25, &sent), OTHER);
        let (seen, _) = Case::new(0.0).pass(header, Says::Result(OK)).await;
        let told = self::told(&seen).unwrap();
        assert_eq!((told.trace_id(), told.state.as_deref()), (other.trace_id(), Some("from=header")));
    }
}

#[tokio::test]
async fn a_trace_that_is_none_begins_anew_and_loses_its_state() {
    let sent = meta(r#""traceparent":"00-nonsense","tracestate":"a=1","k":1"#);
    let (seen, _) = Case::new(1.0).pass(envelope(Revision::V2025_11_25, &sent), Says::Result(OK)).await;
    assert_eq!(told(&seen).unwrap().state, None);
    let Message::Request(request) = &seen.message else { panic!() };
    assert!(request.meta("tracestate").is_none() && request.meta("k") == Some("1"));
}

#[tokio::test]
async fn a_legacy_server_is_told_in_the_message_only_of_traces_that_its_client_knows_of() {
    let plain = envelope(Revision::V2025_11_25, r#"{"name":"t"}"#);
    let text = plain.message.text().clone();
    let (seen, collector) = Case::new(1.0).pass(plain, Says::Result(OK)).await;
    assert_eq!(seen.message.text(), &text);
    assert!(seen.origin.span.get().is_some() && collector.holds("tools/call t") == 1);
    let (seen, _) =
        Case::new(1.0).pass(envelope(Revision::V2026_07_28, r#"{"name":"t"}"#), Says::Result(OK)).await;
    assert!(told(&seen).is_some());
}

#[tokio::test]
async fn what_is_not_kept_goes_on_as_such() {
    let sent = envelope(Revision::V2026_07_28, &meta(&format!(r#""traceparent":"{UNSAMPLED}""#)));
    let (seen, collector) = Case::new(1.0).pass(sent, Says::Result(OK)).await;
    assert!(!told(&seen).unwrap().parent.is_sampled() && collector.bodies.lock().unwrap().is_empty());
    let (seen, collector) =
        Case::new(0.0).pass(envelope(Revision::V2026_07_28, "{}"), Says::Result(OK)).await;
    assert!(!told(&seen).unwrap().parent.is_sampled() && collector.bodies.lock().unwrap().is_empty());
}

#[test]
fn a_share_is_a_share() {
    let id = |number: u128| TraceId::new(number).unwrap();
    let (low, half, high) = (id(1), id(1 << 63), id(u128::MAX));
    assert_eq!([low, half, high].map(|id| Share(1.0).has(id)), [true; 3]);
    assert_eq!([low, half, high].map(|id| Share(0.5).has(id)), [true, false, false]);
    assert_eq!([low, half, high].map(|id| Share(0.0).has(id)), [false; 3]);
}

#[tokio::test]
async fn a_span_says_how_its_request_ended() {
    let cases = [
        (Says::Result(r#"{"content":[],"isError":true}"#), "tool_error"),
        (Says::Error, "-32602"),
        (Says::Refusal, "upstream_timeout"),
    ];
    for (says, kind) in cases {
        let (_, collector) = Case::new(1.0).pass(envelope(Revision::V2025_11_25, &meta("")), says).await;
        assert_eq!(collector.holds("error.type"), 1, "{kind}");
        assert!(collector.holds(kind) >= 1, "{kind}");
        assert_eq!(collector.holds("a secret"), 0, "what an error says is the client's");
    }
    for says in [Says::Result(OK), Says::Nothing] {
        let (_, collector) = Case::new(1.0).pass(envelope(Revision::V2025_11_25, &meta("")), says).await;
        assert_eq!((collector.holds("error.type"), collector.holds("mcp.session.id")), (0, 1));
    }
}

#[tokio::test]
async fn a_servers_request_is_traced_too_and_a_notification_is_not() {
    let mut asked = envelope(Revision::V2025_11_25, &meta(&format!(r#""traceparent":"{PARENT}""#)));
    asked.direction = Direction::ToClient;
    let (seen, collector) = Case::new(1.0).pass(asked, Says::Result(OK)).await;
    assert_ne!(told(&seen).unwrap().parent, TraceParent::parse(PARENT).unwrap());
    assert_eq!((collector.holds("tools/call"), collector.holds("network.transport")), (2, 0));
    let note = shadowcat_protocol::Notification::new("notifications/x", None);
    let mut told = envelope(Revision::V2025_11_25, "{}");
    told.message = Message::Notification(note);
    let (_, collector) = Case::new(1.0).pass(told, Says::Result(OK)).await;
    assert!(collector.bodies.lock().unwrap().is_empty());
}

/// Makes so many spans.
async fn make(trace: &Arc<Trace>, count: usize) {
    let server = Arc::new(Server { seen: Mutex::default(), says: Says::Result(OK) });
    let chain = Chain::new(vec![Arc::clone(trace) as _]);
    for _ in 0..count {
        chain.run(envelope(Revision::V2025_11_25, "{}"), Arc::clone(&server) as _).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_comes_back_gets_what_it_missed() {
    let case = Case::new(1.0);
    *case.collector.failures.lock().unwrap() = 2;
    let (collector, stop, Case { trace, exporter, registry, .. }) =
        (case.collector.clone(), CancellationToken::new(), case);
    make(&trace, 600).await;
    let ends = async {
        tokio::time::sleep(Duration::from_mins(1)).await;
        stop.cancel();
    };
    tokio::join!(exporter.run(stop.clone()), ends);
    assert_eq!(collector.bodies.lock().unwrap().len(), 2, "in batches");
    assert_eq!((figure(&registry, "exported"), figure(&registry, "not_taken")), (600, 0));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_is_counted() {
    let case = Case::new(1.0);
    *case.collector.failures.lock().unwrap() = u32::MAX;
    let (Case { trace, exporter, registry, .. }, stop) = (case, CancellationToken::new());
    make(&trace, 5_000).await;
    stop.cancel();
    exporter.run(stop).await;
    assert_eq!(["queue_full", "not_taken", "exported"].map(|word| figure(&registry, word)), [904, 4_096, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_does_not_answer_delays_the_end_by_little() {
    let case = Case::with(1.0, Collector { hangs: true, ..Collector::default() });
    assert_eq!(case.figure("exported"), 0);
    let (Case { trace, exporter, registry, .. }, stop) = (case, CancellationToken::new());
    make(&trace, 1).await;
    let begun = tokio::time::Instant::now();
    let ends = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        stop.cancel();
    };
    tokio::join!(exporter.run(stop.clone()), ends);
    assert!(begun.elapsed() < Duration::from_secs(8));
    assert_eq!(figure(&registry, "not_taken"), 1);
}

/// Lets an exporter run for so long, of paused time.
async fn run_for(exporter: Exporter, time: Duration) {
    let run = exporter.run(CancellationToken::new());
    tokio::time::timeout(time, run).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait_for_company() {
    let Case { trace, exporter, registry, collector } = Case::new(1.0);
    make(&trace, 4_096).await;
    run_for(exporter, Duration::from_millis(1_500)).await;
    assert_eq!(["exported", "queue_full"].map(|word| figure(&registry, word)), [4_096, 0]);
    assert_eq!(collector.bodies.lock().unwrap().len(), 8);
}

#[tokio::test(start_paused = true)]
async fn one_batch_does_not_hold_up_the_others_for_longer_than_ten_seconds() {
    let case = Case::with(1.0, Collector { hangs: true, ..Collector::default() });
    let Case { trace, exporter, registry, .. } = case;
    make(&trace, 1).await;
    run_for(exporter, Duration::from_secs(12)).await;
    assert_eq!(figure(&registry, "not_taken"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_sent_again_only_if_that_can_help() {
    for (status, tries) in
        [(None, 3), (Some(400), 1), (Some(401), 1), (Some(429), 3), (Some(500), 1), (Some(503), 3)]
    {
        let case = Case::with(1.0, Collector { status, ..Collector::default() });
        *case.collector.failures.lock().unwrap() = u32::MAX;
        let Case { trace, exporter, registry, collector } = case;
        make(&trace, 1).await;
        run_for(exporter, Duration::from_mins(1)).await;
        assert_eq!((collector.asked.load(Ordering::Relaxed), figure(&registry, "not_taken")), (tries, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_taken_whatever_the_word_for_that_is() {
    let case = Case::with(1.0, Collector { status: Some(202), ..Collector::default() });
    *case.collector.failures.lock().unwrap() = u32::MAX;
    let Case { trace, exporter, registry, collector } = case;
    make(&trace, 1).await;
    run_for(exporter, Duration::from_mins(1)).await;
    assert_eq!(collector.asked.load(Ordering::Relaxed), 1);
    assert_eq!(["exported", "not_taken"].map(|word| figure(&registry, word)), [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_waits_for_its_next_try_has_it_at_the_end() {
    let case = Case::new(1.0);
    *case.collector.failures.lock().unwrap() = 1;
    let (Case { trace, exporter, registry, .. }, stop) = (case, CancellationToken::new());
    make(&trace, 1).await;
    let ends = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        stop.cancel();
    };
    tokio::join!(exporter.run(stop.clone()), ends);
    assert_eq!(["exported", "not_taken"].map(|word| figure(&registry, word)), [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn spans_that_a_collector_rejects_of_a_batch_are_not_exported() {
    // ExportTraceServiceResponse {partial_success: {rejected_spans: 2, error_message: "x"}}
    let says = &[0x0a, 0x05, 0x08, 0x02, 0x12, 0x01, b'x'];
    let Case { trace, exporter, registry, .. } = Case::with(1.0, Collector { says, ..Collector::default() });
    make(&trace, 5).await;
    run_for(exporter, Duration::from_secs(5)).await;
    assert_eq!(["exported", "not_taken"].map(|word| figure(&registry, word)), [3, 2]);
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_of_each_span_that_is_lost_once_a_minute_and_at_the_end() {
    let (log, case) = (Log::default(), Case::new(1.0));
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let (Case { trace, exporter, collector, .. }, stop) = (case, CancellationToken::new());
    let loses = async {
        make(&trace, 4_099).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        *collector.failures.lock().unwrap() = u32::MAX;
        make(&trace, 5).await;
        tokio::time::sleep(Duration::from_mins(2)).await;
        make(&trace, 7).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        make(&trace, 2).await;
        stop.cancel();
    };
    let ((), ()) = tokio::join!(biased; loses, exporter.run(stop.clone()));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let told: Vec<&str> =
        log.lines().filter_map(|line| line.split_once("spans=").map(|(_, told)| told)).collect();
    assert_eq!(told, ["3", "12", "2"], "{log}");
}

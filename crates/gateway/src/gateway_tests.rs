use shadowcat_pipeline::{Interceptor, Next};
use shadowcat_protocol::method;
use shadowcat_protocol::trace::TraceContext;
use shadowcat_transports::Parting;

use super::*;
use crate::testing::{FakeServer, records, records_out_of_reach, request};
use crate::upstream::SharedUpstream;

const IDLE: Duration = Duration::from_mins(1);

pub(super) fn gateway(server: &FakeServer) -> Gateway {
    let stream =
        StreamLimits { lag_bytes_max: 1_000, stall_max: IDLE, kept_events_max: 10, kept_bytes_max: 1_000 };
    let connector: Arc<dyn Connector> = Arc::new(server.clone());
    let shared = Arc::new(SharedUpstream::new(Arc::clone(&connector)));
    Gateway {
        upstream_name: "up".into(),
        rules: SessionRules {
            namespace: Namespace::reverse("up"),
            idle: IDLE,
            life: IDLE * 100,
            stream,
            kept_bytes_max: 1_000,
            resume_window: IDLE,
        },
        chain: Chain::default(),
        modern: Arc::new(ModernFace::new(Arc::clone(&shared), shared, None)),
        bridges: None,
        cache: None,
        connector,
        counters: Arc::default(),
        records: records(),
        table: Table::new(10),
        lost: Lost::default(),
        lot: Lot::new(
            shadowcat_interceptors::pause::Settings::default(),
            shadowcat_interceptors::PauseMetrics::default(),
        ),
        closed: Arc::default(),
        tasks: Tasks::new(),
        draining: CancellationToken::new(),
        unreachable: Mutex::default(),
    }
}

pub(super) async fn open(gateway: &Gateway, transport: Transport) -> Arc<Live> {
    let request = request(method::INITIALIZE);
    gateway
        .open(Opening { request, transport, principal: None, http_trace: None, outlet: None })
        .await
        .unwrap()
        .0
}

/// Notes the trace that headers named.
struct TraceSeen(Mutex<Option<TraceContext>>);

#[async_trait]
impl Interceptor for TraceSeen {
    fn name(&self) -> &'static str {
        "trace seen"
    }

    async fn intercept(&self, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
        *self.0.lock().unwrap() = envelope.origin.http_trace.as_deref().cloned();
        next.run(envelope).await
    }
}

#[tokio::test(start_paused = true)]
async fn the_trace_that_headers_of_initialize_name_goes_with_it() {
    let mut gateway = gateway(&FakeServer::default());
    let seen = Arc::new(TraceSeen(Mutex::default()));
    gateway.chain = Chain::new(vec![Arc::clone(&seen) as _]);
    let named = TraceContext::of_headers("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", &[]);
    let (request, transport) = (request(method::INITIALIZE), Transport::Http);
    let http_trace = named.clone().map(Box::new);
    gateway.open(Opening { request, transport, principal: None, http_trace, outlet: None }).await.unwrap();
    assert!(named.is_some() && *seen.0.lock().unwrap() == named);
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_ends_unless_its_client_is_there_by_nature() {
    let server = FakeServer::default();
    let gateway = gateway(&server);
    open(&gateway, Transport::Http).await;
    let stays = open(&gateway, Transport::Stdio).await;
    tokio::time::advance(IDLE * 2).await;
    gateway.sweep(IDLE).await;
    assert!(gateway.table.get(&stays.id).is_some());
    assert_eq!(gateway.table.len(), 1);
    assert!(gateway.tasks.join(IDLE).await);
    assert_eq!(server.partings(), [Parting::End]);
}

#[tokio::test(start_paused = true)]
async fn the_record_tells_where_a_session_stands_when_it_sleeps_and_when_it_has_ended() {
    let gateway = gateway(&FakeServer::default());
    let state = async |live: &Live| gateway.records.get(live.standing.key()).await.unwrap().unwrap().state();
    let live = open(&gateway, Transport::Http).await;
    assert_eq!(state(&live).await, State::Active);
    gateway.pause(&live).await;
    assert!(gateway.table.remove(&live));
    assert_eq!(state(&live).await, State::Paused);
    let woken = gateway.find(&live.id, None).await.unwrap();
    assert_eq!(state(&woken).await, State::Active);
    gateway.end(&woken).await;
    assert_eq!(gateway.find(&live.id, None).await.err().unwrap().kind, RefusalKind::SessionUnknown);
    assert!(gateway.tasks.join(IDLE).await);
    assert_eq!(state(&woken).await, State::Closed);
    assert!(!woken.standing.step(State::Active), "nothing leads back");
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_handshake_is_refused_has_ended() {
    let server = FakeServer::default();
    let gateway = gateway(&server);
    server.is_out_of_reach(true);
    let opening = Opening {
        request: request(method::INITIALIZE),
        transport: Transport::Http,
        principal: None,
        http_trace: None,
        outlet: None,
    };
    assert!(gateway.open(opening).await.is_err());
    assert!(gateway.tasks.join(IDLE).await);
    assert_eq!((gateway.table.len(), server.partings()), (0, vec![Parting::End]));
    assert_eq!(gateway.closed.len(), 1);
}

#[test]
fn an_unreachable_server_gets_another_chance_after_a_while_or_by_an_answer() {
    let gateway = gateway(&FakeServer::default());
    assert!(!gateway.is_unreachable());
    drop(gateway.seen(Err(RefusalKind::UpstreamUnreachable.into())));
    assert!(gateway.is_unreachable());
    gateway.note_unreachable(Instant::now().checked_sub(UNREACHABLE_FOR));
    assert!(!gateway.is_unreachable());
    drop(gateway.seen(Err(RefusalKind::UpstreamUnreachable.into())));
    drop(gateway.seen(Err(RefusalKind::UpstreamTimeout.into())));
    assert!(gateway.is_unreachable(), "a timeout proves nothing");
    drop(gateway.seen(Ok(Replies::none())));
    assert!(!gateway.is_unreachable());
}

#[tokio::test(start_paused = true)]
async fn t33_a_session_of_another_principal_looks_like_none() {
    let gateway = gateway(&FakeServer::default());
    let [ann, bob] = ["ann", "bob"].map(|name| Some(Principal::named(name)));
    let (request, transport) = (request(method::INITIALIZE), Transport::Http);
    let opening = Opening { request, transport, principal: ann.clone(), http_trace: None, outlet: None };
    let live = gateway.open(opening).await.unwrap().0;
    let found = async |principal: &Option<Principal>| {
        gateway.find(&live.id, principal.as_ref()).await.map(drop).map_err(|refusal| refusal.kind)
    };
    for is_asleep in [false, true] {
        if is_asleep {
            gateway.pause(&live).await;
            assert!(gateway.table.remove(&live));
        }
        for other in [&bob, &None] {
            assert_eq!(found(other).await, Err(RefusalKind::SessionUnknown), "asleep: {is_asleep}");
        }
        assert_eq!(found(&ann).await, Ok(()), "asleep: {is_asleep}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_client_calls_while_it_is_put_to_sleep_stays_awake() {
    let server = FakeServer::default();
    let mut gateway = gateway(&server);
    gateway.records = records_out_of_reach();
    gateway.table = Table::new(1);
    let session = || {
        gateway.make(Parts {
            id: SessionId::generate().unwrap(),
            state: State::Active,
            principal: None,
            transport: Transport::Http,
            outlet: gateway.outlet(),
            memory: Arc::default(),
            token: None,
            age: Duration::ZERO,
        })
    };
    let live = gateway.seat(session()).await.unwrap();
    let (refused, called) = tokio::join!(gateway.seat(session()), async { live.enter(10).unwrap() });
    assert!(matches!(refused.err().unwrap().kind, RefusalKind::Overloaded { .. }));
    assert!(gateway.table.get(&live.id).is_some());
    assert_eq!(live.standing.state(), State::Active);
    assert!(live.upstream.handle(crate::testing::envelope("tools/list")).await.is_ok());
    drop(called);
    gateway.seat(session()).await.unwrap();
    assert!(gateway.table.get(&live.id).is_none());
    assert!(live.enter(10).is_err(), "who found it before is not let in any more");
    assert_eq!((live.in_flight(), live.standing.state()), (0, State::Paused));
}

use std::time::Duration;

use serde_json::{Value, json};
use shadowcat_pipeline::{Back, Direction, ExchangeId};
use shadowcat_playback::Tapes;
use shadowcat_playback::player::Settings;
use shadowcat_tape::{Action, ClientSide, Frame, Kind, Record};
use tokio::time::Instant;

use super::*;

const CALL: &str = "tools/call";

fn frame(at: u64, direction: Direction, kind: Kind, message: &Value) -> Record {
    Record::Frame(Box::new(Frame {
        seq: at,
        at_us: at * 1_000_000,
        time: time::OffsetDateTime::UNIX_EPOCH,
        hop: "edge".to_owned(),
        direction,
        exchange: 1,
        related: None,
        session: Some("s".to_owned()),
        client: ClientSide {
            transport: "http".to_owned(),
            revision: "2025-11-25".to_owned(),
            era: "legacy".to_owned(),
        },
        upstream: None,
        kind,
        method: message.get("method").and_then(Value::as_str).map(str::to_owned),
        action: Action::Passed,
        took_us: None,
        rules: Vec::new(),
        redactions: 0,
        unfolded: false,
        message: message.to_string(),
    }))
}

/// A call that reports after one second and is answered after three.
fn player() -> Arc<Player> {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": CALL, "params": {"name": "slow"}});
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
        "params": {"progressToken": 1, "progress": 1}});
    let answer = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": []}});
    let frames = [
        frame(1, Direction::ToServer, Kind::Request, &call),
        frame(2, Direction::ToClient, Kind::Notification, &progress),
        frame(4, Direction::ToClient, Kind::Response, &answer),
    ];
    let mut tapes = Tapes::default();
    tapes.read("a.tape", frames.into_iter().map(Ok)).unwrap();
    Arc::new(Player::new(tapes, Settings::default()).unwrap())
}

struct NoBack;

#[async_trait]
impl Back for NoBack {
    async fn deliver(&self, _: Message, _: Option<ExchangeId>, _: &UpstreamSide) -> Result<Replies, Refusal> {
        Ok(Replies::none())
    }

    fn let_go(&self, _: ExchangeId, _: Duration) {}

    fn stream_lost(&self) {}
}

async fn connection(speed: Speed) -> Arc<dyn Connection> {
    let connector =
        TapeConnector { name: "tape".into(), player: player(), speed, beyond: None, tasks: Tasks::new() };
    let opening = OpenConnection { back: Arc::new(NoBack), era: Era::Legacy, revision: None, token: None };
    connector.open(opening).await.unwrap()
}

fn envelope(peer: PeerId, message: Message) -> Envelope {
    let origin = Origin::new(peer, Transport::Http, Revision::V2025_11_25);
    Envelope::to_server(message, Arc::new(origin))
}

fn slow(id: u64) -> Message {
    let params = r#"{"name":"slow","_meta":{"progressToken":"live"}}"#;
    Message::Request(Request::new(&Id::from_u64(id), CALL, Some(params)))
}

#[tokio::test(start_paused = true)]
async fn what_a_server_said_comes_at_its_time_as_fast_as_is_wanted() {
    for (speed, expected) in [
        (Speed::Times(1.0), [1_000, 3_000]),
        (Speed::Times(2.0), [500, 1_500]),
        // Apart from the answer, so that no client reads both at once and drops the progress.
        (Speed::Max, [0, 2]),
    ] {
        let connection = connection(speed).await;
        let begun = Instant::now();
        let mut replies = connection.handle(envelope(PeerId::next(), slow(7))).await.unwrap();
        for (at, has_token) in expected.into_iter().zip([true, false]) {
            let message = replies.next().await.unwrap().unwrap();
            assert_eq!(begun.elapsed().as_millis(), at, "{speed:?}");
            let text = String::from_utf8_lossy(message.text()).into_owned();
            assert_eq!(text.contains(r#""progressToken":"live""#), has_token, "{text}");
        }
        assert!(replies.next().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_its_client_cancels_is_not_answered_and_others_are() {
    let connection = connection(Speed::Times(1.0)).await;
    let (one, two) = (PeerId::next(), PeerId::next());
    let mut cancelled = connection.handle(envelope(one, slow(7))).await.unwrap();
    let mut other = connection.handle(envelope(two, slow(7))).await.unwrap();
    let cancel = Notification::new(method::CANCELLED, Some(r#"{"requestId":7}"#));
    connection.handle(envelope(one, Message::Notification(cancel))).await.unwrap();
    assert!(cancelled.next().await.is_none());
    assert!(matches!(other.next().await, Some(Ok(Message::Notification(_)))));
    assert!(matches!(other.next().await, Some(Ok(Message::Response(_)))));
}

#[tokio::test]
async fn a_closed_connection_plays_nothing() {
    let connection = connection(Speed::Max).await;
    assert!(connection.is_alive());
    connection.close(Parting::End).await;
    assert!(!connection.is_alive());
    let refused = connection.handle(envelope(PeerId::next(), slow(1))).await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::UpstreamExited);
}

#[test]
fn the_client_that_was_silent_for_longest_loses_its_place_when_there_are_too_many() {
    let reader = |number: usize| Reader::Session(SessionTag(number.to_string().into()));
    let mut cursors = Cursors::default();
    for number in 0..CURSORS_MAX {
        cursors.of(reader(number));
    }
    cursors.of(reader(0));
    cursors.of(reader(CURSORS_MAX));
    assert_eq!(cursors.places.len(), CURSORS_MAX);
    assert!(cursors.places.contains_key(&reader(0)) && !cursors.places.contains_key(&reader(1)));
}

//! Messages for tests; their times are fixed.

use shadowcat_pipeline::Direction;
use shadowcat_tape::Frame;

use crate::event::Held;

const MEMBERS: &str = r#""seq":1,"at_us":0,"time":"2026-11-21T12:04:05.123000Z","hop":"edge","session":"a1b2c3d4",
    "client":{"transport":"http","revision":"2025-11-25","era":"legacy"},
    "upstream":{"name":"docs","transport":"stdio","revision":"2025-11-25","era":"legacy"},"action":"passed""#;

fn frame(members: &str) -> Frame {
    Frame::parse(&format!("{{{MEMBERS},{members}}}")).unwrap()
}

/// A request of a client.
pub(crate) fn request(exchange: u64, method: &str, name: &str) -> Frame {
    frame(&format!(
        r#""exchange":{exchange},"direction":"to_server","kind":"request","method":"{method}","message":
        {{"jsonrpc":"2.0","id":{exchange},"method":"{method}","params":{{"name":"{name}","arguments":{{"text":"hello"}}}}}}"#
    ))
}

/// The answer to it, after 12 ms.
pub(crate) fn answer(exchange: u64, message: &str) -> Frame {
    let answer = frame(&format!(
        r#""exchange":{exchange},"direction":"to_client","kind":"response","took_us":12345,"message":{{}}"#
    ));
    Frame { message: message.to_owned(), ..answer }
}

/// What a server says of its own accord.
pub(crate) fn notification(method: &str) -> Frame {
    frame(&format!(
        r#""exchange":900,"direction":"to_client","kind":"notification","method":"{method}","message":
        {{"jsonrpc":"2.0","method":"{method}"}}"#
    ))
}

/// The call of `rm` of this exchange waits.
pub(crate) fn held(id: &str, exchange: u64) -> Held {
    Held {
        id: id.to_owned(),
        exchange,
        direction: Direction::ToServer,
        is_answer: false,
        session: Some("a1b2c3d4".to_owned()),
        method: "tools/call".to_owned(),
        name: Some("rm".to_owned()),
        bytes: 98,
        cause: "breakpoint b-1".to_owned(),
        until: request(exchange, "ping", "").time + time::Duration::minutes(5),
        then: "block".to_owned(),
    }
}

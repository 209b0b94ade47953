//! How a client of each era speaks: the handshake of the legacy one, the headers of both, and the judgement of an answer.

use crate::error::BenchError;
use crate::load::client::{Connection, Reply};
use crate::load::events;
use crate::wire::{Answer, Call, Era, LEGACY, MODERN};

/// What a client must repeat on every request.
#[derive(Clone, Debug)]
pub(crate) enum Session {
    /// The id that the server gave, if it gave one.
    Legacy(Option<String>),
    /// Nothing: each request says all.
    Modern,
}

/// How an answer compares with what must come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every byte as expected.
    Right,
    /// Something else came.
    Wrong(String),
}

impl Session {
    /// Introduces a client, as its era asks for.
    pub(crate) async fn open(era: Era, connection: &mut Connection) -> Result<Self, BenchError> {
        if era == Era::Modern {
            return Ok(Self::Modern);
        }
        let initialize = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{LEGACY}","capabilities":{{}},"clientInfo":{{"name":"load","version":"1"}}}}}}"#
        );
        let reply = connection.post(&[], initialize).await?;
        let text = String::from_utf8_lossy(&reply.body);
        if !reply.status.is_success() || !text.contains(r#""protocolVersion":""#) {
            return Err(BenchError::Handshake {
                step: "initialize",
                found: format!("{} {text}", reply.status),
            });
        }
        let session = Self::Legacy(reply.session);
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let reply = connection.post(&session.headers(None), initialized.to_owned()).await?;
        if !reply.status.is_success() {
            return Err(BenchError::Handshake { step: "initialized", found: reply.status.to_string() });
        }
        Ok(session)
    }

    /// Sends a call and judges what comes back.
    pub(crate) async fn call(&self, connection: &mut Connection, call: &Call) -> Result<Verdict, BenchError> {
        let reply = connection.post(&self.headers(Some(call)), call.request()).await?;
        Ok(judge(&reply, call))
    }

    /// Tells the server that the session is over.
    pub(crate) async fn close(&self, connection: &mut Connection) -> Result<(), BenchError> {
        if let Self::Legacy(Some(_)) = self {
            connection.delete(&self.headers(None)).await?;
        }
        Ok(())
    }

    /// The headers of a request in this session.
    pub(crate) fn headers(&self, call: Option<&Call>) -> Vec<(&'static str, &str)> {
        match self {
            Self::Legacy(id) => {
                let id = id.as_deref().map(|id| ("mcp-session-id", id));
                std::iter::once(("mcp-protocol-version", LEGACY)).chain(id).collect()
            }
            Self::Modern => {
                let name = call.map(|call| ("mcp-name", call.answer.tool()));
                [("mcp-protocol-version", MODERN), ("mcp-method", "tools/call")]
                    .into_iter()
                    .chain(name)
                    .collect()
            }
        }
    }
}

fn judge(reply: &Reply, call: &Call) -> Verdict {
    let text = String::from_utf8_lossy(&reply.body);
    let came = if reply.is_stream { events::messages(&text) } else { vec![text.trim_end().to_owned()] };
    let expected = call.replies();
    // Where the answer has only a result, JSON and an event stream are both right: the carrier behind may be stdio,
    // which has no such difference.
    let form_fits = reply.is_stream || call.answer != Answer::Progress;
    if reply.status.is_success() && form_fits && came == expected {
        Verdict::Right
    } else {
        Verdict::Wrong(format!("{}: expected {expected:?}, came {came:?}", reply.status))
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn call(id: u64, canary: &str) -> Call {
        Call {
            id,
            canary: canary.into(),
            answer: Answer::Json,
            era: Era::Legacy,
            bridged: false,
            text_bytes: 20,
        }
    }

    fn reply(body: String) -> Reply {
        Reply { status: StatusCode::OK, session: None, is_stream: false, body: body.into() }
    }

    #[test]
    fn an_answer_with_anothers_id_or_canary_is_wrong() {
        let mine = call(1, "mine");
        let answer = |call: &Call| call.replies().concat();
        assert_eq!(judge(&reply(answer(&mine)), &mine), Verdict::Right);
        assert_ne!(judge(&reply(answer(&call(2, "mine"))), &mine), Verdict::Right);
        assert_ne!(judge(&reply(answer(&call(1, "theirs"))), &mine), Verdict::Right);
    }

    #[test]
    fn progress_that_is_missing_is_wrong() {
        let asked = Call { answer: Answer::Progress, ..call(1, "c") };
        assert_ne!(judge(&reply(asked.replies().pop().unwrap()), &asked), Verdict::Right);
    }
}

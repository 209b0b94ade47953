//! What a client has said to its server that a new server session has to hear again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shadowcat_pipeline::Replies;
use shadowcat_protocol::capabilities::offers;
use shadowcat_protocol::{Message, Request, Revision, json, method};
use shadowcat_session::{Handshake, Record};

/// Resources that one session is subscribed to again, and the bytes of their URIs together. The server alone knows of more.
const SUBSCRIPTIONS_MAX: usize = 1_000;
const SUBSCRIPTIONS_BYTES_MAX: usize = 256 * 1024;

/// What has to be said again.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Said>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) handshake: Option<Arc<Handshake>>,
    /// A log level.
    pub(crate) level: Option<String>,
    /// URIs of resources.
    pub(crate) subscriptions: BTreeSet<String>,
}

impl Said {
    /// What a record has kept.
    pub(crate) fn restore(record: &Record) -> Self {
        Self {
            handshake: record.handshake.clone(),
            level: record.log_level.clone(),
            subscriptions: record.subscriptions().map(str::to_owned).collect(),
        }
    }

    /// Keeps it in a record.
    pub(crate) fn keep(self, record: &mut Record) {
        record.handshake = self.handshake;
        record.log_level = self.level;
        let gone: Vec<String> = record
            .subscriptions()
            .filter(|uri| !self.subscriptions.contains(*uri))
            .map(str::to_owned)
            .collect();
        for uri in gone {
            record.unsubscribe(&uri);
        }
        for uri in self.subscriptions {
            if record.subscribe(uri).is_err() {
                tracing::warn!("a session has more subscriptions than are kept");
                return;
            }
        }
    }
}

impl Memory {
    /// What an earlier process has kept.
    pub(crate) fn restored(said: Said) -> Self {
        Self(Mutex::new(said))
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it, at this moment.
    pub(crate) fn said(&self) -> Said {
        self.lock().clone()
    }

    /// Notes a handshake that was agreed on. One too large to keep cannot be said again, and the session then ends
    /// with its connection.
    pub(crate) fn agreed(&self, params: &str, result: &str) {
        let kept = Handshake::new(params, result).map(Arc::new);
        if let Err(error) = &kept {
            tracing::warn!(%error, "the session cannot be set up again once its server is gone");
        }
        self.lock().handshake = kept.ok();
    }

    /// Notes what a request changes at the server, when it has succeeded; says whether anything changed.
    pub(crate) fn note(&self, request: &Request) -> bool {
        let member = |name| {
            let raw = request.params().and_then(|params| json::get(params, &[name]))?;
            json::string(raw).map(std::borrow::Cow::into_owned)
        };
        match request.method() {
            method::SET_LEVEL => {
                self.lock().level = member("level");
                true
            }
            method::RESOURCES_SUBSCRIBE => {
                let Some(uri) = member("uri") else { return false };
                let known = &mut self.lock().subscriptions;
                let bytes: usize = known.iter().map(String::len).sum();
                let fits = known.len() < SUBSCRIPTIONS_MAX && bytes + uri.len() <= SUBSCRIPTIONS_BYTES_MAX;
                if !fits && !known.contains(&uri) {
                    tracing::warn!("a session has more subscriptions than are kept");
                }
                fits && known.insert(uri)
            }
            method::RESOURCES_UNSUBSCRIBE => {
                member("uri").is_some_and(|uri| self.lock().subscriptions.remove(&uri))
            }
            _ => false,
        }
    }
}

/// Whether a request changes something at the server that has to be said again.
pub(crate) fn is_noted(message: &Message) -> bool {
    let noted = [method::SET_LEVEL, method::RESOURCES_SUBSCRIBE, method::RESOURCES_UNSUBSCRIBE];
    matches!(message, Message::Request(request) if noted.contains(&request.method()))
}

/// The replies to a request that is noted, with its note taken when it has succeeded.
pub(crate) fn noting(
    replies: Replies,
    request: Request,
    memory: Arc<Memory>,
    changed: Arc<AtomicBool>,
) -> Replies {
    replies.inspect(move |reply| {
        if let Ok(Message::Response(response)) = reply
            && response.result_json().is_some()
            && memory.note(&request)
        {
            changed.store(true, Ordering::Release);
        }
    })
}

/// Whether what was agreed on is still so by another handshake: its revision, and everything the server has offered. What
/// it offers beyond that nobody has counted on.
pub(crate) fn still_holds(agreed: &str, again: &str) -> bool {
    let [capabilities, now] =
        [agreed, again].map(|result| json::get(result, &["capabilities"]).unwrap_or("{}"));
    Revision::of_handshake(agreed) == Revision::of_handshake(again)
        && json::members(capabilities).filter(|(_, raw)| raw.starts_with('{')).all(|(name, raw)| {
            offers(now, &[&*name])
                && json::members(raw)
                    .filter(|(_, raw)| *raw == "true")
                    .all(|(part, _)| offers(now, &[&*name, &*part]))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowcat_protocol::Id;

    #[test]
    fn subscriptions_are_kept_up_to_a_number_of_bytes() {
        let memory = Memory::default();
        let subscribe = |uri: &str| {
            let params = format!(r#"{{"uri":{}}}"#, json::quote(uri));
            memory.note(&Request::new(&Id::from_u64(1), method::RESOURCES_SUBSCRIBE, Some(&params)))
        };
        assert!(!subscribe(&"x".repeat(SUBSCRIPTIONS_BYTES_MAX + 1)));
        let all = (0..SUBSCRIPTIONS_MAX).filter(|number| subscribe(&format!("{number:01024}"))).count();
        assert_eq!(all, 256);
        assert!(!subscribe(&format!("{:01024}", 0)), "nothing new");
    }

    #[test]
    fn a_handshake_holds_as_long_as_its_revision_and_what_was_offered_are_there() {
        let of = |version: &str, capabilities: &str| {
            format!(r#"{{"protocolVersion":"{version}","capabilities":{capabilities}}}"#)
        };
        let agreed =
            of("2025-06-18", r#"{"tools":{"listChanged":true},"logging":{},"experimental":{"build":7}}"#);
        for (version, capabilities, holds) in [
            ("2025-06-18", r#"{"tools":{"listChanged":true},"logging":{},"experimental":{"build":8}}"#, true),
            (
                "2025-06-18",
                r#"{"prompts":{},"logging":{},"experimental":{},"tools":{"listChanged":true}}"#,
                true,
            ),
            ("2025-06-18", r#"{"tools":{"listChanged":false},"logging":{},"experimental":{}}"#, false),
            ("2025-06-18", r#"{"tools":{"listChanged":true},"experimental":{}}"#, false),
            (
                "2025-03-26",
                r#"{"tools":{"listChanged":true},"logging":{},"experimental":{"build":7}}"#,
                false,
            ),
        ] {
            assert_eq!(still_holds(&agreed, &of(version, capabilities)), holds, "{version} {capabilities}");
        }
    }
}

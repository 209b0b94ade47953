//! What was made for one client is told as for that client only: a public result may be given to anybody by whoever keeps it,
//! and a proxy that changes results must not let that happen (2026-07-28 server/utilities/caching).

use std::sync::Arc;

use shadowcat_pipeline::{Direction, Envelope, Origin};
use shadowcat_protocol::Message;
use shadowcat_protocol::caching::{Cacheable, Keeping, Scope};
use shadowcat_protocol::json::edit::{Change, Edits};

/// What the tape says of a result that is told so.
const DEED: &str = "cacheScope: private";

/// An exchange whose result says whom it may be told.
#[derive(Clone)]
pub(super) struct Scoped {
    pub(super) what: Cacheable,
    origin: Arc<Origin>,
}

impl Scoped {
    /// None for all others.
    pub(super) fn of(envelope: &Envelope) -> Option<Self> {
        let is_meant = envelope.direction == Direction::ToServer && envelope.origin.revision.is_modern();
        let what = envelope.message.method().filter(|_| is_meant).and_then(Cacheable::of)?;
        Some(Self { what, origin: Arc::clone(&envelope.origin) })
    }

    /// The result as one for its reader only.
    pub(super) fn narrowed(&self, message: Message) -> Message {
        if !is_public(&message) {
            return message;
        }
        let Message::Response(answer) = &message else { return message };
        let edits = Edits::one(&["cacheScope"], Change::Set(format!("\"{}\"", Scope::Private.as_str())));
        let Some(result) = answer.result_json().and_then(|result| edits.apply(result).ok()) else {
            return message;
        };
        self.origin.deeds.add(DEED);
        Message::Response(answer.with_result(&result))
    }
}

/// Whether a message is a result that may be told to anybody.
pub(super) fn is_public(message: &Message) -> bool {
    let Message::Response(answer) = message else { return false };
    answer.result_json().and_then(Keeping::of).is_some_and(|keeping| keeping.scope == Scope::Public)
}

//! A session as plain data: all that outlives the process, and nothing that is alive (channels, tasks and
//! connections are in `live`).

mod id;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shadowcat_protocol::Revision;

use crate::state::{IllegalMove, State};

pub use id::{ID_BYTES_MAX, Key, Namespace, NoRandomness, NotASessionId, SessionId, UpstreamToken};

/// The largest `initialize` params or result that is kept to set a session up again.
pub const HANDSHAKE_BYTES_MAX: usize = 256 * 1024;
/// The most resources one session may be subscribed to.
pub const SUBSCRIPTIONS_MAX: usize = 1_000;
/// Where the versions of ended sessions begin. So an end outranks every state in which the session lived, whichever
/// process writes that, and however late.
pub const ENDED_VERSION_MIN: u64 = 1 << 62;
/// What a record may take in memory, unless configured otherwise.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// A session: who has it, with whom, and what is needed to set it up again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    key: Key,
    state: State,
    /// Whose it is; nobody else may use it.
    pub principal: Option<String>,
    /// The revision agreed with the client.
    #[serde(with = "revision_text")]
    pub revision: Revision,
    /// What to say to an upstream that has forgotten it.
    // Shared, because a record is copied for each update and the handshake is nearly all of its size.
    pub handshake: Option<Arc<Handshake>>,
    /// The upstream's name in the configuration.
    pub upstream: String,
    /// The upstream's own id for it.
    pub upstream_token: Option<UpstreamToken>,
    /// The level the client asked for with `logging/setLevel`.
    pub log_level: Option<String>,
    subscriptions: BTreeSet<String>,
    /// Requests the client sent.
    pub requests: u64,
    /// Requests that were answered with an error or refused.
    pub errors: u64,
    /// When it began, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it was last used, in milliseconds since 1970.
    pub last_used_ms: u64,
    pub(crate) version: u64,
}

impl Record {
    /// A session that begins now.
    pub fn new(key: Key, revision: Revision, upstream: impl Into<String>, now_ms: u64) -> Self {
        Self {
            key,
            state: State::New,
            principal: None,
            revision,
            handshake: None,
            upstream: upstream.into(),
            upstream_token: None,
            log_level: None,
            subscriptions: BTreeSet::new(),
            requests: 0,
            errors: 0,
            created_ms: now_ms,
            last_used_ms: now_ms,
            version: 1,
        }
    }

    /// What it is found by.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Its room.
    pub fn namespace(&self) -> &Namespace {
        &self.key.namespace
    }

    /// Its id.
    pub fn id(&self) -> &SessionId {
        &self.key.id
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// How often it has changed; of two states the one with the higher version is the newer.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Moves to another state, if the table of moves has it.
    pub fn step(&mut self, to: State) -> Result<(), IllegalMove> {
        self.state = self.state.step(to)?;
        Ok(())
    }

    /// Takes over the state of the session in use, where the move was checked; a record may miss some in between.
    /// Nothing leads back from an end.
    pub(crate) fn follow(&mut self, state: State) {
        let goes_back = self.state == State::Closed || self.state.is_over() && !state.is_over();
        if !goes_back {
            self.state = state;
        }
        if self.state.is_over() {
            self.forget_upstream();
        }
    }

    /// This session with its end begun, for whoever ends it from outside the process that uses it.
    ///
    /// # Errors
    /// [`IllegalMove`] if it is over already.
    pub fn ended(&self) -> Result<Self, IllegalMove> {
        let mut ended = self.clone();
        ended.step(State::Closing)?;
        ended.forget_upstream();
        ended.adopt(self);
        Ok(ended)
    }

    /// Drops what a session is set up again from: it never will be, and these are credentials, and nearly all of its
    /// size.
    fn forget_upstream(&mut self) {
        (self.handshake, self.upstream_token, self.log_level) = (None, None, None);
        self.subscriptions.clear();
    }

    /// Notes a use. The wall clock may have been set back, so the time never is.
    pub fn touch(&mut self, now_ms: u64) {
        self.last_used_ms = self.last_used_ms.max(now_ms);
    }

    /// The resources it is subscribed to.
    pub fn subscriptions(&self) -> impl Iterator<Item = &str> {
        self.subscriptions.iter().map(String::as_str)
    }

    /// Notes a subscription; the same one twice is one.
    pub fn subscribe(&mut self, uri: impl Into<String>) -> Result<(), SubscriptionsFull> {
        let uri = uri.into();
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX && !self.subscriptions.contains(&uri) {
            return Err(SubscriptionsFull);
        }
        self.subscriptions.insert(uri);
        Ok(())
    }

    /// Forgets a subscription; one that is not there is fine.
    pub fn unsubscribe(&mut self, uri: &str) {
        self.subscriptions.remove(uri);
    }

    /// About what it takes in memory, texts included.
    pub fn memory_bytes(&self) -> usize {
        /// A set's or string's own bookkeeping for one text.
        const PER_TEXT: usize = 2 * size_of::<String>();
        let handshake = self.handshake.as_deref().map_or(0, |kept| size_of::<Handshake>() + kept.bytes());
        let subscriptions: usize = self.subscriptions.iter().map(|uri| PER_TEXT + uri.len()).sum();
        let optional = [self.principal.as_deref(), self.log_level.as_deref(), self.upstream_token()];
        let texts: usize = optional.into_iter().flatten().map(str::len).sum();
        let key = self.key.namespace.as_str().len() + self.key.id.as_str().len();
        size_of::<Self>() + key + handshake + subscriptions + texts + self.upstream.len()
    }

    /// Becomes the next version of an earlier state, whatever was done to it.
    pub(crate) fn adopt(&mut self, earlier: &Self) {
        self.key.clone_from(&earlier.key);
        let next = earlier.version + 1;
        self.version = if self.state.is_over() { next.max(ENDED_VERSION_MIN) } else { next };
    }

    /// Whether it differs from an earlier state in more than counters and times, which may be written later, and so
    /// may a state that passes.
    pub(crate) fn changed_since(&self, earlier: &Self) -> bool {
        !self.state.is_passing() && self.lasting() != earlier.lasting()
    }

    fn lasting(&self) -> impl PartialEq + '_ {
        // Spelled out, so that a new field has to take a side.
        let Self {
            key,
            state,
            principal,
            revision,
            handshake,
            upstream,
            upstream_token,
            log_level,
            subscriptions,
            created_ms,
            requests: _,
            errors: _,
            last_used_ms: _,
            version: _,
        } = self;
        let agreed = (key, state, principal, revision, created_ms);
        (agreed, handshake, upstream, upstream_token, log_level, subscriptions)
    }

    fn upstream_token(&self) -> Option<&str> {
        self.upstream_token.as_ref().map(UpstreamToken::as_str)
    }
}

/// The texts of an `initialize`, as they went over the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    params: String,
    result: String,
}

impl Handshake {
    /// Keeps the client's `params` and the server's `result`, both as raw JSON.
    pub fn new(params: impl Into<String>, result: impl Into<String>) -> Result<Self, HandshakeTooLarge> {
        let (params, result) = (params.into(), result.into());
        match params.len().max(result.len()) {
            bytes if bytes > HANDSHAKE_BYTES_MAX => Err(HandshakeTooLarge { bytes }),
            _ => Ok(Self { params, result }),
        }
    }

    /// The client's params, raw JSON.
    pub fn params(&self) -> &str {
        &self.params
    }

    /// The server's result, raw JSON.
    pub fn result(&self) -> &str {
        &self.result
    }

    fn bytes(&self) -> usize {
        self.params.len() + self.result.len()
    }
}

/// A handshake that is too long to keep; the session works, but cannot be set up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a handshake text of {bytes} bytes is more than the {HANDSHAKE_BYTES_MAX} that are kept")]
pub struct HandshakeTooLarge {
    /// The length of the longer text.
    pub bytes: usize,
}

/// The session has as many subscriptions as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session already has {SUBSCRIPTIONS_MAX} subscriptions")]
pub struct SubscriptionsFull;

/// A revision is written as the protocol writes it.
mod revision_text {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;
    use shadowcat_protocol::Revision;

    // serde's `with` hands over a reference.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    pub(super) fn serialize<S: Serializer>(revision: &Revision, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(revision.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(text: D) -> Result<Revision, D::Error> {
        let name = String::deserialize(text)?;
        Revision::parse(&name).ok_or_else(|| D::Error::custom(format_args!("unknown revision {name:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    #[test]
    fn a_record_survives_being_written_and_read() {
        let record = record("full");
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        assert!(text.contains("\"revision\":\"2025-11-25\""), "{text}");
    }

    #[test]
    fn an_end_outranks_every_living_state_and_nothing_leads_back_from_it() {
        let living = record("a");
        let mut ended = living.ended().unwrap();
        assert_eq!((ended.state(), ended.version()), (State::Closing, ENDED_VERSION_MIN));
        assert_eq!(
            (&ended.handshake, &ended.upstream_token, ended.subscriptions().count()),
            (&None, &None, 0)
        );
        ended.follow(State::Active);
        assert_eq!(ended.state(), State::Closing);
        let earlier = ended.clone();
        ended.follow(State::Closed);
        ended.adopt(&earlier);
        assert_eq!((ended.state(), ended.version()), (State::Closed, ENDED_VERSION_MIN + 1));
        let refused = ended.ended().unwrap_err();
        assert_eq!((refused.from, refused.to), (State::Closed, State::Closing));
    }

    #[test]
    fn an_illegal_move_is_refused_and_changes_nothing() {
        let mut record = record("a");
        let before = record.clone();
        assert!(record.step(State::New).is_err());
        assert_eq!(record, before);
    }

    #[test]
    fn nothing_secret_is_in_the_debug_form() {
        let shown = format!("{:?}", record("full"));
        assert!(!shown.contains("upstream-secret") && !shown.contains("id-of-full"), "{shown}");
    }

    #[test]
    fn the_estimate_follows_the_texts() {
        let mut grown = record("a");
        let before = grown.memory_bytes();
        grown.log_level = Some("x".repeat(100_000));
        grown.subscribe("y".repeat(50_000)).unwrap();
        assert!(grown.memory_bytes() >= before + 150_000 - 16);
    }

    #[test]
    fn subscriptions_are_a_set_with_a_limit() {
        let mut record = record("a");
        record.unsubscribe("file:///a");
        for number in 0..SUBSCRIPTIONS_MAX {
            record.subscribe(format!("file:///{number}")).unwrap();
        }
        assert_eq!(record.subscribe("file:///one-more"), Err(SubscriptionsFull));
        assert_eq!(record.subscribe("file:///1"), Ok(()));
        record.unsubscribe("file:///1");
        assert_eq!(record.subscribe("file:///one-more"), Ok(()));
    }

    #[test]
    fn a_handshake_has_a_limit() {
        let long = "x".repeat(HANDSHAKE_BYTES_MAX + 1);
        assert_eq!(Handshake::new("{}", long), Err(HandshakeTooLarge { bytes: HANDSHAKE_BYTES_MAX + 1 }));
    }

    #[test]
    fn counters_and_times_alone_are_no_change_worth_hurry() {
        let earlier = record("a");
        let mut later = earlier.clone();
        later.requests += 1;
        later.touch(earlier.last_used_ms + 5);
        later.version += 1;
        assert!(!later.changed_since(&earlier));
        later.upstream_token = None;
        assert!(later.changed_since(&earlier));
    }
}

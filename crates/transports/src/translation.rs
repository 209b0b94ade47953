//! The one place where request ids and progress tokens are rewritten: each upstream request gets an id of our own,
//! and what comes back gets the client's again, with its type and digits.

use std::collections::HashMap;

use shadowcat_pipeline::PeerId;
use shadowcat_protocol::{Id, Message, Request, Response, meta, method};

/// How one request is called on either side.
#[derive(Clone, Debug)]
pub(crate) struct Translation {
    /// Our id, and our progress token, upstream.
    pub(crate) own: u64,
    /// The client's id.
    pub(crate) client: Id,
    /// The client's progress token as raw JSON.
    token: Option<Box<str>>,
    /// The scope of the client's id.
    pub(crate) peer: PeerId,
    kind: Kind,
    /// The request must not be cancelled.
    pub(crate) is_initialize: bool,
    /// The request only opens a conversation: its answer is no service yet.
    is_greeting: bool,
}

/// What a server says for a request beside its answer and its progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The request opened a subscription, whose messages carry its id.
    Listens,
    /// The request asks for log messages, as only modern ones do. They carry nothing.
    Logged,
    Other,
}

impl Kind {
    fn of(request: &Request) -> Self {
        match request.method() {
            method::LISTEN => Self::Listens,
            _ if request.meta(meta::LOG_LEVEL).is_some() => Self::Logged,
            _ => Self::Other,
        }
    }
}

impl Translation {
    /// The translation of a request that is called `own` upstream.
    pub(crate) fn new(own: u64, request: &Request, peer: PeerId) -> Self {
        Self {
            own,
            client: request.id().clone(),
            token: request.progress_token().map(Into::into),
            peer,
            kind: Kind::of(request),
            is_initialize: request.method() == method::INITIALIZE,
            is_greeting: [method::INITIALIZE, method::DISCOVER].contains(&request.method()),
        }
    }

    fn listens(&self) -> bool {
        self.kind == Kind::Listens
    }

    /// Whether this is the answer to the request.
    pub(crate) fn is_answered_by(&self, response: &Response) -> bool {
        response.id().and_then(Id::as_u64) == Some(self.own)
    }

    /// The request as the upstream gets it.
    pub(crate) fn outbound(&self, request: &Request) -> Request {
        request.with_ids(&Id::from_u64(self.own), Some(self.own))
    }

    /// The response as the client gets it.
    pub(crate) fn response(&self, response: &Response) -> Response {
        let restored = response.with_id(&self.client);
        if self.listens() { restored.with_subscription_id(self.client.as_json()) } else { restored }
    }

    /// A message on this request's own stream as the client gets it.
    pub(crate) fn inbound(&self, message: Message) -> Message {
        match message {
            Message::Response(response) => Message::Response(self.response(&response)),
            Message::Notification(note) => {
                let restored = match (&self.token, note.progress_token()) {
                    (Some(token), Some(_)) => note.with_progress_token(token),
                    _ => note,
                };
                let tagged = self.listens() && restored.subscription_id().is_some();
                Message::Notification(if tagged {
                    restored.with_subscription_id(self.client.as_json())
                } else {
                    restored
                })
            }
            Message::Request(request) => Message::Request(request),
        }
    }
}

/// The requests in flight on one connection that answers by id. Bytes and clocks are elsewhere: messages go in, and
/// what to do with them comes out.
#[derive(Debug)]
pub(crate) struct Correlator<T> {
    next: u64,
    max: usize,
    pending: HashMap<u64, (Translation, T)>,
}

/// Where a message from the server belongs.
#[derive(Debug)]
pub(crate) enum Routed<T> {
    /// The response to a request, which is over now.
    Answer { owner: T, message: Message, is_greeting: bool },
    /// A notification that belongs to a request in flight.
    Related(T, Message),
    /// A response to nothing: unknown, answered already, cancelled or timed out.
    Stray,
    /// A message of the server's own accord.
    Unrelated(Message),
}

impl<T: Clone> Correlator<T> {
    /// For at most `max` requests in flight.
    pub(crate) fn new(max: usize) -> Self {
        Self { next: 0, max, pending: HashMap::new() }
    }

    /// Takes a request in and gives the text to send; `None` when too many are in flight.
    pub(crate) fn begin(&mut self, request: &Request, peer: PeerId, owner: T) -> Option<(u64, Request)> {
        if self.pending.len() >= self.max {
            return None;
        }
        self.next += 1;
        let translation = Translation::new(self.next, request, peer);
        let outbound = translation.outbound(request);
        self.pending.insert(self.next, (translation, owner));
        Some((self.next, outbound))
    }

    /// Finds the owner of a message from the server and restores its ids.
    pub(crate) fn route(&mut self, message: Message) -> Routed<T> {
        match &message {
            Message::Response(response) => {
                let own = response.id().and_then(Id::as_u64);
                match own.and_then(|own| self.pending.remove(&own)) {
                    Some((translation, owner)) => {
                        let is_greeting = translation.is_greeting;
                        Routed::Answer { owner, message: translation.inbound(message), is_greeting }
                    }
                    None => Routed::Stray,
                }
            }
            Message::Notification(note) => {
                let tag = if note.method() == method::PROGRESS {
                    note.progress_token()
                } else {
                    note.subscription_id()
                };
                let Some(tag) = tag else { return Routed::Unrelated(message) };
                match tag.parse().ok().and_then(|own: u64| self.pending.get(&own)) {
                    Some((translation, owner)) => {
                        let owner = owner.clone();
                        Routed::Related(owner, translation.inbound(message))
                    }
                    None => Routed::Stray,
                }
            }
            Message::Request(_) => Routed::Unrelated(message),
        }
    }

    /// Ends a request by our id; `None` if it is over already.
    pub(crate) fn forget(&mut self, own: u64) -> Option<Translation> {
        self.pending.remove(&own).map(|(translation, _)| translation)
    }

    /// Ends the newest request that this peer calls by this id, as its cancel notification asks.
    pub(crate) fn cancel(&mut self, peer: PeerId, client: &Id) -> Option<(u64, T)> {
        let newest = self.pending.values().filter(|(translation, _)| {
            translation.peer == peer && translation.client == *client && !translation.is_initialize
        });
        let own = newest.map(|(translation, _)| translation.own).max()?;
        self.pending.remove(&own).map(|(_, owner)| (own, owner))
    }

    /// Ends the requests whose owner is meant; gives our ids of them.
    pub(crate) fn end_where(&mut self, is_meant: impl Fn(&T) -> bool) -> Vec<u64> {
        let meant = self.pending.iter().filter(|(_, (_, owner))| is_meant(owner));
        let ended: Vec<u64> = meant.map(|(own, _)| *own).collect();
        for own in &ended {
            self.pending.remove(own);
        }
        ended
    }

    /// The only request in flight, for messages that do not say what they belong to: whatever belongs to a
    /// subscription says so.
    pub(crate) fn only(&self) -> Option<&T> {
        self.only_one(|translation| !translation.listens())
    }

    /// The only request in flight that a modern server may log for.
    pub(crate) fn only_logging(&self) -> Option<&T> {
        self.only_one(|translation| translation.kind == Kind::Logged)
    }

    fn only_one(&self, fits: impl Fn(&Translation) -> bool) -> Option<&T> {
        let mut owners = self.pending.values().filter(|(translation, _)| fits(translation));
        match (owners.next(), owners.next()) {
            (Some((_, owner)), None) => Some(owner),
            _ => None,
        }
    }

    /// Ends all requests, for a connection that is gone.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        self.pending.drain().map(|(_, (_, owner))| owner).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use shadowcat_protocol::Limits;

    fn parse(text: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).unwrap()
    }

    fn request(text: &str) -> Request {
        let Message::Request(request) = parse(text) else { panic!("not a request: {text}") };
        request
    }

    fn text(message: &Message) -> &str {
        std::str::from_utf8(message.text()).unwrap()
    }

    const CALL: &str = r#"{"jsonrpc":"2.0","id":"1","method":"tools/call","params":{"name":"a","_meta":{"progressToken":"1"}}}"#;

    #[test]
    fn equal_ids_of_two_peers_get_their_own_answers_with_their_type() {
        let mut correlator = Correlator::new(8);
        let (first, second) = (PeerId::next(), PeerId::next());
        let (a, sent) = correlator.begin(&request(CALL), first, 'a').unwrap();
        assert!(text(&Message::Request(sent)).contains(r#""id":1,"#));
        let numeric = request(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#);
        let (b, _) = correlator.begin(&numeric, second, 'b').unwrap();
        for (own, owner, expected) in [(b, 'b', r#""id":1,"#), (a, 'a', r#""id":"1","#)] {
            let answer = parse(&format!(r#"{{"jsonrpc":"2.0","id":{own},"result":{{}}}}"#));
            let Routed::Answer { owner: found, message, is_greeting } = correlator.route(answer.clone())
            else {
                panic!()
            };
            assert_eq!((found, is_greeting), (owner, false));
            assert!(text(&message).contains(expected), "{}", text(&message));
            assert!(matches!(correlator.route(answer), Routed::Stray), "a second answer belongs to nobody");
        }
        assert!(correlator.pending.is_empty());
    }

    #[test]
    fn progress_goes_to_its_request_with_the_clients_own_token() {
        let mut correlator = Correlator::new(8);
        let (own, _) = correlator.begin(&request(CALL), PeerId::next(), ()).unwrap();
        let progress = |token: u64| {
            parse(&format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#
            ))
        };
        let Routed::Related((), message) = correlator.route(progress(own)) else { panic!() };
        assert!(text(&message).contains(r#""progressToken":"1""#), "{}", text(&message));
        assert!(matches!(correlator.route(progress(own + 1)), Routed::Stray));
    }

    #[test]
    fn a_cancel_reaches_the_newest_request_of_that_peer_only() {
        let mut correlator = Correlator::new(8);
        let (mine, other) = (PeerId::next(), PeerId::next());
        let call = request(CALL);
        correlator.begin(&call, mine, 1).unwrap();
        correlator.begin(&call, other, 2).unwrap();
        let (newest, _) = correlator.begin(&call, mine, 3).unwrap();
        assert_eq!(correlator.cancel(mine, call.id()), Some((newest, 3)));
        assert_eq!(correlator.pending.len(), 2);
        let initialize = request(r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}"#);
        correlator.begin(&initialize, mine, 4).unwrap();
        assert_eq!(correlator.cancel(mine, initialize.id()), None, "initialize must not be cancelled");
    }

    #[test]
    fn a_subscription_keeps_the_clients_id_in_all_its_messages() {
        let mut correlator = Correlator::new(8);
        let listen = request(r#"{"jsonrpc":"2.0","id":"L-1","method":"subscriptions/listen","params":{}}"#);
        let (own, _) = correlator.begin(&listen, PeerId::next(), ()).unwrap();
        let changed = parse(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{own}}}}}}}"#
        ));
        let Routed::Related((), message) = correlator.route(changed) else { panic!() };
        assert!(text(&message).contains(r#"subscriptionId":"L-1""#), "{}", text(&message));
    }

    #[test]
    fn what_names_no_request_belongs_to_the_only_one_beside_the_subscriptions() {
        let mut correlator = Correlator::new(8);
        let listen = request(r#"{"jsonrpc":"2.0","id":"L-1","method":"subscriptions/listen","params":{}}"#);
        correlator.begin(&listen, PeerId::next(), 'l').unwrap();
        assert_eq!(correlator.only(), None);
        correlator.begin(&request(CALL), PeerId::next(), 'a').unwrap();
        assert_eq!(correlator.only(), Some(&'a'));
        correlator.begin(&request(CALL), PeerId::next(), 'b').unwrap();
        assert_eq!(correlator.only(), None);
    }

    #[test]
    fn a_log_message_belongs_to_the_only_request_that_asked_for_some() {
        let mut correlator = Correlator::new(8);
        let logging = request(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{"io.modelcontextprotocol/logLevel":"info"}}}"#,
        );
        correlator.begin(&request(CALL), PeerId::next(), 'a').unwrap();
        assert_eq!(correlator.only_logging(), None);
        correlator.begin(&logging, PeerId::next(), 'b').unwrap();
        assert_eq!(correlator.only_logging(), Some(&'b'));
        correlator.begin(&logging, PeerId::next(), 'c').unwrap();
        assert_eq!(correlator.only_logging(), None);
    }

    #[test]
    fn a_full_table_takes_no_more() {
        let mut correlator = Correlator::new(1);
        assert!(correlator.begin(&request(CALL), PeerId::next(), ()).is_some());
        assert!(correlator.begin(&request(CALL), PeerId::next(), ()).is_none());
        assert_eq!(correlator.drain().len(), 1);
    }
}

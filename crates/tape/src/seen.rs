//! A message that passed, as far as its frame goes, and how it is copied for another thread.

use std::time::Instant;

use shadowcat_pipeline::{Direction, Transport};
use shadowcat_protocol::Revision;

use crate::record::Kind;

/// A message that passed, in plain values and texts that belong to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen<'a> {
    pub(crate) facts: Facts,
    /// Never empty.
    pub(crate) session: Option<&'a str>,
    pub(crate) upstream: Option<(&'a str, Side)>,
    /// None for a response.
    pub(crate) method: Option<&'a str>,
    /// What rules did to it.
    pub(crate) rules: &'a [Box<str>],
    /// As it came.
    pub(crate) message: &'a [u8],
}

/// What is told of a message in values of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) passed_at: Instant,
    pub(crate) hop: &'static str,
    pub(crate) direction: Direction,
    pub(crate) exchange: u64,
    pub(crate) related: Option<u64>,
    pub(crate) client: Side,
    pub(crate) kind: Kind,
    pub(crate) action: &'static str,
    /// The stable word of a refusal.
    pub(crate) refused: Option<&'static str>,
    /// For answers: when the message passed that they answer.
    pub(crate) asked: Option<Instant>,
}

/// How one side speaks.
pub(crate) type Side = (Transport, Revision);

/// A message of which the texts were copied, one behind the other, behind those of others. Nothing of it is shared with the
/// thread on which it passed: that one can use its memory again while it is in the caches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copied {
    facts: Facts,
    upstream: Option<Side>,
    start: usize,
    /// The ends of the session, of the upstream's name, of the method and of the message.
    ends: [usize; 4],
}

impl Copied {
    /// A copy of a message to which rules did nothing.
    pub(crate) fn of(seen: &Seen<'_>, texts: &mut Vec<u8>) -> Self {
        let start = texts.len();
        let upstream = seen.upstream.unzip();
        let name = upstream.0.unwrap_or_default();
        let texts_of = [seen.session.unwrap_or_default(), name, seen.method.unwrap_or_default()];
        let [session, name, method] = texts_of.map(|text| {
            texts.extend_from_slice(text.as_bytes());
            texts.len()
        });
        texts.extend_from_slice(seen.message);
        Self { facts: seen.facts, upstream: upstream.1, start, ends: [session, name, method, texts.len()] }
    }

    /// The message, with the texts among which its own are.
    pub(crate) fn seen<'a>(&self, texts: &'a [u8]) -> Seen<'a> {
        let [session, name, method, message] = self.ends;
        let bytes = |from: usize, to: usize| texts.get(from..to).unwrap_or_default();
        // They were characters when they were copied.
        let text = |from, to| str::from_utf8(bytes(from, to)).unwrap_or_default();
        Seen {
            facts: self.facts,
            session: Some(text(self.start, session)).filter(|session| !session.is_empty()),
            upstream: self.upstream.map(|side| (text(session, name), side)),
            method: (self.facts.kind != Kind::Response).then(|| text(name, method)),
            rules: &[],
            message: bytes(method, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::testing::captured;

    #[test]
    fn a_copy_among_others_is_seen_as_what_was_copied() {
        let captured = captured();
        let call = captured.seen();
        let upstream = Some(("an upstream", (Transport::Stdio, Revision::V2026_07_28)));
        let answer = Facts { kind: Kind::Response, ..call.facts };
        let all = [
            call,
            Seen { session: None, upstream, message: b"{\n}", ..call },
            Seen { facts: answer, method: None, upstream, ..call },
            Seen { session: None, ..call },
        ];
        let mut texts = Vec::new();
        let copies = all.map(|seen| Copied::of(&seen, &mut texts));
        assert_eq!(copies.map(|copied| copied.seen(&texts)), all);
    }
}

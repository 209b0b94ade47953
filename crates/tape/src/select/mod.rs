//! Which exchanges are recorded, where not all are. No threads and no clock.
//!
//! It is decided by exchange, so that a call is on the tape as a whole or not at all. Where its end decides, the messages of
//! a call wait in memory until it has come. What does not fit into that memory is decided by what is known by then: nothing
//! is lost because it had to wait.

mod exchange;
mod sample;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use shadowcat_filter::{Filter, Heard};
use shadowcat_pipeline::ExchangeId;
use shadowcat_protocol::Message;

use crate::recorder::Captured;
use exchange::Exchange;
pub use sample::Sample;

/// Exchanges whose end is waited for at one time.
const OPEN_MAX: usize = 65_536;
/// Bytes of all their messages.
const OPEN_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Without them nobody can make anything of a session.
const HANDSHAKE: [&str; 3] = ["initialize", "notifications/initialized", "server/discover"];

/// What is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Exchanges that fit this filter, and the handshakes of those who could have some.
    pub only: Option<Filter>,
    /// Of these, a part; handshakes in any case.
    pub sample: Option<Sample>,
}

impl Scope {
    /// Whether something may be left out.
    pub fn is_partial(&self) -> bool {
        self.only.is_some() || self.sample.is_some()
    }
}

#[derive(Debug)]
pub(crate) struct Select {
    scope: Scope,
    /// Whether handshakes are recorded of those who could have exchanges that fit.
    keeps_handshakes: bool,
    dice: RandomState,
    open: BTreeMap<u64, Open>,
    bytes: usize,
    skipped: u64,
}

/// An exchange whose last message has not come yet.
#[derive(Debug)]
struct Open {
    /// The hop of its first message, where it also ends.
    hop: &'static str,
    fate: Fate,
}

#[derive(Debug)]
enum Fate {
    Recorded,
    LeftOut,
    /// Open: its messages, and those of questions in its middle.
    Waits(Vec<Captured>),
    /// That of the call in whose middle it is.
    With(u64),
}

impl Select {
    /// None if everything is recorded.
    pub(crate) fn new(scope: Scope) -> Option<Self> {
        scope.is_partial().then(|| Self {
            scope,
            keeps_handshakes: true,
            dice: RandomState::new(),
            open: BTreeMap::new(),
            bytes: 0,
            skipped: 0,
        })
    }

    /// What fits this filter, and nothing else; none if that is everything.
    pub(crate) fn only(filter: Option<Filter>) -> Option<Self> {
        let select = Self::new(Scope { only: filter, sample: None })?;
        Some(Self { keeps_handshakes: false, ..select })
    }

    /// Messages that were left out.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes the next message; what is to be written now goes to `out`.
    pub(crate) fn take(&mut self, captured: Captured, out: &mut Vec<Captured>) {
        let exchange = captured.origin.exchange.get();
        match self.open.get(&exchange) {
            None => self.first(exchange, captured, out),
            Some(open) => {
                let is_end = captured.hop == open.hop && matches!(captured.message, Message::Response(_));
                let holder = if let Fate::With(call) = open.fate { call } else { exchange };
                self.follow(holder, captured, out);
                if is_end {
                    self.end(exchange, out);
                }
            }
        }
        self.make_room(out);
    }

    /// What still waits when the tape ends: nobody knows how it would have ended.
    pub(crate) fn rest(&mut self, out: &mut Vec<Captured>) {
        for open in std::mem::take(&mut self.open).into_values() {
            self.give_out(open, out);
        }
    }

    /// Decides over a new exchange, as far as that can be done by its first message.
    fn first(&mut self, exchange: u64, captured: Captured, out: &mut Vec<Captured>) {
        // A question in the middle of a call is sampled with the call.
        let call = captured.origin.related.map_or(exchange, ExchangeId::get);
        let opens = matches!(captured.message, Message::Request(_));
        let is_wanted = self.is_wanted(&captured, opens);
        let fate = match (is_wanted, self.is_sampled(call, &captured, opens)) {
            (Some(false), _) | (_, Some(false)) => Fate::LeftOut,
            (Some(true), Some(true)) => Fate::Recorded,
            (_, None) if call != exchange => Fate::With(call),
            _ => Fate::Waits(Vec::new()),
        };
        let holder = if let Fate::With(call) = fate { call } else { exchange };
        self.open.insert(exchange, Open { hop: captured.hop, fate });
        self.follow(holder, captured, out);
        if !opens {
            self.end(exchange, out);
        }
    }

    /// Whether it fits the filter; none if its end decides.
    fn is_wanted(&self, captured: &Captured, opens: bool) -> Option<bool> {
        let Some(filter) = &self.scope.only else { return Some(true) };
        let heard = [captured];
        if self.keeps_handshakes && is_handshake(captured) {
            return Some(filter.settled(&Exchange(&heard), Heard::Asker) != Some(false));
        }
        if !opens {
            return Some(filter.matches(&Exchange(&heard)));
        }
        filter.settled(&Exchange(&heard), Heard::Question)
    }

    /// Whether it is in the sample; none if its end decides, or that of the call in whose middle it is.
    fn is_sampled(&self, call: u64, captured: &Captured, opens: bool) -> Option<bool> {
        let Some(sample) = self.scope.sample else { return Some(true) };
        if self.is_taken(call) || is_handshake(captured) || sample.always_takes(captured) {
            return Some(true);
        }
        if captured.origin.exchange.get() == call {
            return if opens && sample.waits() { None } else { Some(false) };
        }
        match self.open.get(&call).map(|open| &open.fate) {
            Some(Fate::Recorded) => Some(true),
            Some(Fate::Waits(_)) => None,
            Some(Fate::LeftOut | Fate::With(_)) | None => Some(false),
        }
    }

    fn is_taken(&self, call: u64) -> bool {
        self.scope.sample.is_none_or(|sample| sample.takes(self.dice.hash_one(call)))
    }

    /// A message goes where those before it went.
    fn follow(&mut self, holder: u64, captured: Captured, out: &mut Vec<Captured>) {
        match self.open.get_mut(&holder).map(|open| &mut open.fate) {
            Some(Fate::Recorded) => out.push(captured),
            Some(Fate::Waits(waiting)) => {
                self.bytes += captured.bytes();
                waiting.push(captured);
            }
            Some(Fate::LeftOut | Fate::With(_)) | None => self.skipped += 1,
        }
    }

    fn end(&mut self, exchange: u64, out: &mut Vec<Captured>) {
        let Some(Open { fate: Fate::Waits(waiting), .. }) = self.open.remove(&exchange) else { return };
        let always = |sample: Sample| waiting.iter().any(|captured| sample.always_takes(captured));
        let is_sampled = self.is_taken(exchange) || self.scope.sample.is_some_and(always);
        self.settle(waiting, is_sampled, out);
    }

    /// Records what waited, as far as it fits the filter. Says whether the first of it does.
    fn settle(&mut self, waiting: Vec<Captured>, is_sampled: bool, out: &mut Vec<Captured>) -> bool {
        self.bytes = self.bytes.saturating_sub(waiting.iter().map(Captured::bytes).sum());
        let wanted = self.wanted(&waiting);
        let is_first_wanted = wanted.first().is_some_and(|is_wanted| *is_wanted);
        for (captured, is_wanted) in waiting.into_iter().zip(wanted) {
            if is_sampled && is_wanted {
                out.push(captured);
            } else {
                self.skipped += 1;
            }
        }
        is_first_wanted
    }

    /// For each message, whether its exchange fits the filter: a call and the questions in its middle are judged apart.
    fn wanted(&self, waiting: &[Captured]) -> Vec<bool> {
        let Some(filter) = &self.scope.only else { return vec![true; waiting.len()] };
        let mut exchanges = BTreeMap::<_, Vec<&Captured>>::new();
        for captured in waiting {
            let heard = exchanges.entry(captured.origin.exchange.get()).or_default();
            if heard.first().is_none_or(|first| first.hop == captured.hop) {
                heard.push(captured);
            }
        }
        let fits: BTreeMap<_, _> =
            exchanges.iter().map(|(exchange, heard)| (*exchange, filter.matches(&Exchange(heard)))).collect();
        let fits = |captured: &Captured| fits.get(&captured.origin.exchange.get()).is_some_and(|fits| *fits);
        waiting.iter().map(fits).collect()
    }

    /// Gives out what has waited longest; what follows of it goes the same way.
    fn make_room(&mut self, out: &mut Vec<Captured>) {
        while self.open.len() > OPEN_MAX {
            let Some((_, open)) = self.open.pop_first() else { return };
            self.give_out(open, out);
        }
        while self.bytes > OPEN_BYTES_MAX {
            let oldest = self.open.values_mut().find(|open| matches!(open.fate, Fate::Waits(_)));
            let Some(Open { fate, .. }) = oldest else { return };
            let Fate::Waits(waiting) = std::mem::replace(fate, Fate::LeftOut) else { return };
            let exchange = waiting.first().map(|first| first.origin.exchange.get());
            if self.settle(waiting, true, out)
                && let Some(open) = exchange.and_then(|exchange| self.open.get_mut(&exchange))
            {
                open.fate = Fate::Recorded;
            }
        }
    }

    fn give_out(&mut self, open: Open, out: &mut Vec<Captured>) {
        if let Fate::Waits(waiting) = open.fate {
            self.settle(waiting, true, out);
        }
    }
}

fn is_handshake(captured: &Captured) -> bool {
    captured.message.method().is_some_and(|method| HANDSHAKE.contains(&method))
}

//! The members of an object or the elements of an array as places, and what is cut or put between them.

use super::{DEPTH_MAX, Scanner, Span, Splice};
use crate::json::Fault;

/// A member, or an element, which has no key.
pub(super) struct Item {
    pub(super) key: Span,
    pub(super) value: Span,
}

impl Item {
    fn start(&self) -> usize {
        if self.key.is_absent() { self.value.start() } else { self.key.start() }
    }
}

/// All of them, in order.
pub(super) struct Items {
    pub(super) list: Vec<Item>,
    /// Behind the opening bracket.
    begin: usize,
}

impl Items {
    pub(super) fn of_object(place: Span, text: &str) -> Result<Self, Fault> {
        let (mut scanner, offset) = (Scanner::new(place.of(text), DEPTH_MAX), place.start());
        let mut list = Vec::new();
        scanner.object(|scanner| {
            let key = scanner.key()?;
            let value = scanner.value()?;
            list.push(Item { key: key.moved_by(offset), value: value.moved_by(offset) });
            Ok(())
        })?;
        Ok(Self { list, begin: offset + 1 })
    }

    pub(super) fn of_array(place: Span, text: &str) -> Result<Self, Fault> {
        let (mut scanner, offset) = (Scanner::new(place.of(text), DEPTH_MAX), place.start());
        let mut list: Vec<Item> = Vec::new();
        scanner.enter(b'[')?;
        while scanner.next_element(list.is_empty())? {
            list.push(Item { key: Span::ABSENT, value: scanner.value()?.moved_by(offset) });
        }
        Ok(Self { list, begin: offset + 1 })
    }

    /// Takes these out, each with one comma.
    pub(super) fn cut(&self, taken_out: &[bool]) -> Vec<Splice> {
        let mut cuts = Vec::new();
        let mut is_first = true;
        for (number, (item, taken_out)) in self.list.iter().zip(taken_out).enumerate() {
            if !taken_out {
                is_first = false;
                continue;
            }
            let end_before = number.checked_sub(1).and_then(|before| self.list.get(before));
            let place = match (is_first, end_before, self.list.get(number + 1)) {
                (false, Some(before), _) => Span::new(before.value.end(), item.value.end()),
                (_, _, Some(behind)) => Span::new(item.start(), behind.start()),
                _ => Span::new(item.start(), item.value.end()),
            };
            cuts.push(Splice { place, text: String::new() });
        }
        cuts
    }

    /// Puts these behind the last that stays.
    pub(super) fn add(&self, taken_out: &[bool], added: &[String]) -> Option<Splice> {
        if added.is_empty() {
            return None;
        }
        let staying = self.list.iter().zip(taken_out).filter(|(_, taken_out)| !**taken_out);
        let (at, comma) = match staying.into_iter().next_back() {
            Some((item, _)) => (item.value.end(), ","),
            None => (self.begin, ""),
        };
        Some(Splice { place: Span::new(at, at), text: format!("{comma}{}", added.join(",")) })
    }
}

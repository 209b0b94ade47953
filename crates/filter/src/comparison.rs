//! What stands behind an operator that measures: `>100ms`.

use std::fmt;

use crate::subject::Quantity;
use crate::units;

/// A bound, and the side of it that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    side: Side,
    bound: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Below,
    AtMost,
    AtLeast,
    Above,
}

/// The longer ones first: each is looked for at the beginning.
const SIDES: [(&str, Side); 4] =
    [("<=", Side::AtMost), (">=", Side::AtLeast), ("<", Side::Below), (">", Side::Above)];

impl Comparison {
    pub(crate) fn holds(self, amount: u64) -> bool {
        match self.side {
            Side::Below => amount < self.bound,
            Side::AtMost => amount <= self.bound,
            Side::AtLeast => amount >= self.bound,
            Side::Above => amount > self.bound,
        }
    }

    /// The sign at the beginning of the text, and what is behind it.
    pub(crate) fn split(text: &str) -> Option<(&str, &str)> {
        SIDES
            .iter()
            .find_map(|(sign, _)| text.split_at_checked(sign.len()).filter(|(begin, _)| begin == sign))
    }

    /// A sign with an amount of this quantity.
    pub(crate) fn new(sign: &str, amount: &str, quantity: Quantity) -> Option<Self> {
        let (_, side) = SIDES.iter().find(|(known, _)| *known == sign)?;
        let bound = match quantity {
            Quantity::Took => units::duration(amount),
            Quantity::Size => units::size(amount),
            Quantity::Time => units::time(amount),
        };
        Some(Self { side: *side, bound: bound? })
    }

    pub(crate) fn print(self, quantity: Quantity, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = SIDES.iter().find(|(_, side)| *side == self.side).map_or("", |(sign, _)| sign);
        f.write_str(sign)?;
        match quantity {
            Quantity::Took => f.write_str(&units::print_duration(self.bound)),
            Quantity::Size => f.write_str(&units::print_size(self.bound)),
            Quantity::Time => f.write_str(&units::print_time(self.bound).unwrap_or_default()),
        }
    }
}

//! Where one is in a list, and what of it is on the screen.

use std::ops::Range;

/// How one moves in a list or a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
}

impl Step {
    /// From a place among so many, with so many on a page.
    pub(crate) fn from(self, at: usize, len: usize, page: usize) -> usize {
        let last = len.saturating_sub(1);
        let page = page.saturating_sub(1).max(1);
        let to = match self {
            Self::Up => at.saturating_sub(1),
            Self::Down => at + 1,
            Self::PageUp => at.saturating_sub(page),
            Self::PageDown => at + page,
            Self::First => 0,
            Self::Last => last,
        };
        to.min(last)
    }
}

/// The selected line of a list and the first one on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) at: usize,
    top: usize,
}

impl Cursor {
    pub(crate) fn go(&mut self, step: Step, len: usize, height: usize) {
        self.at = step.from(self.at, len, height);
        self.keep_in_sight(len, height);
    }

    pub(crate) fn set(&mut self, at: usize, len: usize, height: usize) {
        self.at = at.min(len.saturating_sub(1));
        self.keep_in_sight(len, height);
    }

    /// The list has lost so many at its beginning.
    pub(crate) fn shift(&mut self, count: usize) {
        self.at = self.at.saturating_sub(count);
        self.top = self.top.saturating_sub(count);
    }

    /// What is on the screen of a list.
    pub(crate) fn window(&self, len: usize, height: usize) -> Range<usize> {
        self.top.min(len)..(self.top + height).min(len)
    }

    /// Moves as little as brings the selected line onto the screen; no room is left below the last one.
    pub(crate) fn keep_in_sight(&mut self, len: usize, height: usize) {
        let lowest = self.at.min(len.saturating_sub(height));
        let highest = (self.at + 1).saturating_sub(height);
        self.top = self.top.clamp(highest.min(lowest), lowest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_line_is_always_on_the_screen() {
        let mut cursor = Cursor::default();
        for (step, at, window) in [
            (Step::Down, 1, 0..4),
            (Step::Last, 9, 6..10),
            (Step::Up, 8, 6..10),
            (Step::PageUp, 5, 5..9),
            (Step::First, 0, 0..4),
            (Step::PageDown, 3, 0..4),
            (Step::Down, 4, 1..5),
        ] {
            cursor.go(step, 10, 4);
            assert_eq!((cursor.at, cursor.window(10, 4)), (at, window), "{step:?}");
        }
    }

    #[test]
    fn a_list_that_loses_its_beginning_stays_where_it_was() {
        let mut cursor = Cursor::default();
        cursor.set(8, 10, 4);
        cursor.shift(3);
        assert_eq!((cursor.at, cursor.window(7, 4)), (5, 2..6));
        cursor.shift(9);
        assert_eq!((cursor.at, cursor.window(0, 4)), (0, 0..0));
    }

    #[test]
    fn a_screen_that_grows_is_filled() {
        let mut cursor = Cursor::default();
        cursor.set(9, 10, 2);
        cursor.keep_in_sight(10, 6);
        assert_eq!(cursor.window(10, 6), 4..10);
        cursor.keep_in_sight(10, 0);
        assert_eq!(cursor.window(10, 0).len(), 0);
    }
}

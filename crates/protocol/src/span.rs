//! Places in a message's text, and how they move when the text is edited.

use bytestring::ByteString;

/// A place in a text. A JSON value has at least one byte, so that the empty span can mean "not there".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) const ABSENT: Self = Self { start: 0, end: 0 };

    /// Texts are shorter than 4 GiB: parsing refuses longer ones.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let narrow = |offset| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { start: narrow(start), end: narrow(end) }
    }

    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) fn end(self) -> usize {
        self.end as usize
    }

    pub(crate) fn is_absent(self) -> bool {
        self.end == 0
    }

    /// The text at this place; empty when there is none.
    pub(crate) fn of(self, text: &str) -> &str {
        text.get(self.start()..self.end()).unwrap_or_default()
    }

    /// The bytes at this place without so many at either end. Places of other texts give nothing.
    #[inline]
    pub(crate) fn within(self, before: usize, behind: usize, text: &str) -> &[u8] {
        let (start, end) = (self.start() + before, self.end().saturating_sub(behind));
        text.as_bytes().get(start..end).unwrap_or_default()
    }

    /// The text at this place, if there is any.
    pub(crate) fn found_in(self, text: &str) -> Option<&str> {
        text.get(self.start()..self.end()).filter(|found| !found.is_empty())
    }

    /// The same place counted from the start of a text that this one is a part of, from `offset` on.
    pub(crate) fn moved_by(self, offset: usize) -> Self {
        if self.is_absent() { self } else { Self::new(self.start() + offset, self.end() + offset) }
    }

    /// Where this place is after `edit`: nowhere, if it was inside what the edit replaces. Edits never cut a place in
    /// two, because they replace whole values.
    pub(crate) fn after(self, edit: &Edit<'_>) -> Self {
        let (place, len) = (edit.place, edit.text.len());
        if self.is_absent() || self.end <= place.start {
            self
        } else if self == place {
            Self::new(self.start(), self.start() + len)
        } else if self.start >= place.start && self.end <= place.end {
            Self::ABSENT
        } else {
            let moved = |offset: usize| offset + len - place.len();
            let start = if self.start >= place.end { moved(self.start()) } else { self.start() };
            Self::new(start, moved(self.end()))
        }
    }

    pub(crate) fn len(self) -> usize {
        self.end() - self.start()
    }
}

/// Text to put in a place; an insertion when the place is empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edit<'a> {
    pub(crate) place: Span,
    pub(crate) text: &'a str,
}

impl Edit<'_> {
    /// The edited copy of a text.
    pub(crate) fn apply(&self, text: &str) -> ByteString {
        apply(&[*self], text)
    }
}

/// The copy of a text with these edits, the one in front first.
#[inline]
pub(crate) fn apply<const COUNT: usize>(edits: &[Edit<'_>; COUNT], text: &str) -> ByteString {
    let added: usize = edits.iter().map(|edit| edit.text.len()).sum();
    let removed: usize = edits.iter().map(|edit| edit.place.len()).sum();
    let mut edited = String::with_capacity((text.len() + added).saturating_sub(removed));
    let mut copied = 0;
    for edit in edits {
        edited.push_str(text.get(copied..edit.place.start()).unwrap_or_default());
        edited.push_str(edit.text);
        copied = edit.place.end();
    }
    edited.push_str(text.get(copied..).unwrap_or_default());
    edited.into()
}

//! A list that comes in pages: which page is asked for next. Whoever walks through one sends and reads it himself.

use crate::json;

/// A walk through the pages of one list, up to a bound.
#[derive(Debug)]
pub struct Pages {
    left: usize,
    next: Next,
}

#[derive(Debug)]
enum Next {
    Page(Option<String>),
    /// It is being asked for, or named by what is no cursor.
    Unknown,
    None,
}

impl Pages {
    /// As many pages at most.
    pub fn up_to(max: usize) -> Self {
        Self { left: max, next: Next::Page(None) }
    }

    /// The cursor of the page that is to be asked for, as raw JSON, and none for the first; nothing when the list is whole, when
    /// there are too many pages, when the last one was not read, or when it named the next by what is no cursor.
    pub fn ask(&mut self) -> Option<Option<String>> {
        let Next::Page(cursor) = &mut self.next else { return None };
        self.left = self.left.checked_sub(1)?;
        let cursor = cursor.take();
        self.next = Next::Unknown;
        Some(cursor)
    }

    /// Reads in a result which page comes next. None does if there is no cursor; servers write `null`, too.
    pub fn read(&mut self, result: &str) {
        self.next = match json::get(result, &["nextCursor"]) {
            None | Some("null") => Next::None,
            Some(cursor) if cursor.starts_with('"') => Next::Page(Some(cursor.to_owned())),
            Some(_) => Next::Unknown,
        };
    }

    /// Whether all of it was read.
    pub fn is_whole(&self) -> bool {
        matches!(self.next, Next::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cursors that are asked with before a server that gives these results.
    fn walk(max: usize, results: &[&str]) -> (Vec<String>, bool) {
        let (mut pages, mut asked) = (Pages::up_to(max), Vec::new());
        let mut results = results.iter();
        while let Some(cursor) = pages.ask() {
            asked.push(cursor.unwrap_or_default());
            if let Some(result) = results.next() {
                pages.read(result);
            }
        }
        (asked, pages.is_whole())
    }

    #[test]
    fn pages_are_asked_for_until_one_names_no_other() {
        let next = r#"{"tools":[],"nextCursor":"\u0061\/"}"#;
        let first = String::new();
        let second = r#""\u0061\/""#.to_owned();
        assert_eq!(walk(9, &[next, "{}"]), (vec![first.clone(), second.clone()], true));
        for (last, is_whole) in [
            ("{}", true),
            (r#"{"nextCursor":null}"#, true),
            (r#"{"nextCursor": null }"#, true),
            (r#"{"nextCursor":7}"#, false),
            (r#"{"nextCursor":{}}"#, false),
        ] {
            assert_eq!(walk(9, &[last]), (vec![first.clone()], is_whole), "{last}");
        }
        assert_eq!(walk(2, &[next, next, next]), (vec![first.clone(), second.clone()], false), "a bound");
        assert_eq!(walk(9, &[next]), (vec![first, second], false), "one that is not read");
    }
}

//! Ids and times within strings, known by their shape: what a server makes anew in every run.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What is known by its shape. The names of the groups are what stands in place of such a piece.
static SHAPES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let uuid = "(?P<uuid>[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})";
    let ulid = "(?P<ulid>[0-7][0-9A-HJKMNP-TV-Z]{25})";
    let date = "[0-9]{4}-[0-9]{2}-[0-9]{2}";
    let clock = "[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?(?: ?[AP]M)?";
    let zone = "(?:Z|[+-][0-9]{2}:?[0-9]{2})?";
    let times = format!("(?P<time>{date}(?:[T ]{clock}{zone})?|{clock})");
    // Not within a longer word: the beginning of a long digit string is no id.
    Regex::new(&format!(r"(?-u:\b)(?:{uuid}|{ulid}|{times})(?-u:\b)")).ok()
});
/// Milliseconds since 1970 of the years 2017 to 2039, as which no other number is likely.
const EPOCH_MS: std::ops::Range<u64> = 1_500_000_000_000..2_200_000_000_000;

/// The text with a mark in place of each id and time.
pub fn blanked(text: &str) -> Cow<'_, str> {
    let Some(shapes) = SHAPES.as_ref() else { return Cow::Borrowed(text) };
    shapes.replace_all(text, |found: &Captures<'_>| {
        let name = ["uuid", "ulid", "time"].into_iter().find(|name| found.name(name).is_some());
        format!("<{}>", name.unwrap_or("id"))
    })
}

/// The ids within a text, in order; times are no ids.
pub fn ids(text: &str) -> impl Iterator<Item = &str> {
    let found = SHAPES.as_ref().map(|shapes| shapes.captures_iter(text));
    found.into_iter().flatten().filter_map(|found| Some(found.name("uuid").or(found.name("ulid"))?.as_str()))
}

/// The text with its ids put through `change`, which gives none for those that stay.
pub fn with_ids(text: &str, change: impl Fn(&str) -> Option<String>) -> Cow<'_, str> {
    let Some(shapes) = SHAPES.as_ref() else { return Cow::Borrowed(text) };
    shapes.replace_all(text, |found: &Captures<'_>| {
        let whole = found.get(0).map_or("", |piece| piece.as_str());
        change(whole).unwrap_or_else(|| whole.to_owned())
    })
}

/// Whether a number is a time.
pub fn is_time(number: u64) -> bool {
    EPOCH_MS.contains(&number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_times_are_known_by_their_shape() {
        let text = "at 2026-11-21T11:18:20.687+00:00 run 0f0e0d0c-1111-4222-8333-444455556666 ok";
        assert_eq!(blanked(text), "at <time> run <uuid> ok");
        assert_eq!(blanked("11:03:22 AM on 2026-11-21"), "<time> on <time>");
        assert_eq!(blanked("01ARZ3NDEKTSV4RRFFQ69G5FAV"), "<ulid>");
        assert_eq!(blanked("2026-11-21T11:18:20Z"), "<time>");
    }

    #[test]
    fn what_only_resembles_them_stays() {
        for text in ["1:2", "1.2.3", "a-b-c", "12345678", "deadbeefdeadbeef", "12:30"] {
            assert_eq!(blanked(text), text);
        }
    }

    #[test]
    fn the_ids_of_a_text_are_found_and_changed() {
        let text = "demo://a/0f0e0d0c-1111-4222-8333-444455556666?at=2026-11-21";
        assert_eq!(ids(text).collect::<Vec<_>>(), ["0f0e0d0c-1111-4222-8333-444455556666"]);
        let changed = with_ids(text, |id| id.starts_with("0f").then(|| "new".to_owned()));
        assert_eq!(changed, "demo://a/new?at=2026-11-21");
    }
}

//! Which key stands on which line, for messages about a file.
//!
//! A reader of indentation, not of YAML: good for the block style that people write. Where it does not see a key
//! (flow style, anchors) a message names the line of what is around it, or the path alone.

/// The keys and list items of a file in order.
#[derive(Debug, Default)]
pub(super) struct Outline(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    line: u64,
    indent: usize,
    /// Such as `rules[3].when.tool`.
    path: String,
    /// Of a list item: its number.
    item: Option<usize>,
}

impl Outline {
    pub(super) fn of(text: &str) -> Self {
        let mut reading = Reading::default();
        for (line, content) in (1..).zip(text.lines()) {
            reading.line(line, content);
        }
        Self(reading.entries)
    }

    /// The line of a key; of what is around it, where it is not seen itself.
    pub(super) fn line_of(&self, path: &str) -> Option<u64> {
        let mut path = path;
        loop {
            if let Some(entry) = self.0.iter().find(|entry| entry.path == path) {
                return Some(entry.line);
            }
            path = path.get(..path.rfind(['.', '['])?)?;
        }
    }

    /// The key that owns a place: the one on its line, else the last before it that is less indented.
    pub(super) fn path_at(&self, line: u64, column: u64) -> Option<&str> {
        let before = self.0.iter().rev().filter(|entry| entry.line <= line);
        let indent = |entry: &&Entry| entry.line == line || (entry.indent as u64) + 1 < column;
        before.into_iter().find(indent).map(|entry| entry.path.as_str())
    }
}

#[derive(Debug, Default)]
struct Reading {
    entries: Vec<Entry>,
    /// The keys and items that the next line may be within, outermost first.
    open: Vec<Entry>,
}

impl Reading {
    fn line(&mut self, line: u64, text: &str) {
        let mut content = text.trim_start();
        let mut indent = text.len() - content.len();
        while let Some(rest) = content.strip_prefix("- ").or_else(|| (content == "-").then_some("")) {
            self.item(line, indent);
            let inner = rest.trim_start();
            indent += content.len() - inner.len();
            content = inner;
        }
        if let Some(key) = key_of(content) {
            self.close(|open| open.indent >= indent);
            let path = match self.open.last() {
                Some(parent) => format!("{}.{key}", parent.path),
                None => key.to_owned(),
            };
            self.push(Entry { line, indent, path, item: None });
        }
    }

    /// An item may be no more indented than the key of its list.
    fn item(&mut self, line: u64, indent: usize) {
        let before =
            self.close(|open| open.indent > indent || (open.indent == indent && open.item.is_some()));
        let number = before.filter(|before| before.indent == indent).and_then(|before| before.item);
        let number = number.map_or(0, |number| number + 1);
        let list = self.open.last().map_or("", |list| &list.path);
        self.push(Entry { line, indent, path: format!("{list}[{number}]"), item: Some(number) });
    }

    fn push(&mut self, entry: Entry) {
        self.entries.push(entry.clone());
        self.open.push(entry);
    }

    /// Leaves what is over; the last that was left.
    fn close(&mut self, is_over: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let mut last = None;
        while let Some(closed) = self.open.pop_if(|open| is_over(open)) {
            last = Some(closed);
        }
        last
    }
}

/// The key of a line `key: …`.
fn key_of(content: &str) -> Option<&str> {
    if let Some(quote) = content.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let (key, rest) = content.get(1..)?.split_once(quote)?;
        return ends_key(rest.strip_prefix(':')?).then_some(key);
    }
    let at = content.match_indices(':').find(|(at, _)| content.get(at + 1..).is_some_and(ends_key))?.0;
    let key = content.get(..at)?;
    let is_plain =
        !key.is_empty() && !key.starts_with(['#', '{', '[', '&', '*', '!', '|', '>', '%', '@', '`']);
    is_plain.then_some(key)
}

fn ends_key(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "listen: 127.0.0.1:1\nupstream:\n  # the server\n  headers:\n    X-Key: a\n  command:\n    - x\n";

    #[test]
    fn keys_are_found_by_path_and_by_place() {
        let outline = Outline::of(TEXT);
        assert_eq!(outline.line_of("upstream.headers.X-Key"), Some(5));
        assert_eq!(outline.path_at(5, 12), Some("upstream.headers.X-Key"));
        assert_eq!(outline.path_at(7, 7), Some("upstream.command[0]"));
    }

    #[test]
    fn what_is_not_seen_has_the_line_of_what_is_around_it() {
        let outline = Outline::of(TEXT);
        assert_eq!(outline.line_of("upstream.url"), Some(2));
        assert_eq!(outline.line_of("nothing"), None);
    }

    #[test]
    fn items_of_lists_are_counted() {
        let text = "rules:\n- name: a\n  when:\n    params:\n      $.a.b[0]: 1\n      '$.c d': {x: 1}\n\n- name: b\n  do:\n    - set: {x: 1}\n    - \n      log: x\n-   name: c\nlog:\n  level: info\n";
        let outline = Outline::of(text);
        for (path, line) in [
            ("rules[0]", 2),
            ("rules[0].name", 2),
            ("rules[0].when.params.$.a.b[0]", 5),
            ("rules[0].when.params.$.c d.x", 6),
            ("rules[1].do[0].set.x", 10),
            ("rules[1].do[1].log", 12),
            ("rules[2].name", 13),
            ("log.level", 15),
        ] {
            assert_eq!(outline.line_of(path), Some(line), "{path}");
        }
        let indented = Outline::of("rules:\n  - name: a\n    stop: true\n  - name: b\n");
        assert_eq!(indented.line_of("rules[1].name"), Some(4));
        assert_eq!(indented.line_of("rules[0].stop"), Some(3));
        let nested = Outline::of("a:\n  - - x\n    - y: 1\n  - z: 2\n");
        assert_eq!((nested.line_of("a[0][1].y"), nested.line_of("a[1].z")), (Some(3), Some(4)));
    }
}

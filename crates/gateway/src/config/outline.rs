//! Which key stands on which line, for messages about a file.
//!
//! A reader of indentation, not of YAML: good for the block style that people write. Where it does not see a key
//! (flow style, anchors) a message names the line or the path alone.

/// The keys of a file in order.
#[derive(Debug, Default)]
pub(super) struct Outline(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    line: u64,
    indent: usize,
    path: String,
}

impl Outline {
    pub(super) fn of(text: &str) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            let Some((indent, key)) = key_of(content) else { continue };
            let parent = entries.iter().rev().find(|entry| entry.indent < indent);
            let path = parent.map_or_else(|| key.to_owned(), |parent| format!("{}.{key}", parent.path));
            entries.push(Entry { line, indent, path });
        }
        Self(entries)
    }

    pub(super) fn line_of(&self, path: &str) -> Option<u64> {
        self.0.iter().find(|entry| entry.path == path).map(|entry| entry.line)
    }

    /// The key that owns a place: the one on its line, else the last before it that is less indented.
    pub(super) fn path_at(&self, line: u64, column: u64) -> Option<&str> {
        let before = self.0.iter().rev().filter(|entry| entry.line <= line);
        let indent = |entry: &&Entry| entry.line == line || (entry.indent as u64) + 1 < column;
        before.into_iter().find(indent).map(|entry| entry.path.as_str())
    }
}

/// The indentation and the key of a line `  key: …`.
fn key_of(line: &str) -> Option<(usize, &str)> {
    let content = line.trim_start();
    let (key, rest) = content.split_once(':')?;
    let key = key.trim_matches(['"', '\'']);
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
    let is_key = plain && !content.starts_with("- ") && (rest.is_empty() || rest.starts_with(' '));
    is_key.then_some((line.len() - content.len(), key))
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
        assert_eq!(outline.line_of("upstream.url"), None);
        assert_eq!(outline.path_at(5, 12), Some("upstream.headers.X-Key"));
        assert_eq!(outline.path_at(7, 7), Some("upstream.command"));
    }
}

//! A line that is being typed.

/// A key in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Insert(char),
    Backspace,
    Delete,
    /// Removes the word before the cursor.
    Word,
    /// Removes all before the cursor.
    Begin,
    Left,
    Right,
    Home,
    End,
}

/// Longer lines take no more characters. One that is longer from the start, as a filter of the command line may be, keeps them.
const CHARS_MAX: usize = 4_096;

/// The text and the place of the cursor in it, in characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    chars: Vec<char>,
    at: usize,
}

impl Line {
    pub(crate) fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        Self { at: chars.len(), chars }
    }

    pub(crate) fn text(&self) -> String {
        self.chars.iter().collect()
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn go_to(&mut self, at: usize) {
        self.at = at.min(self.chars.len());
    }

    pub(crate) fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Insert(char) if self.chars.len() < CHARS_MAX => {
                self.chars.insert(self.at, char);
                self.at += 1;
            }
            Edit::Backspace => self.remove_from(self.at.saturating_sub(1)),
            Edit::Delete if self.at < self.chars.len() => {
                self.chars.remove(self.at);
            }
            Edit::Insert(_) | Edit::Delete => {}
            Edit::Word => self.remove_from(self.word()),
            Edit::Begin => self.remove_from(0),
            Edit::Left => self.at = self.at.saturating_sub(1),
            Edit::Right => self.go_to(self.at + 1),
            Edit::Home => self.at = 0,
            Edit::End => self.at = self.chars.len(),
        }
    }

    /// Puts a text there, its ends of lines as blanks and without those behind it; says whether there was room for all of it.
    pub(crate) fn paste(&mut self, text: &str) -> bool {
        let one_line = text.trim_end().replace("\r\n", "\n");
        let blank = |c: char| if c.is_control() { ' ' } else { c };
        let pasted: Vec<char> =
            one_line.chars().map(blank).take(CHARS_MAX.saturating_sub(self.chars.len())).collect();
        let (count, wanted) = (pasted.len(), one_line.chars().count());
        self.chars.splice(self.at..self.at, pasted);
        self.at += count;
        count == wanted
    }

    fn remove_from(&mut self, begin: usize) {
        self.chars.drain(begin..self.at);
        self.at = begin;
    }

    /// Where the word before the cursor begins.
    fn word(&self) -> usize {
        let before = self.chars.get(..self.at).unwrap_or_default();
        let end = before.iter().rposition(|c| !c.is_whitespace()).map_or(0, |last| last + 1);
        let word = before.get(..end).unwrap_or_default();
        word.iter().rposition(|c| c.is_whitespace()).map_or(0, |blank| blank + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, edits: &[Edit], expected: &str) {
        let mut line = Line::new(text);
        for edit in edits {
            line.edit(*edit);
        }
        let mut shown: Vec<char> = line.text().chars().collect();
        shown.insert(line.at(), '|');
        assert_eq!(shown.into_iter().collect::<String>(), expected);
    }

    #[test]
    fn a_line_is_edited_where_its_cursor_is() {
        check("", &[Edit::Insert('é'), Edit::Insert('x'), Edit::Left, Edit::Backspace], "|x");
        check("~m tools/call ", &[Edit::Word], "~m |");
        check("~m ping", &[Edit::Home, Edit::Delete, Edit::Insert('!'), Edit::Right], "!m| ping");
        check("~m ping", &[Edit::Left, Edit::Begin, Edit::End], "g|");
        check("", &[Edit::Backspace, Edit::Delete, Edit::Word, Edit::Begin, Edit::Left, Edit::Right], "|");
    }

    #[test]
    fn a_text_is_pasted_where_the_cursor_is() {
        let mut line = Line::new("~m  & ~e");
        line.go_to(3);
        assert!(line.paste("tools/call\r\n|\tx\n\n"));
        assert_eq!((line.text().as_str(), line.at()), ("~m tools/call | x & ~e", 17));
        assert!(line.paste("") && line.paste("\n") && !line.paste(&"é".repeat(CHARS_MAX)));
        assert_eq!(line.text().chars().count(), CHARS_MAX);
    }

    #[test]
    fn a_line_is_bounded() {
        let mut line = Line::new(&"x".repeat(CHARS_MAX));
        line.edit(Edit::Insert('y'));
        assert_eq!(line.text().len(), CHARS_MAX);
        let mut longer = Line::new(&"x".repeat(CHARS_MAX + 1));
        longer.edit(Edit::Insert('y'));
        assert!(!longer.paste("y"));
        assert_eq!(longer.text().len(), CHARS_MAX + 1);
    }
}

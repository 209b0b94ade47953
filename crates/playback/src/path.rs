//! Where a value stands within a message, written as a JSONPath (RFC 9535).

use std::fmt::{self, Write as _};

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// To the member of this name.
    Member(String),
    /// To the element of this number.
    Element(usize),
    /// To the element whose member has this text: `tools[?@.name=='echo']`.
    Named(&'static str, String),
    /// Into the JSON that a text is.
    Parsed,
}

/// The steps from the message to a value in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<Segment>);

impl Path {
    /// The message itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// The steps, outermost first.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// One step further in.
    pub(crate) fn push(&mut self, segment: Segment) {
        self.0.push(segment);
    }

    /// One step back out.
    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }

    /// Does this one step further in.
    pub fn within<T>(&mut self, segment: Segment, work: impl FnOnce(&mut Self) -> T) -> T {
        self.0.push(segment);
        let done = work(self);
        self.0.pop();
        done
    }

    /// Whether these are its steps; `*` stands for any one step.
    pub fn is(&self, pattern: &[&str]) -> bool {
        let fits = |(segment, word): (&Segment, &&str)| match segment {
            _ if *word == "*" => true,
            Segment::Member(name) => name == word,
            Segment::Element(_) | Segment::Named(..) | Segment::Parsed => false,
        };
        self.0.len() == pattern.len() && self.0.iter().zip(pattern).all(fits)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.0.iter().try_for_each(|segment| segment.fmt(f))
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(name) if is_plain(name) => write!(f, ".{name}"),
            Self::Member(name) => write!(f, "[{}]", quoted(name)),
            Self::Element(number) => write!(f, "[{number}]"),
            Self::Parsed => f.write_str(" as JSON $"),
            Self::Named(member, text) => write!(f, "[?@.{member}=={}]", quoted(text)),
        }
    }
}

/// Whether a name can stand behind a dot.
fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("'");
    for c in text.chars() {
        match c {
            '\'' => quoted.push_str("\\'"),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => write!(quoted, "\\u{:04x}", u32::from(c)).unwrap_or_default(),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(segments: Vec<Segment>) -> Path {
        Path(segments)
    }

    #[test]
    fn a_path_is_written_as_json_path() {
        let member = |name: &str| Segment::Member(name.to_owned());
        assert_eq!(Path::root().to_string(), "$");
        let tools = path(vec![member("result"), member("tools"), Segment::Named("name", "it's".to_owned())]);
        assert_eq!(tools.to_string(), r"$.result.tools[?@.name=='it\'s']");
        let meta = path(vec![member("_meta"), member("io.x/y"), Segment::Element(3)]);
        assert_eq!(meta.to_string(), "$._meta['io.x/y'][3]");
    }

    #[test]
    fn a_star_is_any_one_step() {
        let task = path(vec![
            Segment::Member("result".to_owned()),
            Segment::Member("tasks".to_owned()),
            Segment::Element(0),
            Segment::Member("taskId".to_owned()),
        ]);
        assert!(task.is(&["result", "tasks", "*", "taskId"]));
        assert!(!task.is(&["result", "*", "taskId"]));
    }
}

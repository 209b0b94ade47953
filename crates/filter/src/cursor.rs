//! A place in the text of an expression, and the pieces that are read from there.

use crate::ParseError;
use crate::pattern::ends_word;

/// The text that is not read yet.
pub(crate) struct Cursor<'a> {
    rest: &'a str,
    /// Characters read.
    passed: usize,
}

/// An argument as it is written.
pub(crate) enum Written {
    Word(String),
    Quoted(String),
    Regex { source: String, flags: String },
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text, passed: 0 }
    }

    /// The column of the next character.
    pub(crate) fn column(&self) -> usize {
        self.passed + 1
    }

    pub(crate) fn error<T>(&self, sentence: impl Into<String>) -> Result<T, ParseError> {
        fault(self.column(), sentence)
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(crate) fn skip_blanks(&mut self) {
        self.take_while(char::is_whitespace);
    }

    /// Passes this character if it is the next.
    pub(crate) fn passes(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.next();
        }
        found
    }

    pub(crate) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
        self.passed += 1;
        Some(c)
    }

    pub(crate) fn take_while(&mut self, goes_on: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !goes_on(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.passed += taken.chars().count();
        taken
    }

    pub(crate) fn word(&mut self) -> &'a str {
        self.take_while(|c| !ends_word(c))
    }

    /// What is next, for an error.
    pub(crate) fn found(&self) -> String {
        let mut look = Self { rest: self.rest, passed: 0 };
        match look.peek() {
            None => "the end".to_owned(),
            Some(c) if ends_word(c) => format!("`{c}`"),
            Some(_) => format!("`{}`", look.word().chars().take(FOUND_CHARS_MAX).collect::<String>()),
        }
    }

    /// An argument; none if there is none.
    pub(crate) fn argument(&mut self) -> Result<Option<Written>, ParseError> {
        Ok(match self.peek() {
            None | Some('~' | '!') => None,
            Some(quote @ ('"' | '\'')) => Some(Written::Quoted(self.quoted(quote)?)),
            Some('/') => Some(self.regex()?),
            Some(c) if ends_word(c) => None,
            Some(_) => Some(Written::Word(self.word().to_owned())),
        })
    }

    /// A text in quotes; a backslash makes the quote or the backslash behind it a part of the text.
    fn quoted(&mut self, quote: char) -> Result<String, ParseError> {
        let begin = self.column();
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                None => {
                    return fault(begin, format!("this text does not end: its closing {quote} is missing"));
                }
                Some(c) if c == quote => break,
                Some('\\') => match self.peek() {
                    Some(c) if c == quote || c == '\\' => text.extend(self.next()),
                    _ => text.push('\\'),
                },
                Some(c) => text.push(c),
            }
        }
        self.ends_here().map(|()| text)
    }

    fn regex(&mut self) -> Result<Written, ParseError> {
        const OPEN: &str = "this regular expression does not end: its closing `/` is missing; a text that begins with \
                            `/` is put in quotes";
        let begin = self.column();
        self.next();
        let mut source = String::new();
        loop {
            match self.next() {
                None => return fault(begin, OPEN),
                Some('/') => break,
                Some('\\') => match self.next() {
                    Some('/') => source.push('/'),
                    other => source.extend(std::iter::once('\\').chain(other)),
                },
                Some(c) => source.push(c),
            }
        }
        let flags = self.word().to_owned();
        Ok(Written::Regex { source, flags })
    }

    /// Nothing may stick to a closing quote.
    fn ends_here(&self) -> Result<(), ParseError> {
        match self.peek() {
            Some(c) if !ends_word(c) => {
                self.error(format!("expected a blank behind the text, found {}", self.found()))
            }
            _ => Ok(()),
        }
    }
}

/// Longer words are cut in errors.
const FOUND_CHARS_MAX: usize = 40;

pub(crate) fn fault<T>(column: usize, sentence: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError { column, sentence: sentence.into() })
}

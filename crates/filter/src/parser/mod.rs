//! From the text of an expression to its tree, by recursive descent.
//!
//! ```text
//! any  = all ("|" all)*
//! all  = not ("&" not)*
//! not  = "!" not | "(" any ")" | term
//! term = "~" name argument?
//! ```

use crate::ParseError;
use crate::comparison::Comparison;
use crate::cursor::{Cursor, Written, fault};
use crate::expression::{Expression, Term, Test};
use crate::operators::{self, OPERATORS, Operator, Takes};
use crate::pattern::Pattern;
use crate::subject::{Field, Flag, Quantity};

/// Longer expressions are refused.
const TEXT_BYTES_MAX: usize = 8 * 1024;
/// Parentheses and `!` within each other.
const DEPTH_MAX: usize = 32;
/// Regular expressions, and words with wildcards, of one filter.
const COMPILED_MAX: usize = 32;

pub(crate) fn parse(text: &str) -> Result<Expression, ParseError> {
    if text.len() > TEXT_BYTES_MAX {
        return fault(1, format!("the filter has more than {TEXT_BYTES_MAX} bytes"));
    }
    let mut parser = Parser { cursor: Cursor::new(text), depth: 0, compiled: 0 };
    let expression = parser.any()?;
    match parser.cursor.peek() {
        None => Ok(expression),
        Some(')') => parser.cursor.error("this `)` has no `(`"),
        Some(_) => {
            let found = parser.cursor.found();
            let sign = match found.as_str() {
                "`and`" | "`AND`" => "; and is written `&`",
                "`or`" | "`OR`" => "; or is written `|`",
                _ => "",
            };
            parser.cursor.error(format!("expected `&`, `|` or the end, found {found}{sign}"))
        }
    }
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    depth: usize,
    compiled: usize,
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Expression, ParseError> {
        let mut parts = vec![self.all()?];
        while self.cursor.passes('|') {
            parts.push(self.all()?);
        }
        Ok(Expression::any(parts))
    }

    fn all(&mut self) -> Result<Expression, ParseError> {
        let mut parts = vec![self.not()?];
        while self.cursor.passes('&') {
            parts.push(self.not()?);
        }
        Ok(Expression::all(parts))
    }

    /// Leaves the cursor behind the blanks that follow.
    fn not(&mut self) -> Result<Expression, ParseError> {
        self.cursor.skip_blanks();
        let begin = self.cursor.column();
        let expression = match self.cursor.peek() {
            Some('!') => {
                self.cursor.next();
                Expression::Not(Box::new(self.deeper(begin, Self::not)?))
            }
            Some('(') => {
                self.cursor.next();
                let inside = self.deeper(begin, Self::any)?;
                if !self.cursor.passes(')') {
                    return self.unclosed(begin);
                }
                inside
            }
            Some('~') => Expression::Term(self.term()?),
            _ => return self.no_term(),
        };
        self.cursor.skip_blanks();
        Ok(expression)
    }

    fn deeper(
        &mut self,
        begin: usize,
        read: impl FnOnce(&mut Self) -> Result<Expression, ParseError>,
    ) -> Result<Expression, ParseError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return fault(begin, format!("more than {DEPTH_MAX} parentheses and `!` within each other"));
        }
        let expression = read(self)?;
        self.depth -= 1;
        Ok(expression)
    }

    fn unclosed<T>(&self, begin: usize) -> Result<T, ParseError> {
        match self.cursor.peek() {
            None => fault(begin, "this `(` has no `)`"),
            Some(_) => self.cursor.error(format!("expected `&`, `|` or `)`, found {}", self.cursor.found())),
        }
    }

    fn no_term<T>(&self) -> Result<T, ParseError> {
        let way_out = match (self.cursor.peek(), self.cursor.found()) {
            (None, _) => String::new(),
            (Some('&' | '|'), _) => ", found one sign too many".to_owned(),
            (Some(')'), found) => format!(", found {found}"),
            (Some(_), found) if found == "`not`" => ", found `not`; not is written `!`".to_owned(),
            (Some(_), found) => {
                let word = found.trim_matches('`');
                format!(", found {found}; to look for a text write `~b {word}`, for a name `~t {word}`")
            }
        };
        self.cursor.error(format!("expected an operator, such as `~m tools/call`, `!` or `(`{way_out}"))
    }

    fn term(&mut self) -> Result<Term, ParseError> {
        let begin = self.cursor.column();
        self.cursor.next();
        let name = self.cursor.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let Some(operator) = operators::find(name) else { return fault(begin, unknown(name)) };
        let behind_name = self.cursor.peek();
        if !matches!(operator.takes, Takes::Nothing(_)) {
            self.cursor.skip_blanks();
        }
        let test = match operator.takes {
            Takes::Nothing(flag) if behind_name.is_none_or(crate::pattern::ends_word) => Test::Is(flag),
            Takes::Nothing(_) => {
                return self.cursor.error(format!("expected a blank, found {}", self.cursor.found()));
            }
            Takes::Word(words) => Test::Is(self.flag(operator, words)?),
            Takes::Pattern(field) => Test::Fits(field, self.pattern(operator, field)?),
            Takes::Comparison(quantity) => Test::Measures(quantity, self.comparison(operator, quantity)?),
        };
        Ok(Term { operator, test })
    }

    fn flag(&mut self, operator: &Operator, words: &[(&str, Flag)]) -> Result<Flag, ParseError> {
        let begin = self.cursor.column();
        let word = self.cursor.word();
        if let Some((_, flag)) = words.iter().find(|(known, _)| *known == word) {
            return Ok(*flag);
        }
        let choices: Vec<String> =
            words.iter().map(|(word, _)| format!("`~{} {word}`", operator.name)).collect();
        fault(begin, format!("expected {}", choices.join(" or ")))
    }

    fn pattern(&mut self, operator: &Operator, field: Field) -> Result<Pattern, ParseError> {
        let begin = self.cursor.column();
        let within = field.is_text();
        let pattern = match self.cursor.argument()? {
            None => return self.missing(operator, "a pattern"),
            Some(Written::Quoted(text)) => Ok(Pattern::text(&text, within)),
            Some(Written::Word(word)) => Pattern::word(&word, within),
            Some(Written::Regex { source, flags }) => match flags.as_str() {
                "" => Pattern::regex(&source, false, within),
                "i" => Pattern::regex(&source, true, within),
                other => Err(format!(
                    "is followed by `{other}`; only `i`, for upper and lower case alike, may stick to it, and a text \
                     that begins with `/` is put in quotes"
                )),
            },
        };
        let pattern = pattern.or_else(|sentence| fault(begin, format!("this pattern {sentence}")))?;
        self.compiled += usize::from(pattern.is_compiled());
        if self.compiled > COMPILED_MAX {
            let sentence = format!(
                "the filter has more than {COMPILED_MAX} patterns with wildcards or regular expressions"
            );
            return fault(begin, sentence);
        }
        Ok(pattern)
    }

    fn comparison(&mut self, operator: &Operator, quantity: Quantity) -> Result<Comparison, ParseError> {
        let begin = self.cursor.column();
        let sign = self.cursor.take_while(|c| matches!(c, '<' | '>' | '='));
        if Comparison::split(sign) != Some((sign, "")) {
            return fault(
                begin,
                format!("expected a comparison with `<`, `<=`, `>` or `>=`, such as `{}`", operator.example),
            );
        }
        self.cursor.skip_blanks();
        let begin = self.cursor.column();
        let found = self.cursor.found();
        let right = match quantity {
            Quantity::Took => "a time with its unit, such as 500us, 100ms, 2s or 1m30s",
            Quantity::Size => "a size such as 512B, 10kB or 4MiB",
            Quantity::Time => "a time in UTC such as 2026-11-21, 2026-11-21T12:04 or 2026-11-21T12:04:05.123",
        };
        let comparison = Comparison::new(sign, self.cursor.word(), quantity);
        comparison.map_or_else(|| fault(begin, format!("expected {right}, found {found}")), Ok)
    }

    fn missing<T>(&self, operator: &Operator, what: &str) -> Result<T, ParseError> {
        let (name, example) = (operator.name, operator.example);
        let found = self.cursor.found();
        self.cursor.error(format!("`~{name}` needs {what}, such as `{example}`, found {found}"))
    }
}

fn unknown(name: &str) -> String {
    if let Some(Operator { name: right, meaning, .. }) = operators::meant(name) {
        return format!("there is no operator `~{name}`; did you mean `~{right}` ({meaning})?");
    }
    let all: Vec<String> = OPERATORS.iter().map(|operator| format!("~{}", operator.name)).collect();
    let what = if name.is_empty() {
        "expected the name of an operator behind `~`".to_owned()
    } else {
        format!("there is no operator `~{name}`")
    };
    format!("{what}; there are {}", all.join(" "))
}

#[cfg(test)]
mod tests;

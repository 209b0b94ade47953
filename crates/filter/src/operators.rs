//! The operators: one table for the parser, the help and the error that names the nearest.

use std::fmt::Write as _;

use crate::nearest;
use crate::subject::{Field, Flag, Quantity};

/// One operator of the language.
#[derive(Debug, PartialEq, Eq)]
pub struct Operator {
    /// What stands behind the `~`.
    pub name: &'static str,
    pub(crate) takes: Takes,
    /// What it looks at.
    pub meaning: &'static str,
    /// How it is written.
    pub example: &'static str,
    /// What people may call it instead.
    also: &'static [&'static str],
}

/// What stands behind an operator.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing.
    Nothing(Flag),
    /// One of these words.
    Word(&'static [(&'static str, Flag)]),
    /// A pattern.
    Pattern(Field),
    /// A comparison.
    Comparison(Quantity),
}

const fn operator(
    name: &'static str,
    takes: Takes,
    meaning: &'static str,
    example: &'static str,
    also: &'static [&'static str],
) -> Operator {
    Operator { name, takes, meaning, example, also }
}

/// All operators, in the order in which help lists them.
pub static OPERATORS: [Operator; 19] = [
    operator("m", Takes::Pattern(Field::Method), "the method", "~m tools/call", &["method"]),
    operator(
        "t",
        Takes::Pattern(Field::Name),
        "the tool or prompt by name, the resource by URI, the task by id",
        "~t echo",
        &["tool", "name", "target", "prompt", "resource", "uri", "task"],
    ),
    operator(
        "e",
        Takes::Nothing(Flag::Failed),
        "failed: a JSON-RPC error, a tool's own error, a refusal by the proxy",
        "~e",
        &["error", "failed", "failure"],
    ),
    operator(
        "c",
        Takes::Pattern(Field::Code),
        "how it failed: the number of the error, the word of a refusal, or `tool`",
        "~c -32602",
        &["code", "reason"],
    ),
    operator("q", Takes::Nothing(Flag::Request), "a request", "~q", &["request"]),
    operator("n", Takes::Nothing(Flag::Notification), "a notification", "~n", &["notification"]),
    operator(
        "s",
        Takes::Nothing(Flag::Answer),
        "an answer; a call that has one",
        "~s",
        &["answer", "response", "reply"],
    ),
    operator(
        "to",
        Takes::Word(&[("server", Flag::ToServer), ("client", Flag::ToClient)]),
        "the side it goes to; of a call, the side that was asked",
        "~to client",
        &["direction", "side"],
    ),
    operator(
        "b",
        Takes::Pattern(Field::Text),
        "within the JSON text of any of its messages",
        "~b \"no such file\"",
        &["body", "text"],
    ),
    operator(
        "bq",
        Takes::Pattern(Field::AskedText),
        "within the JSON text of the request or notification",
        "~bq /\"count\": ?0/",
        &["arguments", "params"],
    ),
    operator(
        "bs",
        Takes::Pattern(Field::AnswerText),
        "within the JSON text of the answer",
        "~bs /timed? ?out/i",
        &["result"],
    ),
    operator(
        "d",
        Takes::Comparison(Quantity::Took),
        "the time from the request to its answer",
        "~d >100ms",
        &["duration", "took", "latency", "time"],
    ),
    operator(
        "z",
        Takes::Comparison(Quantity::Size),
        "the bytes of all its messages",
        "~z >=10kB",
        &["size", "bytes"],
    ),
    operator(
        "at",
        Takes::Comparison(Quantity::Time),
        "when it passed, in UTC",
        "~at >2026-11-21T12:00",
        &["date", "when", "since"],
    ),
    operator("id", Takes::Pattern(Field::Id), "the JSON-RPC id", "~id 7", &["request_id"]),
    operator("session", Takes::Pattern(Field::Session), "the session's tag", "~session a1b2c3d4", &["sid"]),
    operator(
        "principal",
        Takes::Pattern(Field::Principal),
        "who asks, where clients are known by name",
        "~principal alice",
        &["user"],
    ),
    operator(
        "client",
        Takes::Pattern(Field::Client),
        "the client's transport, revision or era",
        "~client modern",
        &[],
    ),
    operator(
        "upstream",
        Takes::Pattern(Field::Upstream),
        "the upstream's name, transport, revision or era",
        "~upstream docs",
        &["server", "era", "transport"],
    ),
];

pub(crate) fn find(name: &str) -> Option<&'static Operator> {
    OPERATORS.iter().find(|operator| operator.name == name)
}

/// The operator that was probably meant by this name.
pub(crate) fn meant(name: &str) -> Option<&'static Operator> {
    let called = |operator: &Operator, word: &str| operator.name == word || operator.also.contains(&word);
    let words: Vec<&str> = OPERATORS.iter().flat_map(|operator| operator.also.iter().copied()).collect();
    let words: Vec<&str> = words.into_iter().chain(OPERATORS.iter().map(|operator| operator.name)).collect();
    let word = nearest(name, &words)?;
    OPERATORS.iter().find(|operator| called(operator, word))
}

/// The operators, a line each, for the help of a command.
pub fn help() -> String {
    let width = OPERATORS.iter().map(|operator| operator.example.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Operator { example, meaning, .. } in &OPERATORS {
        writeln!(text, "  {example:width$}  {meaning}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Filter;

    #[test]
    fn each_operator_has_a_name_of_its_own_and_an_example_that_parses() {
        for operator in &OPERATORS {
            assert!(std::ptr::eq(find(operator.name).unwrap(), operator), "{}", operator.name);
            assert!(operator.example.parse::<Filter>().is_ok(), "{}", operator.example);
        }
    }

    #[test]
    fn what_people_call_an_operator_leads_to_it() {
        for (called, name) in
            [("tool", "t"), ("methd", "m"), ("error", "e"), ("sesion", "session"), ("took", "d")]
        {
            assert_eq!(meant(called).map(|operator| operator.name), Some(name), "{called}");
        }
        assert_eq!(meant("xyzzy"), None);
    }
}

//! The same session as a test that was written from the tape, by
//! `shadowcat tape export test ../memory.tape.jsonl --lang rust -o tests/recorded/mod.rs`.

#[expect(clippy::disallowed_methods, reason = "it is told by its environment which server to ask")]
#[rustfmt::skip]
mod recorded;

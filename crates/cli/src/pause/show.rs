//! What waits, in a table, and one of it with its text.

use std::fmt::Write as _;

use shadowcat_admin::forms::{Held, HeldList, Then};
use shadowcat_tape::render;

use super::{path, print_json};
use crate::admin_client::Admin;
use crate::failure::Failure;
use crate::output::{self, Listing};

/// List the messages that wait, the oldest first
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only calls that wait for an approval
    #[arg(long)]
    approvals: bool,
    #[command(flatten)]
    listing: Listing,
}

/// Show one message that waits, as its sender wrote it
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Its number, such as h-1
    id: String,
    /// Print it as JSON, with all that is known of it
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    pub(super) async fn run(&self, admin: &Admin) -> Result<(), Failure> {
        let list: HeldList = admin.get(if self.approvals { "/v1/approvals" } else { "/v1/held" }).await?;
        if self.listing.is_json() {
            return print_json(&list.held);
        }
        if list.held.is_empty() {
            let what = if self.approvals { "no call waits for an approval" } else { "nothing waits" };
            return output::print(&format!("{what}\n"));
        }
        let names = ["ID", "LEFT", "THEN", "HELD BY", "MESSAGE", "SESSION", "SIZE"];
        let rows: Vec<[String; 7]> = list.held.iter().map(row).collect();
        output::print(&output::table(names, &rows))
    }
}

fn row(held: &Held) -> [String; 7] {
    [
        held.id.clone(),
        left(held),
        then(held.then).to_owned(),
        render::visible(&format!("{} {}", held.cause.kind, held.cause.name)),
        message(held),
        held.session.clone().unwrap_or_else(|| "-".to_owned()),
        render::size(held.bytes),
    ]
}

/// Which way it goes, and what it is: `-> tools/call echo`.
pub(super) fn message(held: &Held) -> String {
    let arrow = if held.direction == "to_server" { "->" } else { "<-" };
    let mut text = arrow.to_owned();
    if held.kind == "answer" {
        text.push_str(" answer to");
    }
    for word in [held.method.as_deref().unwrap_or("?"), held.name.as_deref().unwrap_or_default()] {
        if !word.is_empty() {
            text.push(' ');
            text.push_str(&render::visible(word));
        }
    }
    text
}

fn left(held: &Held) -> String {
    if held.abandoned { "(gone)".to_owned() } else { render::duration(held.left_ms.saturating_mul(1_000)) }
}

/// What becomes of it when nobody decides, in a word.
pub(super) fn then(then: Then) -> &'static str {
    match then {
        Then::Continue => "continue",
        Then::Block => "block",
    }
}

impl ShowArgs {
    pub(super) async fn run(&self, admin: &Admin) -> Result<(), Failure> {
        let held: Held = admin.get(&path("held", &self.id, "")?).await?;
        if self.json { print_json(&held) } else { output::print(&described(&held)) }
    }
}

fn described(held: &Held) -> String {
    let mut text = String::new();
    let cause = render::visible(&format!("{} {}", held.cause.kind, held.cause.name));
    writeln!(text, "{}  {}", held.id, message(held)).ok();
    writeln!(text, "held by {cause}, {} left, then: {}", left(held), then(held.then)).ok();
    let session = held.session.as_deref().map_or_else(String::new, |tag| format!(", session {tag}"));
    let principal = held.principal.as_deref().map(render::visible);
    let principal = principal.map_or_else(String::new, |name| format!(", asked by {name}"));
    writeln!(
        text,
        "exchange {}, server {}{session}{principal}",
        held.exchange,
        render::visible(&held.server)
    )
    .ok();
    if let Some(asked) = &held.asked {
        text.push_str("\nanswers:\n");
        push(asked.get(), &mut text);
    }
    if let Some(message) = &held.message {
        text.push('\n');
        push(message.get(), &mut text);
    }
    text
}

fn push(message: &str, text: &mut String) {
    for line in render::pretty(message) {
        text.push_str(&line);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: &str = r#"{"id":"h-1","kind":"request","cause":{"kind":"breakpoint","name":"b-1"},"exchange":7,
        "direction":"to_server","server":"docs","session":"a1b2c3d4","principal":null,"method":"tools/call",
        "name":"rm\u001b[2J","bytes":64,"since":"2026-11-21T12:00:00.000Z","left_ms":299000,"then":"block",
        "abandoned":false,"message":{"n":9007199254740993,"method":"tools/call"}}"#;

    #[test]
    fn a_held_message_is_described_without_what_would_move_the_cursor() {
        let held: Held = serde_json::from_str(HELD).unwrap();
        let text = described(&held);
        assert!(
            text.starts_with(
                "h-1  -> tools/call rm\u{fffd}[2J\nheld by breakpoint b-1, 299 s left, then: block\n"
            ),
            "{text}"
        );
        assert!(text.contains("exchange 7, server docs, session a1b2c3d4\n"), "{text}");
        assert!(text.ends_with("{\n  \"n\": 9007199254740993,\n  \"method\": \"tools/call\"\n}\n"), "{text}");
    }
}

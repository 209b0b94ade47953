//! The calls that the load sends and, independently of any server, the exact messages that answer them.

use std::fmt::Write as _;

use clap::ValueEnum;

/// The revision spoken in the legacy era.
pub(crate) const LEGACY: &str = "2025-11-25";
/// The revision spoken in the modern era.
pub(crate) const MODERN: &str = "2026-07-28";
/// `_meta` key that names the revision of a modern request.
pub(crate) const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// Which of the two forms of MCP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Era {
    /// A handshake, then a session.
    Legacy,
    /// Every request stands alone.
    Modern,
}

impl Era {
    /// The one that this is not.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Legacy => Self::Modern,
            Self::Modern => Self::Legacy,
        }
    }

    /// The word for it on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

/// How a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Answer {
    /// One JSON body.
    Json,
    /// An event stream with the answer only.
    Sse,
    /// An event stream with one progress notification before the answer.
    Progress,
    /// An event stream with what the tool `echo` of the reference server `everything` answers.
    Echo,
}

impl Answer {
    /// The tool of the mock that answers so.
    pub(crate) fn tool(self) -> &'static str {
        match self {
            Self::Json => "echo_json",
            Self::Sse => "echo_sse",
            Self::Progress => "progress",
            Self::Echo => "echo",
        }
    }

    /// The answer that a tool gives.
    pub(crate) fn of_tool(name: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|answer| answer.tool() == name)
    }
}

/// One `tools/call`, marked with a canary that exists nowhere else.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// JSON-RPC id.
    pub(crate) id: u64,
    /// Goes out in the arguments and must come back in this answer only.
    pub(crate) canary: String,
    /// What to ask for.
    pub(crate) answer: Answer,
    /// Which form to speak.
    pub(crate) era: Era,
    /// Whether the server behind the proxy speaks the other era.
    pub(crate) bridged: bool,
    /// Length of the text in the answer.
    pub(crate) text_bytes: usize,
}

impl Call {
    /// The request as it goes onto the wire.
    pub(crate) fn request(&self) -> String {
        let mut meta = String::new();
        if self.answer == Answer::Progress {
            let _ = write!(meta, r#""progressToken":"{}""#, self.token());
        }
        if self.era == Era::Modern {
            let comma = if meta.is_empty() { "" } else { "," };
            let _ = write!(
                meta,
                r#"{comma}"{META_VERSION}":"{MODERN}","io.modelcontextprotocol/clientCapabilities":{{}}"#
            );
        }
        let arguments = match self.answer {
            Answer::Echo => format!(r#""message":"{}""#, text(&self.canary, self.text_bytes)),
            _ => format!(r#""canary":"{}","text_bytes":{}"#, self.canary, self.text_bytes),
        };
        format!(
            r#"{{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{{"name":"{}","arguments":{{{arguments}}},"_meta":{{{meta}}}}}}}"#,
            self.id,
            self.answer.tool(),
        )
    }

    /// Every message that must come back, in order, byte for byte.
    pub(crate) fn replies(&self) -> Vec<String> {
        let mut replies = Vec::with_capacity(2);
        if self.answer == Answer::Progress {
            replies.push(progress(&format!(r#""{}""#, self.token()), &self.canary, 1));
        }
        let id = self.id.to_string();
        if self.answer == Answer::Echo {
            replies.push(echo(&id, &text(&self.canary, self.text_bytes), self.era));
            return replies;
        }
        let mut result = result(&id, &self.canary, self.text_bytes, self.era);
        if self.bridged && self.era == Era::Modern {
            // The name that the server said in its handshake is said with each result.
            result.truncate(result.len() - "}}".len());
            result += r#","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"mock","version":"1"}}}}"#;
        }
        replies.push(result);
        replies
    }

    fn token(&self) -> String {
        format!("progress of {}", self.canary)
    }
}

/// A progress notification; `token` is raw JSON.
pub(crate) fn progress(token: &str, canary: &str, number: usize) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{number},"total":2,"message":"{canary}"}}}}"#
    )
}

/// What the reference server answers to `echo`, in its order of members; `id` is raw JSON.
pub(crate) fn echo(id: &str, message: &str, era: Era) -> String {
    let kind = kind(era);
    format!(
        r#"{{"result":{{"content":[{{"type":"text","text":"Echo: {message}"}}]{kind}}},"jsonrpc":"2.0","id":{id}}}"#
    )
}

fn kind(era: Era) -> &'static str {
    match era {
        Era::Legacy => "",
        Era::Modern => r#","resultType":"complete""#,
    }
}

/// The answer to a call; `id` is raw JSON.
pub(crate) fn result(id: &str, canary: &str, text_bytes: usize, era: Era) -> String {
    let kind = kind(era);
    let text = text(canary, text_bytes);
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{text}"}}],"isError":false{kind}}}}}"#
    )
}

/// The canary again and again up to the length, so that bytes of another answer in the middle show too.
fn text(canary: &str, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + canary.len() + 1);
    text.push_str(canary);
    while text.len() < bytes {
        text.push(' ');
        text.push_str(canary);
    }
    text.truncate(bytes.max(canary.len()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_replies_are_json_in_both_eras() {
        for era in [Era::Legacy, Era::Modern] {
            for answer in Answer::value_variants().iter().copied() {
                let call = Call { id: 7, canary: "c1".into(), answer, era, bridged: false, text_bytes: 64 };
                let texts = std::iter::once(call.request()).chain(call.replies());
                for text in texts {
                    serde_json::from_str::<serde_json::Value>(&text).unwrap();
                }
            }
        }
    }

    #[test]
    fn the_text_has_its_length_and_keeps_its_canary() {
        assert_eq!(text("abc", 8), "abc abc ");
        assert_eq!(text("abc", 1), "abc");
    }
}

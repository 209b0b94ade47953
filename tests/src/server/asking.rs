//! The tools that ask their caller for something: in the middle of the call up to 2025-11-25, by `input_required` since.

use super::tools::{Call, DONE};
use super::{member, path};

const ELICITATION: &str = "elicitation/create";
/// Where a chain of rounds stands; a client that changes one byte of it is refused.
const STATE: &str = "AbC+/==";

impl Call<'_> {
    /// The questions of this call: method and parameters.
    fn questions(&self) -> Vec<(String, String)> {
        let kinds = self.argument("kinds").and_then(|raw| serde_json::from_str::<Vec<String>>(&raw).ok());
        let kinds = kinds.unwrap_or_else(|| vec![ELICITATION.to_owned()]);
        kinds
            .into_iter()
            .map(|kind| {
                let params = self.question(&kind);
                (kind, params)
            })
            .collect()
    }

    fn question(&self, kind: &str) -> String {
        let tag = self.argument("tag").unwrap_or_else(|| "\"Which?\"".to_owned());
        match kind {
            ELICITATION => {
                let schema = r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#;
                format!(r#"{{"message":{tag},"requestedSchema":{schema},"x-unknown":1.0}}"#)
            }
            "sampling/createMessage" => {
                let said = format!(r#"{{"role":"user","content":{{"type":"text","text":{tag}}}}}"#);
                format!(r#"{{"messages":[{said}],"maxTokens":9007199254740993}}"#)
            }
            _ => "{}".to_owned(),
        }
    }

    /// `ask`: one after the other, or all at once, on the stream of the call or on the standing one.
    pub(super) async fn ask_in_the_middle(&self) {
        let questions = self.questions();
        let client = self.fake.state().clients.get(&self.connection.name).cloned().unwrap_or_default();
        if let Some(kind) = not_offered(&client.capabilities, &questions) {
            let said = format!(r#"{{"type":"text","text":"the client has no {kind}"}}"#);
            return self.result(&format!(r#"{{"content":[{said}],"isError":true}}"#)).await;
        }
        let is_set = |name: &str| self.argument(name).as_deref() == Some("true");
        if is_set("afterwards") {
            self.result(DONE).await;
        }
        let out = if is_set("standing") { &self.connection.standing } else { self.reply };
        let mut asking = Vec::new();
        for (kind, params) in &questions {
            let asked = async move {
                match self.argument("id") {
                    Some(id) => self.fake.ask_as(&id, self.connection, out, kind, params).await,
                    None => self.fake.ask(self.connection, out, kind, params).await,
                }
            };
            asking.push(asked);
        }
        let mut answers = Vec::new();
        if is_set("together") {
            answers = futures_util::future::join_all(asking).await;
        } else {
            for asked in asking {
                answers.push(asked.await);
                self.progress(answers.len() as u64).await;
            }
        }
        if is_set("late") {
            self.fake.wait_cancelled(self.connection, self.id).await;
        }
        if !is_set("afterwards") {
            let connection = &self.connection.name;
            let answers = answers.join(",");
            let told = format!(r#""content":[],"answers":[{answers}],"connection":"{connection}""#);
            self.result(&format!("{{{told}}}")).await;
        }
    }

    /// `input`: so many rounds of `input_required`, then what came of the last one.
    pub(super) async fn ask_by_result(&self) {
        let questions = self.questions();
        let capabilities = path(self.params, &["_meta", "io.modelcontextprotocol/clientCapabilities"]);
        if let Some(kind) = not_offered(&capabilities.unwrap_or_default(), &questions) {
            let data = format!(r#"{{"requiredCapabilities":{{"{kind}":{{}}}}}}"#);
            return self.error_with(-32021, "the client cannot be asked", Some(&data)).await;
        }
        let rounds = self.argument("rounds").and_then(|raw| raw.parse().ok()).unwrap_or(1_usize);
        let state = self.param("requestState");
        let state_of = |round: usize| match round {
            0 => String::new(),
            1 => format!("\"{STATE}\""),
            later => format!("\"{STATE}{later}\""),
        };
        match (0..=rounds).find(|round| state_of(*round) == state) {
            None => self.error(-32602, "no such requestState").await,
            Some(round) if round == rounds => {
                let responses = Some(self.param("inputResponses")).filter(|raw| !raw.is_empty());
                let responses = responses.unwrap_or_else(|| "null".to_owned());
                let state = if state.is_empty() { "null" } else { &state };
                let own = format!(r#""id":{},"state":{state},"inputResponses":{responses}"#, self.id);
                let meta = self.param("_meta");
                let told = format!(r#""resultType":"complete","content":[],{own},"meta":{meta}"#);
                self.result(&format!("{{{told}}}")).await;
            }
            Some(round) => self.result(&input_required(&questions, &state_of(round + 1))).await,
        }
    }

    /// `url`: sends the client to a page first.
    pub(super) async fn send_to_page(&self) {
        if self.fake.count(self.connection, "url") > 1 {
            return self.result(&self.echo()).await;
        }
        let page = r#""url":"https://example.com/page","message":"Go there""#;
        let asked = format!(r#"{{"mode":"url","elicitationId":"e-1",{page}}}"#);
        let data = format!(r#"{{"elicitations":[{asked}]}}"#);
        self.error_with(-32042, "a page has to be visited first", Some(&data)).await;
    }
}

/// A kind of question that the client has not offered to answer.
fn not_offered(capabilities: &str, questions: &[(String, String)]) -> Option<String> {
    let mut names = questions.iter().map(|(kind, _)| kind.split('/').next().unwrap_or_default());
    names.find(|name| member(capabilities, name).is_none()).map(str::to_owned)
}

/// What a round says: all the questions and where the chain stands.
fn input_required(questions: &[(String, String)], state: &str) -> String {
    let entries = questions.iter().enumerate();
    let entries: Vec<_> = entries
        .map(|(at, (kind, params))| format!(r#""q{at}":{{"method":"{kind}","params":{params}}}"#))
        .collect();
    let asked = if entries.is_empty() {
        String::new()
    } else {
        format!(r#""inputRequests":{{{}}},"#, entries.join(","))
    };
    format!(r#"{{"resultType":"input_required",{asked}"requestState":{state}}}"#)
}

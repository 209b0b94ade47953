//! Whoever runs the proxy, by its admin API: what is held, and what becomes of it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::raw::{Ask, Events, ask};
use crate::wait::within;

/// How long so many messages may take to be held.
const PATIENCE: Duration = Duration::from_mins(2);
const PACE: Duration = Duration::from_millis(20);

/// Whoever runs one proxy.
pub struct Operator {
    address: SocketAddr,
    token: String,
}

impl Operator {
    /// Of the proxy with this data directory, when it serves its API.
    pub async fn of(data: &Path) -> Self {
        let read = || {
            let text = std::fs::read_to_string(data.join("admin.json")).ok()?;
            let notice: Value = serde_json::from_str(&text).ok()?;
            let address = notice.get("url")?.as_str()?.strip_prefix("http://")?.parse().ok()?;
            Some(Self { address, token: notice.get("token")?.as_str()?.to_owned() })
        };
        within(PATIENCE, "the notice of the admin API", async {
            loop {
                if let Some(operator) = read() {
                    return operator;
                }
                tokio::time::sleep(PACE).await;
            }
        })
        .await
    }

    async fn answer(&self, ask: Ask) -> (u16, Value) {
        let ask = ask.header("Authorization", &format!("Bearer {}", self.token));
        let answer = within(PATIENCE, "an answer of the API", ask.send_patiently(self.address)).await;
        let status = answer.status;
        (status, serde_json::from_str(&answer.text().await).unwrap_or_default())
    }

    /// What passes and what is held, as it happens.
    pub async fn feed(&self) -> Events {
        let ask = ask(Method::GET, "/v1/messages").header("Authorization", &format!("Bearer {}", self.token));
        ask.send_patiently(self.address).await.events()
    }

    /// What is at this path.
    pub async fn get(&self, path: &str) -> Value {
        let (status, value) = self.answer(ask(Method::GET, path)).await;
        assert_eq!(status, 200, "{value}");
        value
    }

    /// Sends this to the path; gives the status and what came of it.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let ask = ask(Method::POST, path).header("Content-Type", "application/json");
        self.answer(ask.body(&body.to_string())).await
    }

    /// Takes away what is at this path.
    pub async fn remove(&self, path: &str) {
        let (status, value) = self.answer(ask(Method::DELETE, path)).await;
        assert!(matches!(status, 200 | 204), "{value}");
    }

    /// The messages that are held.
    pub async fn held(&self) -> Vec<Value> {
        let list = self.get("/v1/held").await;
        list.get("held").and_then(Value::as_array).cloned().unwrap_or_default()
    }

    /// The messages that are held, when there are exactly so many.
    pub async fn holding(&self, count: usize) -> Vec<Value> {
        within(PATIENCE, format!("{count} held messages"), async {
            loop {
                let held = self.held().await;
                if held.len() == count {
                    return held;
                }
                tokio::time::sleep(PACE).await;
            }
        })
        .await
    }

    /// The id of the only message that is held, and its text.
    pub async fn only(&self) -> (String, Value) {
        let held = self.holding(1).await;
        let id = held.first().and_then(|held| held.get("id")?.as_str()).expect("an id").to_owned();
        let held = self.get(&format!("/v1/held/{id}")).await;
        (id, held.get("message").cloned().unwrap_or_default())
    }

    /// Decides about a message.
    pub async fn decide(&self, id: &str, verdict: &Value) {
        let (status, value) = self.post(&format!("/v1/held/{id}/verdict"), verdict).await;
        assert_eq!(status, 200, "{id}: {value}");
    }

    /// Lets a message go on.
    pub async fn resume(&self, id: &str) {
        self.decide(id, &json!({ "verdict": "resume" })).await;
    }

    /// Lets the only message go on that is held, changed.
    pub async fn edit(&self, change: impl FnOnce(&mut Value)) {
        let (id, mut message) = self.only().await;
        change(&mut message);
        self.decide(&id, &json!({ "verdict": "edit", "message": message })).await;
    }
}

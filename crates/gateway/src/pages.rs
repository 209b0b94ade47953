//! The pages that say how the proxy is: they read what the parts themselves report, and never assume.

use std::sync::Arc;
use std::time::Instant;

use prometheus_client::registry::Registry;
use serde_json::json;
use shadowcat_auth::KeyCache;
use shadowcat_interceptors::Externals;
use shadowcat_session::Health;
use shadowcat_tape::Monitor;
use shadowcat_transports::server::{Page, Pages};
use shadowcat_transports::stdio::{Breaker, Launcher};

use crate::gateway::Gateway;
use crate::rule_files::Reloads;

/// The pages of one gateway.
pub(crate) struct StatusPages {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) launcher: Option<Launcher>,
    pub(crate) tape: Option<Monitor>,
    pub(crate) rules: Option<Reloads>,
    /// Who else is asked what is done with messages.
    pub(crate) externals: Option<Arc<Externals>>,
    pub(crate) registry: Registry,
    /// Clients have to say who they are: what is told to everybody says no more than it has to.
    pub(crate) asks: bool,
    /// Whose word on who clients are is asked for.
    pub(crate) issuers: Vec<Arc<KeyCache>>,
    /// Clients on other machines are served without being asked who they are.
    pub(crate) unauthenticated_remote: bool,
}

impl StatusPages {
    /// What is not as it should be, in words.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        if self.gateway.draining.is_cancelled() {
            troubles.push("shutting down".to_owned());
        }
        if self.unauthenticated_remote {
            troubles.push("clients on other machines are served without authentication".to_owned());
        }
        for keys in &self.issuers {
            if let Some(fault) = keys.fault() {
                troubles.push(format!("the keys of {} cannot be had: {fault}", keys.issuer()));
            }
        }
        troubles.extend(self.upstream_trouble());
        if let Health::Degraded { reason, .. } = self.gateway.records.health() {
            troubles.push(format!("sessions are not written down: {reason}"));
        }
        if let Some(fault) = self.rules.as_ref().and_then(Reloads::fault) {
            troubles.push(format!("changed rules are not in force: {fault}"));
        }
        for interceptor in self.externals.iter().flat_map(|externals| externals.left_alone()) {
            troubles.push(format!("interceptor {interceptor} failed repeatedly and is being left alone"));
        }
        for approval in self.gateway.lot.left_alone() {
            let who = format!("the webhook that is asked about calls of approval {approval}");
            troubles.push(format!("{who} failed repeatedly and is being left alone"));
        }
        if let Some(shadowcat_tape::Health::Degraded { reason, lost }) =
            self.tape.as_ref().map(Monitor::health)
        {
            troubles.push(format!("{lost} messages are not on the tape: {reason}"));
        }
        troubles
    }

    fn upstream_trouble(&self) -> Option<String> {
        let name = &self.gateway.upstream_name;
        if self.launcher.as_ref().is_some_and(|launcher| is_open(launcher.stats().breaker)) {
            return Some(format!("upstream {name} keeps crashing and is not started for a while"));
        }
        self.gateway.is_unreachable().then(|| format!("upstream {name} could not be reached a moment ago"))
    }

    fn health(&self, tells_all: bool) -> Page {
        let troubles = self.troubles();
        let status = if troubles.is_empty() { "ok" } else { "degraded" };
        if !tells_all {
            return page(200, &json!({ "status": status }));
        }
        let body = json!({
            "status": status,
            "version": env!("CARGO_PKG_VERSION"),
            "reasons": troubles,
            "sessions": self.gateway.table.len(),
        });
        page(200, &body)
    }

    /// Ready is who can serve a call now.
    fn ready(&self, tells_all: bool) -> Page {
        let mut reasons: Vec<String> = self.upstream_trouble().into_iter().collect();
        if self.gateway.draining.is_cancelled() {
            reasons.push("shutting down".to_owned());
        }
        let status = if reasons.is_empty() { 200 } else { 503 };
        let is_ready = reasons.is_empty();
        if !tells_all {
            return page(status, &json!({ "ready": is_ready }));
        }
        page(status, &json!({ "ready": is_ready, "reasons": reasons }))
    }

    fn metrics(&self) -> Page {
        let mut body = String::new();
        match prometheus_client::encoding::text::encode(&mut body, &self.registry) {
            Ok(()) => Page {
                status: 200,
                content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
                body,
            },
            Err(error) => {
                tracing::error!(%error, "the metrics could not be written");
                Page {
                    status: 500,
                    content_type: "text/plain",
                    body: "the metrics could not be written\n".into(),
                }
            }
        }
    }
}

/// Whether no child is started right now because they keep crashing.
pub(crate) fn is_open(breaker: Breaker) -> bool {
    matches!(breaker, Breaker::Open(until) if until > Instant::now())
}

fn page(status: u16, body: &serde_json::Value) -> Page {
    Page { status, content_type: "application/json", body: format!("{body}\n") }
}

impl Pages for StatusPages {
    fn page(&self, path: &str, is_known: bool) -> Option<Page> {
        let tells_all = is_known || !self.asks;
        match path {
            "/health" | "/healthz" => Some(self.health(tells_all)),
            // Alive is who answers at all.
            "/livez" => Some(page(200, &json!({ "alive": true }))),
            "/ready" | "/readyz" => Some(self.ready(tells_all)),
            "/metrics" => Some(self.metrics()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_breaker_is_open_until_its_time_has_come() {
        let now = Instant::now();
        assert!(is_open(Breaker::Open(now + Duration::from_mins(1))));
        for breaker in [Breaker::Open(now), Breaker::Probing(now), Breaker::Closed] {
            assert!(!is_open(breaker), "{breaker:?}");
        }
    }
}

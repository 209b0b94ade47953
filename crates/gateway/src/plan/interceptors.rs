//! Programs outside the proxy that are asked about messages: who, how they are reached, and within which limits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use shadowcat_interceptors::external::Settings;
use shadowcat_rules::Rules;
use shadowcat_rules::written::{Fail, On, Rule, When};

use super::UpstreamTarget;
use super::problems::Problems;
use super::upstream::target;
use super::webhook::{self, Webhook, Written};
use crate::config::{self, Loaded, Variables};

/// How long a question may take.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A program outside the proxy that is asked about messages.
#[derive(Clone, Debug)]
pub struct Interceptor {
    /// About which messages, and within which limits.
    pub settings: Settings,
    /// How it is reached.
    pub target: InterceptorTarget,
}

/// How a program that is asked is reached.
#[derive(Clone, Debug)]
pub enum InterceptorTarget {
    /// An HTTP endpoint.
    Webhook(Webhook),
    /// A server that offers the interceptors extension of MCP.
    Mcp(InterceptorServer),
}

/// A server of interceptors.
#[derive(Clone, Debug)]
pub struct InterceptorServer {
    /// How it is reached.
    pub target: UpstreamTarget,
    /// What a failure costs; without it, what the interceptor that fails says of itself.
    pub fail: Option<Fail>,
    /// The configuration of each of its interceptors, as JSON by its name.
    pub config: std::collections::BTreeMap<String, String>,
}

pub(super) fn resolve(loaded: &Loaded, variables: &Variables, problems: &mut Problems) -> Vec<Interceptor> {
    let mut names = HashMap::new();
    let mut interceptors = Vec::new();
    for (number, written) in loaded.file.interceptors.iter().enumerate() {
        let at = format!("interceptors[{number}]");
        let reading = Reading { asked: webhook::Reading { at, loaded, variables }, written };
        if written.name.trim().is_empty() {
            problems.add(reading.place("name"), "expected a name");
        } else if let Some(earlier) = names.insert(written.name.as_str(), number) {
            let sentence = format!("the name {:?} is that of interceptors[{earlier}] already", written.name);
            problems.add(reading.place("name"), sentence);
        }
        interceptors.extend(reading.interceptor(problems));
    }
    interceptors
}

/// One interceptor, as it is read.
struct Reading<'a> {
    asked: webhook::Reading<'a>,
    written: &'a config::Interceptor,
}

impl Reading<'_> {
    fn place(&self, key: &str) -> String {
        self.asked.place(key)
    }

    fn interceptor(&self, problems: &mut Problems) -> Option<Interceptor> {
        let settings = self.settings(problems);
        let target = match (&self.written.webhook, &self.written.mcp) {
            (Some(webhook), None) => self.asked.webhook(webhook, problems).map(InterceptorTarget::Webhook),
            (None, Some(server)) => self.server(server, problems).map(InterceptorTarget::Mcp),
            (webhook, _) => {
                let sentence = if webhook.is_some() {
                    "has both `webhook` and `mcp`; keep one of them"
                } else {
                    "needs `webhook` or `mcp`"
                };
                problems.add(self.asked.loaded.place(&self.asked.at), sentence);
                None
            }
        };
        Some(Interceptor { settings: settings?, target: target? })
    }

    fn settings(&self, problems: &mut Problems) -> Option<Settings> {
        let written = self.written;
        let limits =
            Written { timeout: written.timeout, concurrency: written.concurrency, breaker: &written.breaker };
        let limits = self.asked.limits(&limits, TIMEOUT, problems);
        Some(Settings {
            name: written.name.as_str().into(),
            when: Arc::new(self.when(problems)?),
            fail: written.fail.unwrap_or_default(),
            is_audit: written.audit,
            limits,
        })
    }

    /// The condition, as one rule that does nothing.
    fn when(&self, problems: &mut Problems) -> Option<Rules> {
        let mut when: When = self.written.when.clone();
        if self.written.mcp.is_some() && when.on.0.is_empty() {
            when.on.0 = vec![On::Request, On::Answer];
        }
        let name = self.written.name.clone();
        // What is wrong with the name is told by whoever reads the list.
        let name = if name.trim().is_empty() { "?".to_owned() } else { name };
        let rule = Rule { name, priority: 0, when, actions: Vec::new(), stop: true, fail: Fail::Closed };
        Rules::compile(&[rule])
            .map_err(|faults| {
                for fault in faults {
                    let key = fault.place.strip_prefix("rules[0].").unwrap_or(&fault.place);
                    problems.add(self.place(key), fault.sentence);
                }
            })
            .ok()
    }

    fn server(
        &self,
        server: &config::InterceptorServer,
        problems: &mut Problems,
    ) -> Option<InterceptorServer> {
        let webhook::Reading { at, loaded, variables } = &self.asked;
        let at = format!("{at}.mcp");
        let written = config::Upstream {
            url: server.url.clone(),
            command: server.command.clone(),
            env: server.env.clone(),
            cwd: server.cwd.clone(),
            headers: server.headers.clone(),
            ca_file: server.ca_file.clone(),
            ..config::Upstream::default()
        };
        let target = target((&at, "url"), &written, loaded, variables, problems)?;
        let config = server.config.iter().map(|(name, value)| (name.clone(), value.to_string()));
        Some(InterceptorServer { target, fail: self.written.fail, config: config.collect() })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use shadowcat_interceptors::external::Limits;

    use super::webhook::HookSecret;
    use super::*;

    fn resolved(text: &str) -> Result<Vec<Interceptor>, Vec<String>> {
        let loaded = Loaded::parse("sc.yaml", text).map_err(|mistake| vec![mistake.to_string()])?;
        let secret = (OsString::from("HOOK"), OsString::from("0123456789abcdef"));
        let mut problems = Problems::default();
        let interceptors = resolve(&loaded, &[secret].into_iter().collect(), &mut problems);
        problems.or(Some(interceptors)).map_err(|errors| errors.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_key_arrives_in_the_plan() {
        let text = "interceptors:\n  - name: hook\n    webhook: {url: 'http://h/x', secret: '${HOOK}', headers: {a: b}, body: 1KiB}\n    \
                    when: {tool: rm}\n    fail: open\n    timeout: 50ms\n    audit: true\n    concurrency: 3\n    \
                    breaker: {failures: 9, pause: 1m}\n  \
                    - name: guard\n    mcp: {command: [guard, --x], config: {pii: {level: high}}}\n";
        let interceptors = resolved(text).unwrap();
        let Settings { fail, is_audit, limits, .. } = interceptors[0].settings.clone();
        let Limits { timeout, concurrency_max, breaker } = limits;
        assert_eq!((fail, timeout, is_audit), (Fail::Open, Duration::from_millis(50), true));
        assert_eq!((concurrency_max, breaker.failures_max, breaker.pause), (3, 9, Duration::from_mins(1)));
        let InterceptorTarget::Webhook(webhook) = &interceptors[0].target else { panic!() };
        assert!(matches!(webhook.secret, Some(HookSecret::Given(_))));
        assert_eq!((webhook.body_bytes_max, webhook.remote.headers.len()), (1024, 1));
        let InterceptorTarget::Mcp(server) = &interceptors[1].target else { panic!() };
        assert_eq!((server.fail, server.config["pii"].as_str()), (None, r#"{"level":"high"}"#));
        assert_eq!(interceptors[1].settings.fail, Fail::Closed);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_the_way_out() {
        for (written, told) in [
            ("name: a", "sc.yaml:2: interceptors[0]: needs `webhook` or `mcp`"),
            (
                "name: a\n    webhook: {url: 'http://h'}\n    mcp: {url: 'http://h'}",
                "has both `webhook` and `mcp`",
            ),
            ("name: a\n    mcp: {url: 'http://h', command: [x]}", "interceptors[0].mcp: has both `url` and"),
            ("name: a\n    webhook: {url: 'sse+http://h'}", "webhook.url: expected `http(s)://HOST/PATH`"),
            (
                "name: a\n    webhook: {url: 'http://u@h'}",
                "holds a user name; put credentials into `headers`",
            ),
            (
                "name: a\n    webhook: {url: 'http://h', secret: hunter2hunter2}",
                "is written in clear; take it from",
            ),
            ("name: a\n    webhook: {url: 'http://h', secret: '${NO}'}", "the variable NO is not set"),
            ("name: ''\n    webhook: {url: 'http://h'}", "interceptors[0].name: expected a name"),
            (
                "name: a\n    concurrency: 0\n    webhook: {url: 'http://h'}",
                "concurrency: expected 1 or more",
            ),
            (
                "name: a\n    webhook: {url: 'http://h'}\n    when:\n      tool: /(/",
                "sc.yaml:5: interceptors[0].when.tool: ",
            ),
            ("name: a\n    webhok: {url: 'http://h'}", "unknown key `webhok`; did you mean `webhook`?"),
        ] {
            let problems = resolved(&format!("interceptors:\n  - {written}\n")).unwrap_err();
            assert!(problems.len() == 1 && problems[0].contains(told), "{written}: {problems:?}");
            assert!(!problems[0].contains("hunter2"), "{problems:?}");
        }
        let twice = "interceptors:\n  - {name: a, webhook: {url: 'http://h'}}\n  - {name: a, webhook: {url: 'http://h'}}\n";
        assert!(resolved(twice).unwrap_err()[0].contains("is that of interceptors[0] already"));
    }
}

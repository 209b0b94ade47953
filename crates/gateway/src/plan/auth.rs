//! Who may use the endpoint: tokens that are written down, and issuers that are trusted.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Map;
use shadowcat_auth::{Algorithm, Digest, KeySource, Place, Resource, Url, is_token};
use shadowcat_pipeline::Principal;

use super::problems::Problems;
use crate::config::{self, Loaded, Variables, expand};

/// The shortest token that nobody guesses.
const TOKEN_CHARS_MIN: usize = 16;
/// What separates the parts of a principal's name that an issuer has proven.
const SEPARATOR: char = '|';

/// Who may use the endpoint.
#[derive(Clone, Debug)]
pub struct Auth {
    /// The URL of the endpoint as clients write it; without one, that of the address that is listened on.
    pub resource: Option<String>,
    /// What each token of an issuer has to be good for.
    pub scopes: Vec<String>,
    /// Tokens that are written down, and whom each proves.
    pub tokens: Vec<(Digest, Principal)>,
    /// Who else says who somebody is.
    pub issuers: Vec<Issuer>,
}

/// Who says who somebody is.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its identifier.
    pub url: Url,
    /// Whom its tokens may be for; the endpoint if there are none.
    pub audience: Vec<String>,
    /// What its tokens may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// Where its keys are.
    pub keys: KeySource,
    /// Certificates (PEM) trusted for its servers besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// `address` is where clients come in over HTTP, if they do.
pub(super) fn resolve(
    loaded: &Loaded,
    variables: &Variables,
    address: Option<SocketAddr>,
    problems: &mut Problems,
) -> Option<Auth> {
    let written = loaded.file.auth.as_ref()?;
    if written.tokens.is_empty() && written.issuers.is_empty() {
        problems.add(loaded.place("auth"), "lets nobody in; give `tokens` or `issuers`");
    }
    let mut reading = Reading { loaded, variables, problems };
    reading.resource(written.resource.as_deref(), address);
    reading.scopes(&written.scopes);
    let tokens = reading.tokens(&written.tokens);
    let issuers = reading.issuers(&written.issuers);
    Some(Auth { resource: written.resource.clone(), scopes: written.scopes.clone(), tokens, issuers })
}

struct Reading<'a> {
    loaded: &'a Loaded,
    variables: &'a Variables,
    problems: &'a mut Problems,
}

impl Reading<'_> {
    fn fault(&mut self, key: &str, sentence: impl Into<String>) {
        self.problems.add(self.loaded.place(key), sentence);
    }

    fn resource(&mut self, written: Option<&str>, address: Option<SocketAddr>) {
        match (written, address) {
            (Some(url), _) => {
                if let Err(fault) = Resource::new(url, &[], &[]) {
                    self.fault("auth.resource", fault.to_string());
                }
            }
            (None, Some(address)) if address.ip().to_canonical().is_unspecified() => {
                let sentence = format!(
                    "clients know this endpoint by another address than {address}; write `resource: https://HOST/mcp`"
                );
                self.fault("auth", sentence);
            }
            (None, _) => {}
        }
    }

    fn scopes(&mut self, scopes: &[String]) {
        // RFC 6749, 3.3.
        let is_in = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        for scope in scopes {
            if scope.is_empty() || !scope.bytes().all(is_in) {
                self.fault(
                    "auth.scopes",
                    format!("{scope:?} is no scope; write one word an entry, such as `mcp`"),
                );
            }
        }
    }

    fn tokens(&mut self, written: &[config::Token]) -> Vec<(Digest, Principal)> {
        let mut tokens: Vec<(Digest, Principal)> = Vec::new();
        for (index, token) in written.iter().enumerate() {
            let at = format!("auth.tokens[{index}]");
            if token.name.trim().is_empty()
                || token.name.contains(SEPARATOR)
                || token.name.contains(char::is_control)
            {
                self.fault(
                    &format!("{at}.name"),
                    format!("expected a name without `{SEPARATOR}`, such as `alice`"),
                );
            }
            let Some(digest) = self.digest(token, &at) else { continue };
            if tokens.iter().any(|(known, _)| *known == digest) {
                self.fault(&at, "is the token of another entry too; give each a token of its own");
            }
            let claims: Map<_, _> = token.claims.clone().into_iter().collect();
            tokens.push((digest, Principal::new(&token.name, claims, None)));
        }
        tokens
    }

    fn digest(&mut self, written: &config::Token, at: &str) -> Option<Digest> {
        match (&written.token, &written.sha256) {
            (None, Some(hex)) => {
                let place = self.loaded.place(&format!("{at}.sha256"));
                self.problems.take(place, Digest::parse(hex))
            }
            (Some(token), None) => {
                let key = format!("{at}.token");
                if !token.reveal().starts_with("${") {
                    self.fault(
                        &key,
                        "is written in clear; take it from a variable as `${NAME}`, or write `sha256`",
                    );
                    return None;
                }
                let text = expand(token.reveal(), self.variables);
                let text = self.problems.take(self.loaded.place(&key), text)?;
                if text.len() < TOKEN_CHARS_MIN || !is_token(&text) {
                    let sentence = format!(
                        "is no token that can be sent and not be guessed: {TOKEN_CHARS_MIN} or more of letters, digits \
                         and -._~+/, such as `openssl rand -hex 32` makes"
                    );
                    self.fault(&key, sentence);
                    return None;
                }
                Some(Digest::of(&text))
            }
            (token, _) => {
                let sentence = if token.is_some() {
                    "has both `token` and `sha256`; keep one of them"
                } else {
                    "needs `token` or `sha256`"
                };
                self.fault(at, sentence);
                None
            }
        }
    }

    fn issuers(&mut self, written: &[config::Issuer]) -> Vec<Issuer> {
        let mut known = HashSet::new();
        let mut issuers = Vec::new();
        for (index, issuer) in written.iter().enumerate() {
            let at = format!("auth.issuers[{index}]");
            if !known.insert(&issuer.issuer) {
                self.fault(&format!("{at}.issuer"), "is there already; write each issuer once");
            }
            issuers.extend(self.issuer(issuer, &at));
        }
        issuers
    }

    fn issuer(&mut self, written: &config::Issuer, at: &str) -> Option<Issuer> {
        let place = self.loaded.place(&format!("{at}.issuer"));
        let url = self.problems.take(&place, Url::parse(&written.issuer));
        if url.as_ref().is_some_and(Url::has_query) || written.issuer.contains(SEPARATOR) {
            self.problems.add(place, format!("an issuer has no query and no `{SEPARATOR}`"));
        }
        if written.audience.iter().any(String::is_empty) {
            self.fault(&format!("{at}.audience"), "holds an empty text, which would be for anybody");
        }
        if written.algorithms.as_ref().is_some_and(Vec::is_empty) {
            self.fault(&format!("{at}.algorithms"), "allows none; leave it out, or write some");
        }
        let keys = match &written.jwks {
            None => KeySource::Metadata,
            Some(text) if text.contains("://") => {
                let place = self.loaded.place(&format!("{at}.jwks"));
                KeySource::At(Place::Url(self.problems.take(place, Url::parse(text))?))
            }
            Some(file) => KeySource::At(Place::File(file.into())),
        };
        Some(Issuer {
            url: url?,
            audience: written.audience.clone(),
            algorithms: written.algorithms.clone().unwrap_or_else(|| Algorithm::ALL.to_vec()),
            keys,
            ca_file: written.ca_file.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Face, Listen, Overrides, Plan};
    use crate::config::Loaded;

    fn resolve(file: &str) -> Result<Plan, String> {
        let file = format!("upstream: {{url: 'http://127.0.0.1:9/mcp'}}\n{file}");
        let loaded = Loaded::parse("sc.yaml", &file).map_err(|mistake| mistake.to_string())?;
        let variables = [("ALICE", "0123456789abcdef"), ("SHORT", "0123"), ("BAD", "0123456789 abcdef")];
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let plan = Plan::resolve(Face::Http, &Overrides::default(), &loaded, &variables);
        plan.map_err(|errors| errors.to_string())
    }

    fn auth(keys: &str) -> Result<Plan, String> {
        resolve(&format!("auth: {{{keys}}}\n"))
    }

    const ALICE: &str = "tokens: [{name: alice, token: '${ALICE}'}]";

    #[test]
    fn clients_that_say_who_they_are_may_come_from_other_machines() {
        let plan =
            resolve(&format!("listen: 10.0.0.1:1\nauth: {{{ALICE}}}\n")).expect("no other word is needed");
        assert!(matches!(plan.listen, Listen::Http { unauthenticated_remote: false, .. }));
        let told = resolve("listen: 10.0.0.1:1\n").unwrap_err();
        assert!(told.contains("ask clients who they are by `auth`"), "{told}");
        let told = resolve(&format!("listen: 0.0.0.0:1\nauth: {{{ALICE}}}\n")).unwrap_err();
        assert!(told.contains("sc.yaml:3: auth: clients know this endpoint by another address"), "{told}");
        let known = format!("listen: 0.0.0.0:1\nauth: {{resource: 'https://a.example/mcp', {ALICE}}}\n");
        assert!(resolve(&known).is_ok());
    }

    #[test]
    fn what_is_to_be_switched_on_is_not_left_off_in_silence() {
        for written in
            ["auth:\n  # tokens: []\n", "auth: ~\n", "record:\n", "admin:\n", "cache: null\n", "telemetry:\n"]
        {
            let told = resolve(written).expect_err(written);
            let key = written.split(':').next().unwrap();
            assert!(told.contains(&format!("sc.yaml:2: {key}: has nothing below it")), "{written}: {told}");
        }
        let told = resolve("record:\n  dir: tapes\n  encrypt:\n").unwrap_err();
        assert!(told.contains("sc.yaml:4: record.encrypt: has nothing below it"), "{told}");
        assert!(resolve("cache: {}\n").is_ok());
    }

    #[test]
    fn what_is_wrong_is_told_by_its_key_and_shows_no_token() {
        let digest = "0".repeat(64);
        let issuer = |more: &str| format!("issuers: [{{issuer: 'https://a.example'{more}}}]");
        for (keys, told) in [
            (String::new(), "auth: lets nobody in; give `tokens` or `issuers`"),
            ("tokens: [{name: a}]".into(), "auth.tokens[0]: needs `token` or `sha256`"),
            (
                format!("tokens: [{{name: a, token: '${{ALICE}}', sha256: {digest}}}]"),
                "auth.tokens[0]: has both `token` and `sha256`; keep one of them",
            ),
            (
                "tokens: [{name: a, token: s3cret-in-clear-text}]".into(),
                "auth.tokens[0].token: is written in clear",
            ),
            (
                "tokens: [{name: a, token: '${NONE}'}]".into(),
                "auth.tokens[0].token: the variable NONE is not set",
            ),
            (
                "tokens: [{name: a, token: '${SHORT}'}]".into(),
                "auth.tokens[0].token: is no token that can be sent",
            ),
            (
                "tokens: [{name: a, token: '${BAD}'}]".into(),
                "auth.tokens[0].token: is no token that can be sent",
            ),
            ("tokens: [{name: a, sha256: abc}]".into(), "auth.tokens[0].sha256: is no SHA-256"),
            (
                format!("tokens: [{{name: 'a|b', sha256: {digest}}}]"),
                "auth.tokens[0].name: expected a name without",
            ),
            (format!("tokens: [{{name: '', sha256: {digest}}}]"), "auth.tokens[0].name: expected a name"),
            (
                format!("tokens: [{{name: a, sha256: '{digest}'}}, {{name: b, sha256: '{digest}'}}]"),
                "auth.tokens[1]: is the token of another entry too",
            ),
            (format!("scopes: ['a b'], {ALICE}"), "auth.scopes: \"a b\" is no scope"),
            (format!("resource: mcp.example, {ALICE}"), "auth.resource: is no URL of an endpoint"),
            ("issuers: [{issuer: 'http://a.example'}]".into(), "auth.issuers[0].issuer: must be https"),
            (
                "issuers: [{issuer: 'https://a.example?x'}]".into(),
                "auth.issuers[0].issuer: an issuer has no query",
            ),
            (issuer(", jwks: 'http://a.example/k'"), "auth.issuers[0].jwks: must be https"),
            (issuer(", algorithms: []"), "auth.issuers[0].algorithms: allows none"),
            (issuer(", algorithms: [HS256]"), "unknown word `HS256`; did you mean `"),
            (issuer(", algorithms: [none]"), "unknown word `none`"),
            (issuer(", audience: ['']"), "auth.issuers[0].audience: holds an empty text"),
            (
                "issuers: [{issuer: 'https://a.example'}, {issuer: 'https://a.example'}]".into(),
                "auth.issuers[1].issuer: is there already",
            ),
            (issuer(", key: x"), "unknown key `key`"),
        ] {
            let fault = auth(&keys).expect_err(&keys);
            assert!(fault.contains(told), "{keys}: {fault}");
            assert!(fault.contains("sc.yaml:2"), "{keys}: {fault}");
            assert!(!fault.contains("s3cret"), "{fault}");
        }
        let both = format!("{ALICE}, {}", issuer(", jwks: ./keys.json, algorithms: [ES256], audience: [x]"));
        let plan = auth(&both).unwrap();
        assert!(!format!("{plan:?}").contains("0123456789abcdef"));
    }
}

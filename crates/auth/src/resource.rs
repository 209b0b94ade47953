//! What clients are told of a protected endpoint: its metadata (RFC 9728) and the challenge that names it (RFC 6750).

use bytes::Bytes;
use http::{HeaderValue, Uri};
use serde_json::json;

use crate::denial::Denial;

/// What the paths of all metadata begin with (RFC 9728, 3).
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// A protected endpoint, by the URL that its clients know.
#[derive(Clone, Debug)]
pub struct Resource {
    url: Box<str>,
    metadata_path: Box<str>,
    document: Bytes,
    /// All of a challenge that is always the same.
    challenge: Box<str>,
}

/// Why a text is no URL of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no URL of an endpoint; write it as clients do, https://HOST/PATH, without a query")]
pub struct BadResource;

impl Resource {
    /// What is told of the endpoint at `url`: which issuers give tokens for it, and which scopes they need.
    ///
    /// # Errors
    /// [`BadResource`] if it is no URL that clients could use.
    pub fn new(url: &str, issuers: &[String], scopes: &[String]) -> Result<Self, BadResource> {
        let uri: Uri = url.parse().map_err(|_| BadResource)?;
        let authority = uri.authority().filter(|name| !name.as_str().contains('@')).ok_or(BadResource)?;
        let scheme =
            uri.scheme_str().filter(|scheme| ["https", "http"].contains(scheme)).ok_or(BadResource)?;
        if uri.query().is_some() || url.contains(['#', '"', '\\']) {
            return Err(BadResource);
        }
        let metadata_path = format!("{WELL_KNOWN}{}", uri.path().trim_end_matches('/'));
        let mut document = json!({ "resource": url, "bearer_methods_supported": ["header"] });
        if let Some(members) = document.as_object_mut() {
            let lists = [("authorization_servers", issuers), ("scopes_supported", scopes)];
            let told = lists.into_iter().filter(|(_, list)| !list.is_empty());
            members.extend(told.map(|(name, list)| (name.to_owned(), list.into())));
        }
        let scope =
            if scopes.is_empty() { String::new() } else { format!(r#", scope="{}""#, scopes.join(" ")) };
        let challenge = format!(r#"Bearer resource_metadata="{scheme}://{authority}{metadata_path}"{scope}"#);
        Ok(Self {
            url: url.into(),
            metadata_path: metadata_path.into(),
            document: document.to_string().into(),
            challenge: challenge.into(),
        })
    }

    /// The URL that clients know.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its metadata is, on the host of that URL.
    pub fn metadata_path(&self) -> &str {
        &self.metadata_path
    }

    /// The metadata.
    pub fn document(&self) -> &Bytes {
        &self.document
    }

    /// What a client is told in `WWW-Authenticate`; nothing where another token would not help.
    pub fn challenge(&self, denial: &Denial) -> Option<HeaderValue> {
        let text = match denial.code() {
            None if denial.retry_after().is_some() => return None,
            None => self.challenge.to_string(),
            Some(code) => {
                format!(r#"{}, error="{code}", error_description="{}""#, self.challenge, denial.sentence())
            }
        };
        HeaderValue::try_from(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denial::Flaw;

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn metadata_says_who_gives_tokens_and_where_they_go() {
        let issuers = texts(&["https://login.example"]);
        let resource =
            Resource::new("https://mcp.example/team/mcp", &issuers, &texts(&["mcp", "b"])).unwrap();
        assert_eq!(resource.metadata_path(), "/.well-known/oauth-protected-resource/team/mcp");
        let document: serde_json::Value = serde_json::from_slice(resource.document()).unwrap();
        assert_eq!(
            document,
            json!({
                "resource": "https://mcp.example/team/mcp",
                "authorization_servers": ["https://login.example"],
                "scopes_supported": ["mcp", "b"],
                "bearer_methods_supported": ["header"],
            })
        );
        let plain = Resource::new("http://127.0.0.1:8080", &[], &[]).unwrap();
        assert_eq!(plain.metadata_path(), "/.well-known/oauth-protected-resource");
        assert_eq!(
            plain.document(),
            r#"{"bearer_methods_supported":["header"],"resource":"http://127.0.0.1:8080"}"#
        );
    }

    #[test]
    fn a_challenge_says_what_was_wrong_unless_nothing_was_tried() {
        let resource = Resource::new("https://mcp.example/mcp", &[], &texts(&["mcp"])).unwrap();
        let told =
            |denial: Denial| resource.challenge(&denial).map(|value| value.to_str().unwrap().to_owned());
        let base = r#"Bearer resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mcp", scope="mcp""#;
        assert_eq!(told(Denial::Missing).unwrap(), base);
        for (denial, error) in [
            (Denial::Malformed("is there twice"), r#"error="invalid_request""#),
            (
                Flaw::Signature.into(),
                r#"error="invalid_token", error_description="the token is not accepted""#,
            ),
            (Flaw::Expired.into(), r#"error="invalid_token", error_description="the token has expired""#),
            (Denial::Scope("ann".into()), r#"error="insufficient_scope""#),
        ] {
            let told = told(denial).unwrap();
            assert!(told.starts_with(base) && told.contains(error), "{told}");
        }
        assert_eq!(told(Denial::Unavailable("x".into())), None);
    }

    #[test]
    fn what_clients_cannot_use_is_no_resource() {
        for url in [
            "",
            "mcp",
            "/mcp",
            "ftp://a/mcp",
            "https://a@b/mcp",
            "https://a/mcp?x",
            "https://a/mcp#x",
            "https://a/\"b",
        ] {
            assert_eq!(Resource::new(url, &[], &[]).err(), Some(BadResource), "{url}");
        }
    }
}

//! Where an issuer says that its keys are: its metadata (RFC 8414, OpenID Connect Discovery).

use serde::Deserialize;

use crate::fetch::{Fetch, FetchError, Place};
use crate::key_cache::KeyFault;
use crate::url::Url;

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Option<String>,
}

/// Asks the issuer at each of its well-known places in turn.
pub(crate) async fn keys_of(issuer: &Url, fetch: &dyn Fetch) -> Result<Url, KeyFault> {
    let mut fault = None;
    for place in well_known(issuer) {
        let url = Url::parse(&place).map_err(|_| KeyFault::Metadata("has no well-known address".into()))?;
        match fetch.fetch(&Place::Url(url)).await {
            // Some servers have a page for whatever is asked for.
            Ok(document) => match read(issuer, &document) {
                Ok(keys) => return Ok(keys),
                Err(useless) => fault = Some(useless),
            },
            // What is wrong with a document says more than that elsewhere there is none.
            Err(status @ FetchError::Status(_)) => fault = fault.or(Some(status.into())),
            // Nobody is there; the other places are on the same server.
            Err(failed @ FetchError::Failed(_)) => return Err(KeyFault::Fetch(failed)),
        }
    }
    Err(fault.unwrap_or_else(|| KeyFault::Metadata("is nowhere".into())))
}

/// The order of 2026-07-28 authorization, with the path inserted before it is appended.
fn well_known(issuer: &Url) -> Vec<String> {
    let (origin, path) = (issuer.origin(), issuer.path());
    let mut places = vec![
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{origin}/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        places.push(format!("{origin}{path}/.well-known/openid-configuration"));
    }
    places
}

fn read(issuer: &Url, document: &[u8]) -> Result<Url, KeyFault> {
    let bad = |sentence: &str| KeyFault::Metadata(sentence.into());
    let metadata: Metadata =
        serde_json::from_slice(document).map_err(|_| bad("is no JSON object with an `issuer`"))?;
    // RFC 8414, 3.3: identical, or not to be used.
    if metadata.issuer != issuer.as_str() {
        return Err(bad("names another issuer; write `issuer` exactly as the document has it"));
    }
    let keys = metadata.jwks_uri.ok_or_else(|| bad("names no `jwks_uri`; give `jwks`"))?;
    let keys =
        Url::parse(&keys).map_err(|fault| KeyFault::Metadata(format!("has a `jwks_uri` that {fault}")))?;
    if issuer.is_https() && !keys.is_https() {
        return Err(bad("has a `jwks_uri` that is not https"));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Documents;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn an_issuer_is_asked_in_the_order_of_the_specification() {
        assert_eq!(
            well_known(&url("https://a.example/tenant/1/")),
            [
                "https://a.example/.well-known/oauth-authorization-server/tenant/1",
                "https://a.example/.well-known/openid-configuration/tenant/1",
                "https://a.example/tenant/1/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            well_known(&url("https://a.example")),
            [
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration",
            ]
        );
    }

    #[tokio::test]
    async fn an_issuer_is_asked_at_its_next_place_where_one_has_something_else() {
        let issuer = url("https://a.example/t");
        let documents = Documents::new(
            "https://a.example/.well-known/oauth-authorization-server/t",
            "<!doctype html><title>App</title>",
        );
        let fault = keys_of(&issuer, &*documents).await.unwrap_err().to_string();
        assert!(fault.contains("is no JSON object"), "{fault}");
        let good = r#"{"issuer":"https://a.example/t","jwks_uri":"https://a.example/k"}"#;
        documents.put("https://a.example/t/.well-known/openid-configuration", good);
        assert_eq!(keys_of(&issuer, &*documents).await, Ok(url("https://a.example/k")));
        documents.put("https://a.example/t/.well-known/openid-configuration", &good.replace("/t", "/u"));
        let fault = keys_of(&issuer, &*documents).await.unwrap_err().to_string();
        assert!(fault.contains("names another issuer"), "{fault}");
    }

    #[test]
    fn metadata_is_believed_only_of_its_own_issuer() {
        let issuer = url("https://a.example");
        let read = |text: &str| read(&issuer, text.as_bytes()).map(|url| url.to_string());
        let good = r#"{"issuer":"https://a.example","jwks_uri":"https://keys.example/k","more":1}"#;
        assert_eq!(read(good).unwrap(), "https://keys.example/k");
        for bad in [
            "",
            "[]",
            r#"{"jwks_uri":"https://a.example/k"}"#,
            r#"{"issuer":"https://a.example/","jwks_uri":"https://a.example/k"}"#,
            r#"{"issuer":"https://b.example","jwks_uri":"https://a.example/k"}"#,
            r#"{"issuer":"https://a.example"}"#,
            r#"{"issuer":"https://a.example","jwks_uri":"http://a.example/k"}"#,
            r#"{"issuer":"https://a.example","jwks_uri":"http://127.0.0.1/k"}"#,
            r#"{"issuer":"https://a.example","jwks_uri":"file:///etc/passwd"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}

//! What the proxy says of itself where it asks in its own name.

use crate::{Revision, json, meta};

/// Its name and version, as JSON.
fn info() -> String {
    format!(r#"{{"name":"shadowcat","version":{}}}"#, json::quote(env!("CARGO_PKG_VERSION")))
}

/// The parameters of its `initialize`, as JSON, with these capabilities.
pub fn handshake(capabilities: &str) -> String {
    let (revision, info) = (Revision::NEWEST_LEGACY.as_str(), info());
    format!(r#"{{"protocolVersion":"{revision}","capabilities":{capabilities},"clientInfo":{info}}}"#)
}

/// The metadata of its requests in the modern revision, as JSON, with these capabilities.
pub fn meta(capabilities: &str) -> String {
    let (revision, info) = (Revision::V2026_07_28.as_str(), info());
    let [version, client, declared] = [meta::VERSION, meta::CLIENT_INFO, meta::CAPABILITIES];
    format!(r#"{{"{version}":"{revision}","{client}":{info},"{declared}":{capabilities}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_named_alike_in_both_eras() {
        let capabilities = r#"{"roots":{}}"#;
        let (handshake, meta) = (handshake(capabilities), meta(capabilities));
        assert_eq!(Revision::of_handshake(&handshake), Some(Revision::NEWEST_LEGACY));
        let told = |text, path: &[&str]| json::get(text, path).map(str::to_owned);
        assert_eq!(told(&handshake, &["clientInfo"]), told(&meta, &[meta::CLIENT_INFO]));
        assert_eq!(told(&handshake, &["clientInfo", "name"]).as_deref(), Some(r#""shadowcat""#));
        assert_eq!(told(&handshake, &["capabilities"]).as_deref(), Some(capabilities));
        assert_eq!(told(&meta, &[meta::CAPABILITIES]).as_deref(), Some(capabilities));
    }
}

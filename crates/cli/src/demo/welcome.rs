//! What the demo says before the traffic: what to give a client, and a request to paste.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use shadowcat_protocol::Revision;

/// The whole greeting.
pub(super) fn text(address: SocketAddr, program: &Path, tapes: &Path) -> String {
    let url = format!("http://{address}/mcp");
    let (tapes, snippet, request) = (tapes.display(), snippet(&url, program), curl(&url));
    format!(
        "\
Shadowcat stands in front of a demo MCP server. Everything it carries is recorded in {tapes}.

For a client that speaks HTTP:   {url}
For a client's configuration (take one of the two):
{snippet}

A request to paste into another terminal:
{request}

Each message that passes, one line each (Ctrl-C ends it):
"
    )
}

fn snippet(url: &str, program: &Path) -> String {
    let snippet = json!({
        "mcpServers": {
            "shadowcat-over-http": {"type": "http", "url": url},
            "shadowcat-over-stdio": {"command": program.to_string_lossy(), "args": ["forward", url]}
        }
    });
    format!("{snippet:#}")
}

/// A call of the newest revision, which needs no handshake before it and carries its routing in headers.
pub(super) fn curl(url: &str) -> String {
    let revision = Revision::V2026_07_28.as_str();
    let body = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": "echo",
            "arguments": {"message": "hello"},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": revision,
                "io.modelcontextprotocol/clientInfo": {"name": "curl", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {}
            }
        }
    });
    format!(
        "curl -s {url} -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
         -H 'MCP-Protocol-Version: {revision}' -H 'Mcp-Method: tools/call' -H 'Mcp-Name: echo' -d '{body}'"
    )
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_greeting_is_what_a_person_needs() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8910));
        let text = text(address, Path::new("/usr/bin/shadowcat"), Path::new(".shadowcat/tapes"));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_request_keeps_the_rules_of_its_revision() {
        let line = curl("http://h/mcp");
        let body = line.split("-d '").nth(1).unwrap().trim_end_matches('\'');
        assert!(!body.contains('\''));
        let message = shadowcat_protocol::Message::parse(
            body.to_owned().into(),
            &shadowcat_protocol::Limits::default(),
        )
        .unwrap();
        let shadowcat_protocol::Message::Request(request) = message else { panic!("no request") };
        let values: Vec<(String, String)> = line
            .split("-H '")
            .skip(1)
            .filter_map(|part| part.split_once('\'')?.0.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let header = |name: &str| -> Vec<&[u8]> {
            values.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_bytes()).collect()
        };
        let revision = shadowcat_protocol::headers::check_modern(&request, header, &[Revision::V2026_07_28]);
        assert_eq!(revision.unwrap(), Revision::V2026_07_28);
    }
}

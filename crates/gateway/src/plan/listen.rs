//! Where the HTTP listener may bind: the loopback, or anywhere once somebody takes the blame.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::problems::Problems;

/// Reads an address with its port. Names are not resolved: what they mean may change after it was checked.
pub(super) fn parse(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_| sentence(text))
}

fn sentence(text: &str) -> String {
    if text.starts_with("unix:") || text.starts_with('/') {
        return "unix sockets are not served; give an address and a port, such as 127.0.0.1:8080".to_owned();
    }
    if text.parse::<IpAddr>().is_ok() {
        return "the port is missing; give an address and a port, such as 127.0.0.1:8080 or [::1]:8080"
            .to_owned();
    }
    "expected an IP address and a port, such as 127.0.0.1:8080; host names are not resolved".to_owned()
}

/// Looks whether each of these can be the value of a `Host` header.
pub(super) fn check_hosts(hosts: &[String], place: &str, problems: &mut Problems) {
    for host in hosts {
        if host.contains('@') || host.parse::<http::uri::Authority>().is_err() {
            problems.add(place, format!("`{host}` is no host; write `HOST` or `HOST:PORT`"));
        }
    }
}

/// Why an address beyond the loopback is refused.
pub(super) fn refusal(address: SocketAddr) -> String {
    format!(
        "{address} can be reached from other machines and clients are not authenticated; listen on 127.0.0.1, ask clients who \
         they are by `auth`, or put `i_accept_unauthenticated_remote_clients: true` under `http` in the configuration file"
    )
}

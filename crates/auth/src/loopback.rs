//! What only programs of this machine can reach: as an address, and as the host of a URL or of a header.

use std::net::IpAddr;

/// Whether an address is that of the loopback, also when IPv6 wraps an IPv4 one.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether a host, in lower case and without a port, is a name of the loopback. No name is resolved: what it means may change.
pub fn is_loopback_name(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_in_each_of_its_forms() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "::1", "[::ffff:127.0.0.1]"] {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in [
            "",
            "localhost.",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::ffff:10.0.0.1]",
            "0.0.0.0",
            "::",
        ] {
            assert!(!is_loopback_name(host), "{host}");
        }
    }
}

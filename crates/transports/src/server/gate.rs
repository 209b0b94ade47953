//! Who may talk to the server at all: the Host and Origin of every request, before anything else is read.
//!
//! A page in a browser can send requests to a server on the loopback address, and a name that is rebound to it makes
//! them look local. Both give themselves away in these two headers (2025-11-25 transports, security warning).

use http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use http::uri::Authority;
use shadowcat_auth::is_loopback_name;

/// The hosts and origins that are served.
#[derive(Clone, Debug)]
pub struct Gate {
    hosts: Vec<String>,
    origins: Vec<Origin>,
    loopback: bool,
}

/// A web origin: scheme, host and port, compared as such and never by prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

/// An origin in the configuration that is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no origin: write it as scheme://host or scheme://host:port")]
pub struct BadOrigin(String);

/// Why a request was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    Host,
    Origin,
}

impl Gate {
    /// Serves these hosts and origins; with `loopback` also every name of this machine's loopback address, on any
    /// port, as host and as origin.
    pub fn new(hosts: &[String], origins: &[String], loopback: bool) -> Result<Self, BadOrigin> {
        let origins = origins.iter().map(|text| Origin::parse(text).ok_or_else(|| BadOrigin(text.clone())));
        Ok(Self {
            hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            origins: origins.collect::<Result<_, _>>()?,
            loopback,
        })
    }

    /// Passes a request on, with its origin if it has one.
    pub(crate) fn check<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h HeaderValue>, TurnedAway> {
        let Ok(Some(host)) = single(headers, &HOST) else { return Err(TurnedAway::Host) };
        if !self.serves_host(host.to_str().map_err(|_| TurnedAway::Host)?) {
            return Err(TurnedAway::Host);
        }
        let origin = match single(headers, &ORIGIN) {
            Ok(Some(origin)) => origin,
            Ok(None) => return Ok(None),
            Err(Doubled) => return Err(TurnedAway::Origin),
        };
        let parsed = origin.to_str().ok().and_then(Origin::parse).ok_or(TurnedAway::Origin)?;
        let allowed = self.origins.contains(&parsed) || (self.loopback && is_loopback_name(&parsed.host));
        if allowed { Ok(Some(origin)) } else { Err(TurnedAway::Origin) }
    }

    fn serves_host(&self, text: &str) -> bool {
        if self.loopback && is_plain_loopback(text) {
            return true;
        }
        if text.contains('@') {
            return false;
        }
        let Ok(authority) = text.parse::<Authority>() else { return false };
        let (whole, name) = (text.to_ascii_lowercase(), authority.host().to_ascii_lowercase());
        self.hosts.iter().any(|host| *host == whole || *host == name)
            || (self.loopback && is_loopback_name(&name))
    }
}

/// A header that is there twice: two readers could believe two different values.
struct Doubled;

/// The only value of a header, if it is there.
fn single<'h>(headers: &'h HeaderMap, name: &http::HeaderName) -> Result<Option<&'h HeaderValue>, Doubled> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(Doubled) } else { Ok(first) }
}

/// The two spellings that nearly every local client uses, told without taking the text apart.
fn is_plain_loopback(text: &str) -> bool {
    let rest = text.strip_prefix("127.0.0.1").or_else(|| text.strip_prefix("localhost"));
    match rest.map(|rest| (rest.is_empty(), rest.strip_prefix(':'))) {
        Some((true, _)) => true,
        Some((false, Some(port))) => {
            port.parse::<u16>().is_ok() && port.bytes().all(|byte| byte.is_ascii_digit())
        }
        Some((false, None)) | None => false,
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        if !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
            return None;
        }
        if rest.contains(['/', '?', '#', '@', ' ', ',']) {
            return None;
        }
        let authority: Authority = rest.parse().ok()?;
        let standard = match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let port = match authority.port() {
            Some(port) => port.as_str().parse().ok()?,
            None if rest.ends_with(':') => return None,
            None => standard.unwrap_or_default(),
        };
        Some(Self { scheme, host: authority.host().to_ascii_lowercase(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(gate: &Gate, host: &str, origin: Option<&str>) -> Result<(), TurnedAway> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        gate.check(&headers).map(drop)
    }

    #[test]
    fn a_loopback_server_serves_its_own_names_only() {
        let gate = Gate::new(&[], &[], true).unwrap();
        for host in
            ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:80", "LOCALHOST", "[::ffff:127.0.0.1]:80"]
        {
            assert_eq!(verdict(&gate, host, None), Ok(()), "{host}");
        }
        for host in [
            "evil.example:3000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "a@localhost",
            "10.0.0.1",
        ] {
            assert_eq!(verdict(&gate, host, None), Err(TurnedAway::Host), "{host}");
        }
    }

    #[test]
    fn an_origin_is_compared_as_scheme_host_and_port() {
        let gate = Gate::new(&[], &["https://app.example".into()], true).unwrap();
        for origin in
            ["https://app.example", "https://APP.example:443", "http://localhost:6274", "http://[::1]:1"]
        {
            assert_eq!(verdict(&gate, "localhost", Some(origin)), Ok(()), "{origin}");
        }
        for origin in [
            "https://evil.example",
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil.example",
            "https://app.example@evil.example",
            "https://app.example/",
            "https://app.example https://evil.example",
            "null",
            "",
        ] {
            assert_eq!(verdict(&gate, "localhost", Some(origin)), Err(TurnedAway::Origin), "{origin}");
        }
    }

    #[test]
    fn doubled_headers_are_turned_away() {
        let gate = Gate::new(&[], &[], true).unwrap();
        let mut headers = HeaderMap::new();
        headers.append(HOST, "localhost".parse().unwrap());
        headers.append(ORIGIN, "http://localhost".parse().unwrap());
        headers.append(ORIGIN, "http://localhost".parse().unwrap());
        assert_eq!(gate.check(&headers), Err(TurnedAway::Origin));
        headers.append(HOST, "localhost".parse().unwrap());
        assert_eq!(gate.check(&headers), Err(TurnedAway::Host));
        assert_eq!(gate.check(&HeaderMap::new()), Err(TurnedAway::Host));
    }

    #[test]
    fn what_is_no_origin_is_refused_in_the_configuration() {
        assert!(Gate::new(&[], &["app.example".into()], false).is_err());
    }
}

//! Where a request goes: an http or https URL, taken apart once and valid from then on.
//!
//! Whether an address may be reached at all is no question of the URL and not decided here.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use rustls::pki_types::ServerName;

/// Longest URL taken; longer ones are refused by servers and proxies anyway.
const URL_BYTES_MAX: usize = 8 * 1024;

/// An endpoint of an upstream. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    origin: Arc<Origin>,
    path: PathAndQuery,
}

/// Scheme, host and port: what a connection is made to.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) host: Host,
    pub(super) port: u16,
    host_header: HeaderValue,
    authority: Authority,
    /// The name its certificate must be for; `None` without TLS.
    pub(super) tls_name: Option<ServerName<'static>>,
}

/// A host as it is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Host {
    Address(IpAddr),
    Name(Box<str>),
}

/// Why a text is no URL of an upstream. The text is not repeated: URLs are a popular place for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a URL, or one without a host.
    #[error("not a URL; write it as http(s)://HOST[:PORT]/PATH, other characters percent-encoded")]
    NotUrl,
    /// Longer than any server takes.
    #[error("the URL is longer than {URL_BYTES_MAX} bytes; send long values as headers")]
    TooLong,
    /// Another scheme than http and https.
    #[error("the scheme is neither http nor https; only these two are spoken to a URL")]
    Scheme,
    /// A user name or password in front of the host.
    #[error("holds a user name; credentials go into a header")]
    UserInfo,
    /// A part behind `#`.
    #[error("holds a fragment (`#...`), which is never sent; remove it")]
    Fragment,
    /// A host that is neither a name nor an address.
    #[error(
        "the host is neither a name nor an address; write names in ASCII and IPv6 addresses in [brackets]"
    )]
    Host,
    /// A port outside 1 to 65535.
    #[error("the port is not a number from 1 to 65535; leave it out for the scheme's own")]
    Port,
}

impl Target {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// What is wrong with it, and the way out.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        if url.len() > URL_BYTES_MAX {
            return Err(TargetError::TooLong);
        }
        // The parser would drop it silently.
        if url.contains('#') {
            return Err(TargetError::Fragment);
        }
        let uri: Uri = url.parse().map_err(|_| TargetError::NotUrl)?;
        let origin = Origin::of(&uri)?;
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { origin: Arc::new(origin), path })
    }

    /// The target of a reference found at this one (RFC 3986, section 5.2): a URL, or a part of one.
    ///
    /// # Errors
    /// As for [`Target::parse`].
    pub fn join(&self, reference: &str) -> Result<Self, TargetError> {
        if reference.len() > URL_BYTES_MAX {
            return Err(TargetError::TooLong);
        }
        if reference.contains('#') {
            return Err(TargetError::Fragment);
        }
        if has_scheme(reference) {
            return Self::parse(reference);
        }
        if reference.starts_with("//") {
            return Self::parse(&format!("{}:{reference}", self.scheme()));
        }
        let (path, query) = match reference.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (reference, None),
        };
        let (path, query) = match path {
            "" => (self.path.path().to_owned(), query.or(self.path.query())),
            path if path.starts_with('/') => (without_dots(path), query),
            path => {
                let folder = self.path.path().rsplit_once('/').map_or("", |(folder, _)| folder);
                (without_dots(&format!("{folder}/{path}")), query)
            }
        };
        let joined = query.map_or(path.clone(), |query| format!("{path}?{query}"));
        let path = PathAndQuery::try_from(joined).map_err(|_| TargetError::NotUrl)?;
        Ok(Self { origin: Arc::clone(&self.origin), path })
    }

    /// Whether both have the same scheme, host and port.
    pub fn same_origin(&self, other: &Self) -> bool {
        self.origin == other.origin
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        self.origin.scheme()
    }

    /// The name or address connected to.
    pub fn host(&self) -> String {
        self.origin.host.to_string()
    }

    /// The port connected to.
    pub fn port(&self) -> u16 {
        self.origin.port
    }

    /// Path and query as sent.
    pub fn path_and_query(&self) -> Uri {
        Uri::from(self.path.clone())
    }

    /// The value of the `Host` header.
    pub fn host_header(&self) -> &HeaderValue {
        &self.origin.host_header
    }

    pub(super) fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// The whole URL, as HTTP/2 sends it.
    #[expect(clippy::expect_used, reason = "all three parts are there and were each parsed before")]
    pub(super) fn absolute(&self) -> Uri {
        let mut parts = Parts::default();
        parts.scheme = Some(if self.origin.tls_name.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(self.origin.authority.clone());
        parts.path_and_query = Some(self.path.clone());
        Uri::from_parts(parts).expect("scheme, authority and path make a URI")
    }
}

/// Without the query, which may hold a secret.
impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.origin, self.path.path())
    }
}

impl Origin {
    fn of(uri: &Uri) -> Result<Self, TargetError> {
        let scheme = uri.scheme().ok_or(TargetError::NotUrl)?;
        let is_tls = *scheme == Scheme::HTTPS;
        if !is_tls && *scheme != Scheme::HTTP {
            return Err(TargetError::Scheme);
        }
        let authority = uri.authority().ok_or(TargetError::NotUrl)?;
        if authority.as_str().contains('@') {
            return Err(TargetError::UserInfo);
        }
        let host = Host::parse(authority.host())?;
        let usual = if is_tls { 443 } else { 80 };
        let port = port(authority.as_str(), authority.host())?.unwrap_or(usual);
        let header = if port == usual { host.to_string() } else { format!("{host}:{port}") };
        let tls_name = if is_tls { Some(host.tls_name()?) } else { None };
        let host_header = HeaderValue::try_from(&header).map_err(|_| TargetError::Host)?;
        let authority = Authority::try_from(header).map_err(|_| TargetError::Host)?;
        Ok(Self { host, port, host_header, authority, tls_name })
    }

    fn scheme(&self) -> &'static str {
        if self.tls_name.is_some() { "https" } else { "http" }
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.host == other.host && self.port == other.port && self.scheme() == other.scheme()
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.host.hash(state);
        self.port.hash(state);
        self.scheme().hash(state);
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}:{}", self.scheme(), self.host, self.port)
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, TargetError> {
        if let Some(bracketed) = text.strip_prefix('[') {
            let address = bracketed.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            return address.map(|address| Self::Address(address.into())).ok_or(TargetError::Host);
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        // 127.1, 0x7f000001 and 0177.0.0.1 are addresses to resolvers and names to everybody else: refused as both.
        let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
            || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if !is_plain || is_number {
            return Err(TargetError::Host);
        }
        Ok(Self::Name(text.to_ascii_lowercase().into()))
    }

    fn tls_name(&self) -> Result<ServerName<'static>, TargetError> {
        match self {
            Self::Address(address) => Ok(ServerName::from(*address)),
            Self::Name(name) => ServerName::try_from(name.to_string()).map_err(|_| TargetError::Host),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(address)) => write!(out, "[{address}]"),
            Self::Address(IpAddr::V4(address)) => write!(out, "{address}"),
            Self::Name(name) => out.write_str(name),
        }
    }
}

fn port(authority: &str, host: &str) -> Result<Option<u16>, TargetError> {
    let Some(rest) = authority.strip_prefix(host).filter(|rest| !rest.is_empty()) else { return Ok(None) };
    let digits = rest.strip_prefix(':').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let port = digits.and_then(|digits| digits.parse::<u16>().ok()).filter(|port| *port != 0);
    port.map(Some).ok_or(TargetError::Port)
}

fn has_scheme(reference: &str) -> bool {
    let scheme = reference.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// RFC 3986, section 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.trim_start_matches('/').split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => {
                kept.push(segment);
                continue;
            }
        }
        if is_last {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (String, String, String) {
        let target = Target::parse(url).unwrap();
        let host = target.host_header().to_str().unwrap().to_owned();
        (target.origin.to_string(), host, target.path_and_query().to_string())
    }

    #[test]
    fn a_url_is_taken_apart() {
        let check = |url, origin: &str, host: &str, path: &str| {
            assert_eq!(parsed(url), (origin.into(), host.into(), path.into()), "{url}");
        };
        check("http://example.com/mcp", "http://example.com:80", "example.com", "/mcp");
        check("https://EXAMPLE.com", "https://example.com:443", "example.com", "/");
        check("https://example.com:443/a?b=c&d", "https://example.com:443", "example.com", "/a?b=c&d");
        check("http://example.com:443/", "http://example.com:443", "example.com:443", "/");
        check("http://127.0.0.1:8080/mcp", "http://127.0.0.1:8080", "127.0.0.1:8080", "/mcp");
        check("https://[::1]:8443/mcp", "https://[::1]:8443", "[::1]:8443", "/mcp");
        check("http://a_b.internal?x", "http://a_b.internal:80", "a_b.internal", "/?x");
    }

    #[test]
    fn a_refused_url_is_told_why() {
        let check = |url: &str, error| assert_eq!(Target::parse(url), Err(error), "{url}");
        check("", TargetError::NotUrl);
        check("/mcp", TargetError::NotUrl);
        check("example.com/mcp", TargetError::NotUrl);
        check("http://", TargetError::NotUrl);
        check("http://exa mple/", TargetError::NotUrl);
        check("ftp://example.com/", TargetError::Scheme);
        check("file:///etc/passwd", TargetError::NotUrl);
        check("http://user@example.com/", TargetError::UserInfo);
        check("http://user:pass@example.com/", TargetError::UserInfo);
        check("http://example.com/#part", TargetError::Fragment);
        check("http://127.1/", TargetError::Host);
        check("http://0x7f000001/", TargetError::Host);
        check("http://2130706433/", TargetError::Host);
        check("http://0177.0.0.1/", TargetError::Host);
        check("http://exa%6dple.com/", TargetError::NotUrl);
        check("http://[::1%25eth0]/", TargetError::Host);
        check("http://example.com:0/", TargetError::Port);
        check("http://example.com:/", TargetError::Port);
        check(&format!("http://example.com/{}", "x".repeat(URL_BYTES_MAX)), TargetError::TooLong);
    }

    #[test]
    fn a_reference_is_resolved_against_the_place_it_was_found_at() {
        let base = Target::parse("http://h:1/a/sse?token=1").unwrap();
        let check = |reference: &str, url: &str| {
            let joined = base.join(reference).unwrap();
            assert_eq!(joined, Target::parse(url).unwrap(), "{reference}");
        };
        check("/messages?sessionId=7", "http://h:1/messages?sessionId=7");
        check("messages", "http://h:1/a/messages");
        check("../messages/./x", "http://h:1/messages/x");
        check("../../../x/..", "http://h:1/");
        check("?sessionId=7", "http://h:1/a/sse?sessionId=7");
        check("", "http://h:1/a/sse?token=1");
        check("//other/x", "http://other/x");
        check("https://other:2/x", "https://other:2/x");
        check("/at?u=http://x/", "http://h:1/at?u=http://x/");
        assert_eq!(base.join("ftp://x/"), Err(TargetError::Scheme));
        assert_eq!(base.join("/x#y"), Err(TargetError::Fragment));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| Target::parse(a).unwrap().same_origin(&Target::parse(b).unwrap());
        assert!(same("http://H/a", "http://h:80/b"));
        assert!(!same("http://h/", "https://h/"));
        assert!(!same("http://h/", "http://h:81/"));
        assert!(!same("http://h/", "http://i/"));
    }

    #[test]
    fn a_printed_target_keeps_its_query_to_itself() {
        assert_eq!(Target::parse("https://h/mcp?key=secret").unwrap().to_string(), "https://h:443/mcp");
    }
}

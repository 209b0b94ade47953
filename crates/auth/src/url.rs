//! URLs that are trusted to say who somebody is.

use std::fmt;

use http::Uri;

use crate::loopback::is_loopback_name;

/// A URL that a key, or word of one, may come from: `https`, or `http` on the loopback address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    text: Box<str>,
    uri: Uri,
}

/// Why a text is none. It is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// No URL with a host.
    #[error("is no URL; write it as https://HOST/PATH")]
    NotUrl,
    /// Whoever stands in between could change it.
    #[error("must be https; http is for the loopback address only")]
    Scheme,
    /// A user name, or a part behind `#`.
    #[error("holds a user name or a fragment; leave it out")]
    Extra,
}

impl Url {
    /// Reads one.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        if text.contains(['#', '@']) {
            return Err(BadUrl::Extra);
        }
        let uri: Uri = text.parse().map_err(|_| BadUrl::NotUrl)?;
        match (uri.scheme_str(), uri.host()) {
            (None, _) | (_, None | Some("")) => Err(BadUrl::NotUrl),
            (Some("https"), _) => Ok(Self { text: text.into(), uri }),
            (Some("http"), Some(host)) if is_loopback_name(host) => Ok(Self { text: text.into(), uri }),
            (Some(_), _) => Err(BadUrl::Scheme),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether there is a part behind `?`, which no issuer has (RFC 8414, 2).
    pub fn has_query(&self) -> bool {
        self.uri.query().is_some()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Scheme and authority.
    pub(crate) fn origin(&self) -> String {
        let authority = self.uri.authority().map_or("", http::uri::Authority::as_str);
        format!("{}://{authority}", self.uri.scheme_str().unwrap_or_default())
    }

    /// The path without a slash at its end.
    pub(crate) fn path(&self) -> &str {
        self.uri.path().trim_end_matches('/')
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_is_trusted_beyond_the_loopback() {
        for good in [
            "https://login.example",
            "https://a.example:8443/x?y=1",
            "http://127.0.0.1:9/k",
            "http://[::1]/k",
        ] {
            assert_eq!(Url::parse(good).map(|url| url.to_string()).as_deref(), Ok(good), "{good}");
        }
        for (bad, why) in [
            ("http://login.example/k", BadUrl::Scheme),
            ("http://localhost.evil.example/k", BadUrl::Scheme),
            ("ftp://login.example/k", BadUrl::Scheme),
            ("https://a@login.example/k", BadUrl::Extra),
            ("https://login.example/k#x", BadUrl::Extra),
            ("login.example", BadUrl::NotUrl),
            ("/k", BadUrl::NotUrl),
            ("", BadUrl::NotUrl),
        ] {
            assert_eq!(Url::parse(bad), Err(why), "{bad}");
        }
    }
}

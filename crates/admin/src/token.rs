//! Who may: whoever knows a token, which is made at the start or read from a file.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use http::HeaderMap;
use shadowcat_auth::{Digest, bearer, is_token};

/// Bytes of a token that is made here.
const MADE_BYTES: usize = 32;
/// A shorter one could be guessed.
const LENGTH_MIN: usize = 16;
/// A longer one does not fit into a header beside others.
const LENGTH_MAX: usize = 4096;
/// Open to anybody else than its owner.
const OTHERS: u32 = 0o077;

/// A secret that opens the API.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token file {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can read it, and so would have the token.
    #[error("{0}: others can read this token; `chmod 600 {0}`")]
    Open(PathBuf),
    /// What is in the file is no token.
    #[error(
        "{0}: expected one line of {LENGTH_MIN} to {LENGTH_MAX} letters, digits or `-._~+/`, such as `openssl rand -hex 32` makes"
    )]
    NoToken(PathBuf),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers for a token")]
    NoRandomness(#[from] getrandom::Error),
}

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random numbers to give.
    pub fn make() -> Result<Self, TokenError> {
        use fmt::Write as _;
        let mut bytes = [0_u8; MADE_BYTES];
        getrandom::fill(&mut bytes)?;
        let mut text = String::with_capacity(2 * MADE_BYTES);
        for byte in bytes {
            // Writing to memory cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(text))
    }

    /// The one in this file, which nobody else may be able to read.
    ///
    /// # Errors
    /// Each names the file and the way out.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let unreadable = |source| TokenError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.mode() & OTHERS != 0 {
            return Err(TokenError::Open(path.to_owned()));
        }
        let mut text = String::new();
        file.take(LENGTH_MAX as u64 + 2).read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(&text).ok_or_else(|| TokenError::NoToken(path.to_owned()))
    }

    /// What a person or a file says.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end_matches(['\n', '\r']);
        let is_one = (LENGTH_MIN..=LENGTH_MAX).contains(&text.len()) && is_token(text);
        is_one.then(|| Self(text.to_owned()))
    }

    /// The token itself, for those who are to know it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether a request with these headers carries it.
    pub(crate) fn opens(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_ok_and(|given| Digest::of(&self.0).is_of(given))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use http::HeaderValue;
    use http::header::AUTHORIZATION;

    use super::*;

    #[test]
    fn only_the_token_itself_opens() {
        let token = Token::parse("0123456789abcdef").unwrap();
        let opens = |header: &str| {
            let value = HeaderValue::from_str(header).unwrap();
            token.opens(&HeaderMap::from_iter([(AUTHORIZATION, value)]))
        };
        assert!(opens("Bearer 0123456789abcdef") && opens("bearer  0123456789abcdef "));
        for header in ["", "Bearer", "Bearer ", "0123456789abcdef", "Basic 0123456789abcdef"] {
            assert!(!opens(header), "{header}");
        }
        for header in ["Bearer 0123456789abcdeF", "Bearer 0123456789abcde", "Bearer 0123456789abcdef0"] {
            assert!(!opens(header), "{header}");
        }
        assert!(!token.opens(&HeaderMap::new()));
    }

    #[test]
    fn each_made_token_is_another_one_and_is_not_shown() {
        let (one, other) = (Token::make().unwrap(), Token::make().unwrap());
        assert!(one != other && one.reveal().len() == 64);
        assert_eq!(format!("{one:?}"), "***");
    }

    #[test]
    fn a_file_is_taken_that_holds_one_and_is_closed_to_others() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let said = |text: &str, mode: u32| {
            std::fs::write(file.path(), text).unwrap();
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            Token::read(file.path()).map(|token| token.reveal().to_owned()).map_err(|error| error.to_string())
        };
        assert_eq!(said("0123456789abcdef\n", 0o600).as_deref(), Ok("0123456789abcdef"));
        assert!(said("0123456789abcdef\n", 0o640).unwrap_err().contains("chmod 600"));
        for text in [
            "",
            "short\n",
            "0123456789 abcdef\n",
            "0123456789!abcdef\n",
            "0123456789abcdef\nmore\n",
            &"x".repeat(5000),
        ] {
            assert!(said(text, 0o600).unwrap_err().contains("expected one line"), "{text}");
        }
        let told = Token::read(Path::new("/nowhere/token")).unwrap_err().to_string();
        assert_eq!(told, "cannot read the token file /nowhere/token");
    }
}

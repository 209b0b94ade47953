//! The bearer token of a request, in the one place where it may be (RFC 6750, 2.1).

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::denial::Denial;

/// The longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
const SCHEME: &str = "bearer";

/// The token that came with a request.
///
/// # Errors
/// [`Denial::Missing`] if there is none, [`Denial::Malformed`] if there is no telling which one is meant.
pub fn bearer(headers: &HeaderMap) -> Result<&str, Denial> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let first = values.next().ok_or(Denial::Missing)?;
    if values.next().is_some() {
        return Err(Denial::Malformed("is there twice"));
    }
    let text = first.to_str().map_err(|_| Denial::Malformed("is not ASCII"))?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        // Another scheme is no try that went wrong: its client is told which one is asked for.
        return Err(Denial::Missing);
    }
    let token = token.trim_matches(' ');
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Denial::Malformed("holds a token that is too long"));
    }
    if is_token(token) { Ok(token) } else { Err(Denial::Malformed("holds no token")) }
}

/// Whether a text can be sent as a bearer token: letters, digits and `-._~+/`, then any number of `=`.
pub fn is_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let is_in = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !body.is_empty() && body.bytes().all(is_in)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(values: &[&str]) -> Result<String, Denial> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        bearer(&headers).map(str::to_owned)
    }

    #[test]
    fn a_token_is_read_from_its_header_and_nothing_else_is_one() {
        for written in ["Bearer abc.d-e_f~g+h/i==", "bearer abc.d-e_f~g+h/i==", "BEARER   abc.d-e_f~g+h/i== "]
        {
            assert_eq!(read(&[written]).as_deref(), Ok("abc.d-e_f~g+h/i=="), "{written}");
        }
        for none in [&[][..], &["Basic YTpi"], &["Digest username=\"a\""], &["abc"], &[""]] {
            assert_eq!(read(none), Err(Denial::Missing), "{none:?}");
        }
        for bad in [
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer a,b",
            "Bearer \"a\"",
            "Bearer =",
            "Bearer a=b",
            "Bearer a\tb",
        ] {
            assert_eq!(read(&[bad]), Err(Denial::Malformed("holds no token")), "{bad}");
        }
        assert_eq!(read(&["Bearer a", "Bearer a"]), Err(Denial::Malformed("is there twice")));
        assert_eq!(read(&["Bearer a", "Basic b"]), Err(Denial::Malformed("is there twice")));
        assert!(matches!(read(&[&format!("Bearer {}", "a".repeat(20_000))]), Err(Denial::Malformed(_))));
    }

    proptest! {
        #[test]
        fn any_token_is_read_as_it_was_sent(token in "[A-Za-z0-9._~+/-]{1,80}={0,3}", scheme in "[Bb][Ee][Aa][Rr][Ee][Rr]", gap in " {1,4}") {
            prop_assert_eq!(read(&[&format!("{scheme}{gap}{token}")]), Ok(token));
        }

        #[test]
        fn what_is_read_is_a_part_of_what_was_sent_and_a_token(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
                if let Ok(token) = bearer(&headers) {
                    prop_assert!(is_token(token));
                    prop_assert!(bytes[..6].eq_ignore_ascii_case(SCHEME.as_bytes()));
                    prop_assert!(bytes.ends_with(token.as_bytes()) || bytes.ends_with(b" "));
                }
            }
        }
    }
}

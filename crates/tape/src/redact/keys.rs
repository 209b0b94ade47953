//! Names under which credentials go: members of JSON, headers, variables, query parameters.

/// Names that end so, written without separators and in lower case, hold a secret: `GITHUB_TOKEN`, `x-api-key`,
/// `clientSecret`, `awsSecretAccessKey`.
const ENDINGS: [&str; 24] = [
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "authorization",
    "apikey",
    "accesskey",
    "accesskeyid",
    "secretkey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "sharedkey",
    "authkey",
    "credential",
    "credentials",
    "cookie",
    "cookies",
    "sessionid",
    "connectionstring",
    "clientassertion",
];

/// Names that are secrets only as a whole.
const WHOLE: [&str; 13] = [
    "pass",
    "auth",
    "jwt",
    "dpop",
    "otp",
    "totp",
    "requeststate",
    "codeverifier",
    "authcode",
    "authorizationcode",
    "devicecode",
    "sessid",
    "phpsessid",
];

/// Names that end like a secret and are none: positions in lists, counts, and the vocabulary of language models.
const INNOCENT: [&str; 15] = [
    "progresstoken",
    "nextpagetoken",
    "pagetoken",
    "nexttoken",
    "continuationtoken",
    "synctoken",
    "canceltoken",
    "cancellationtoken",
    "stoptoken",
    "eostoken",
    "bostoken",
    "padtoken",
    "unktoken",
    "maxtoken",
    "pertoken",
];

/// A longer name is prose, not a name.
const NAME_BYTES_MAX: usize = 128;

/// The names above, and those of the operator.
#[derive(Debug)]
pub(super) struct Names {
    /// Without separators and in lower case.
    own: Vec<String>,
}

impl Names {
    pub(super) fn new(own: &[String]) -> Self {
        Self { own: own.iter().map(|name| plain(name)).collect() }
    }

    /// Whether what goes under this name is a secret.
    pub(super) fn are_of_secrets(&self, name: &str) -> bool {
        if name.len() > NAME_BYTES_MAX {
            return false;
        }
        let plain = plain(name);
        if self.own.contains(&plain) {
            return true;
        }
        if INNOCENT.iter().any(|innocent| plain.ends_with(innocent)) {
            return false;
        }
        WHOLE.contains(&plain.as_str()) || ENDINGS.iter().any(|ending| plain.ends_with(ending))
    }
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Names that say that the member `value` beside them goes under the name they hold, as in a list of headers.
pub(super) fn names_its_sibling(name: &str) -> bool {
    ["name", "key", "header", "variable"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Members that hold the definitions of a JSON schema: what is below a secret's name there describes it.
pub(super) fn holds_schemas(name: &str) -> bool {
    ["properties", "$defs", "definitions"].contains(&name)
}

/// Members of a schema that hold values and not descriptions.
pub(super) fn is_schema_value(name: &str) -> bool {
    ["default", "const", "enum", "example", "examples"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_secret(name: &str) -> bool {
        Names::new(&[]).are_of_secrets(name)
    }

    #[test]
    fn secrets_are_known_in_every_spelling() {
        for name in [
            "token",
            "access_token",
            "refreshToken",
            "id-token",
            "GITHUB_TOKEN",
            "client_secret",
            "clientSecret",
            "Password",
            "db.password",
            "passwd",
            "Authorization",
            "Proxy-Authorization",
            "api_key",
            "apikey",
            "X-API-Key",
            "cookie",
            "Set-Cookie",
            "private_key",
            "Mcp-Session-Id",
            "sessionId",
            "requestState",
            "AWS_SECRET_ACCESS_KEY",
            "awsAccessKeyId",
            "mcp-param-api-key",
        ] {
            assert!(is_secret(name), "{name}");
        }
    }

    #[test]
    fn counts_and_places_are_no_secrets() {
        for name in [
            "progressToken",
            "nextCursor",
            "cursor",
            "tokenCount",
            "maxTokens",
            "max_tokens",
            "tokens",
            "total_tokens",
            "nextPageToken",
            "secretary",
            "passed",
            "compass",
            "author",
            "keyboard",
            "key",
            "code",
            "name",
            "session",
            "tokenizer",
            "input_tokens",
            "id",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}

//! `${VAR}` and `${VAR:-default}` in values of the file.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// The environment at the start, read once.
#[derive(Clone, Debug, Default)]
pub struct Variables(BTreeMap<OsString, OsString>);

impl Variables {
    /// The value of a variable; one that is set to nothing counts as unset.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }
}

impl FromIterator<(OsString, OsString)> for Variables {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// Why a value could not be expanded. Names of variables are shown, values never.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExpandError {
    #[error("the variable {0} is not set; set it, or write ${{{0}:-default}}")]
    Unset(String),
    #[error("the variable {0} is not valid UTF-8")]
    NotUtf8(String),
    #[error("`${{` is not followed by a variable's name and `}}`; a literal `${{` is written `$${{`")]
    Malformed,
}

/// Replaces each `${VAR}`; `$${` stands for a literal `${`.
pub(crate) fn expand(text: &str, variables: &Variables) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        if let Some(literal) = before.strip_suffix('$') {
            out.push_str(literal);
            out.push_str("${");
            rest = reference.strip_prefix("${").unwrap_or_default();
            continue;
        }
        out.push_str(before);
        let (inner, after) =
            reference.strip_prefix("${").and_then(|r| r.split_once('}')).ok_or(ExpandError::Malformed)?;
        out.push_str(&value_of(inner, variables)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn value_of(inner: &str, variables: &Variables) -> Result<String, ExpandError> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_name {
        return Err(ExpandError::Malformed);
    }
    match (variables.get(name), default) {
        (Some(value), _) => {
            value.to_str().map(str::to_owned).ok_or_else(|| ExpandError::NotUtf8(name.to_owned()))
        }
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(ExpandError::Unset(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_by_their_values() {
        let variables = Variables::from_iter([("TOKEN".into(), "t".into()), ("EMPTY".into(), "".into())]);
        let unset = |name: &str| Err(ExpandError::Unset(name.to_owned()));
        for (text, expected) in [
            ("plain $HOME", Ok("plain $HOME".to_owned())),
            ("Bearer ${TOKEN}!", Ok("Bearer t!".to_owned())),
            ("${NONE:-a:-b}${TOKEN}", Ok("a:-bt".to_owned())),
            ("${EMPTY:-x}", Ok("x".to_owned())),
            ("$${TOKEN}", Ok("${TOKEN}".to_owned())),
            ("${NONE}", unset("NONE")),
            ("${TOKEN", Err(ExpandError::Malformed)),
            ("${}", Err(ExpandError::Malformed)),
            ("${env:TOKEN}", Err(ExpandError::Malformed)),
        ] {
            assert_eq!(expand(text, &variables), expected, "{text}");
        }
    }
}

//! Who asks.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value};

/// Who asks: the name that sessions, pools and limits are keyed by, and what else is known of them.
///
/// Two are the same if their names are: what a newer credential says of somebody does not make them somebody else.
#[derive(Clone)]
pub struct Principal(Arc<Known>);

struct Known {
    name: Box<str>,
    claims: Value,
    expires: Option<SystemTime>,
}

impl Principal {
    /// Somebody of this name, of whom nothing else is known.
    pub fn named(name: &str) -> Self {
        Self::new(name, Map::new(), None)
    }

    /// Somebody of this name, what their credential says of them, and from when on it is accepted no more.
    pub fn new(name: &str, claims: Map<String, Value>, expires: Option<SystemTime>) -> Self {
        Self(Arc::new(Known { name: name.into(), claims: Value::Object(claims), expires }))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What the credential says of them: an object.
    pub fn claims(&self) -> &Value {
        &self.0.claims
    }

    /// From when on the credential is accepted no more, if ever.
    pub fn expires(&self) -> Option<SystemTime> {
        self.0.expires
    }
}

impl PartialEq for Principal {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Principal {}

impl Hash for Principal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

/// The name alone: claims are what somebody told their issuer in confidence.
impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Principal").field(&self.name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_newer_credential_does_not_make_somebody_else() {
        let claims = Map::from_iter([("role".to_owned(), "admin".into())]);
        let ann = Principal::new("ann", claims, Some(SystemTime::UNIX_EPOCH));
        assert_eq!(ann, Principal::named("ann"));
        assert_ne!(ann, Principal::named("bob"));
        assert!(HashSet::from([ann.clone()]).contains(&Principal::named("ann")));
        assert_eq!(format!("{ann:?}"), r#"Principal("ann")"#);
    }
}

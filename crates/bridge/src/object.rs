//! A JSON object as raw text: its members can be changed, and what nobody changes stays as it was written.

use std::borrow::Cow;

use shadowcat_protocol::json;

/// The members of an object, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Object<'a> {
    /// The members of this JSON text; none if it is no object.
    pub(crate) fn parse(raw: &'a str) -> Self {
        Self(json::members(raw).map(|(key, value)| (key, Cow::Borrowed(value))).collect())
    }

    /// The members of this JSON text, or of no text at all.
    pub(crate) fn of(raw: Option<&'a str>) -> Self {
        raw.map(Self::parse).unwrap_or_default()
    }

    /// The JSON text of a member.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| &**value)
    }

    /// Puts JSON text in the place of a member, or behind the last.
    pub(crate) fn set(&mut self, key: &'a str, raw: impl Into<Cow<'a, str>>) {
        let raw = raw.into();
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, value)) => *value = raw,
            None => self.0.push((Cow::Borrowed(key), raw)),
        }
    }

    /// The object with a member set.
    #[must_use]
    pub(crate) fn with(mut self, key: &'a str, raw: impl Into<Cow<'a, str>>) -> Self {
        self.set(key, raw);
        self
    }

    /// Takes a member out.
    pub(crate) fn remove(&mut self, key: &str) -> Option<Cow<'a, str>> {
        let place = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.remove(place).1)
    }

    /// The object without these members.
    #[must_use]
    pub(crate) fn without(mut self, keys: &[&str]) -> Self {
        self.0.retain(|(key, _)| !keys.contains(&&**key));
        self
    }

    /// Whether there is no member.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys and the JSON text of their values.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The object as JSON text.
    pub(crate) fn to_json(&self) -> String {
        // Quotes, a colon and a comma; a key that needs escapes is rare.
        let bytes: usize = self.0.iter().map(|(key, value)| key.len() + value.len() + 4).sum();
        let mut out = String::with_capacity(bytes + 2);
        out.push('{');
        for (key, value) in &self.0 {
            if out.len() > 1 {
                out.push(',');
            }
            out.push_str(&json::quote(key));
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_nobody_changes_keep_their_order_and_digits() {
        let object = Object::parse(r#"{"b":1.0, "a" : {"x": [1 ,2]}, "c":"é"}"#);
        assert_eq!(object.to_json(), r#"{"b":1.0,"a":{"x": [1 ,2]},"c":"é"}"#);
    }

    #[test]
    fn a_member_is_replaced_in_its_place_and_added_at_the_end() {
        let object = Object::parse(r#"{"a":1,"b":2}"#).with("a", "3").with("z", "null");
        assert_eq!(object.to_json(), r#"{"a":3,"b":2,"z":null}"#);
    }

    #[test]
    fn what_is_taken_out_is_given_back() {
        let mut object = Object::parse(r#"{"a":1,"b":{"c":2}}"#);
        assert_eq!(object.remove("b").as_deref(), Some(r#"{"c":2}"#));
        assert_eq!(object.remove("b"), None);
        assert_eq!(object.get("a"), Some("1"));
        assert!(object.without(&["a"]).is_empty());
    }

    #[test]
    fn keys_are_compared_decoded() {
        let object = Object::parse(r#"{"\u0061":1}"#);
        assert_eq!(object.get("a"), Some("1"));
    }
}

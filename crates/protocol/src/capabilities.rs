//! What a server offers.

use crate::json;

/// Whether a capability is offered among these: an object, or a member of one that is true.
pub fn offers(capabilities: &str, path: &[&str]) -> bool {
    json::get(capabilities, path).is_some_and(|raw| raw == "true" || raw.starts_with('{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_offered_and_what_is_true_in_it() {
        let capabilities =
            r#"{"tools":{"listChanged":true},"logging":{},"prompts":{"listChanged":false},"x":"true"}"#;
        let offers = |path: &[&str]| offers(capabilities, path);
        assert!(offers(&["tools"]) && offers(&["tools", "listChanged"]) && offers(&["logging"]));
        for path in [&["prompts", "listChanged"] as &[&str], &["x"], &["resources"], &["logging", "y"]] {
            assert!(!offers(path), "{path:?}");
        }
        assert!(!super::offers("", &["tools"]));
    }
}

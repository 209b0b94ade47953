//! What a subscription of the modern revision is for: the lists that may change, and resources.

use std::collections::BTreeSet;

use crate::{Notification, json, method};

/// The most resources of one subscription.
pub const RESOURCES_MAX: usize = 1_000;
/// The longest URI of a resource that is subscribed to: all are said again with each change.
pub const URI_BYTES_MAX: usize = 8 * 1024;
/// All URIs of one subscription together.
pub const URIS_BYTES_MAX: usize = 256 * 1024;

const RESOURCES: &str = "resourceSubscriptions";

/// A list that may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct List {
    /// What asks for it in a filter.
    member: &'static str,
    /// Who offers it.
    capability: &'static str,
    /// What tells of it.
    notification: &'static str,
}

const LISTS: [List; 3] = [
    List { member: "toolsListChanged", capability: "tools", notification: method::TOOLS_CHANGED },
    List { member: "promptsListChanged", capability: "prompts", notification: method::PROMPTS_CHANGED },
    List { member: "resourcesListChanged", capability: "resources", notification: method::RESOURCES_CHANGED },
];

/// What is asked for, or what was granted of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    lists: Vec<List>,
    /// The resources.
    pub uris: BTreeSet<String>,
}

impl Filter {
    /// What the parameters of `subscriptions/listen` ask for, or those of its acknowledgement grant.
    pub fn read(params: Option<&str>) -> Self {
        let member = |name| params.and_then(|params| json::get(params, &["notifications", name]));
        let uris = json::elements(member(RESOURCES).unwrap_or_default()).filter_map(json::string);
        Self {
            lists: LISTS.into_iter().filter(|list| member(list.member) == Some("true")).collect(),
            uris: uris.map(Into::into).take(RESOURCES_MAX).collect(),
        }
    }

    /// Every list that may change at a server that offers this much.
    pub fn lists(offers: impl Fn(&[&str]) -> bool) -> Self {
        Self { lists: LISTS.to_vec(), uris: BTreeSet::new() }.with_offered_lists(offers)
    }

    /// These resources.
    pub fn resources(uris: BTreeSet<String>) -> Self {
        Self { lists: Vec::new(), uris }
    }

    /// Without the lists that do not change at a server that offers this much.
    #[must_use]
    pub fn with_offered_lists(mut self, offers: impl Fn(&[&str]) -> bool) -> Self {
        self.lists.retain(|list| offers(&[list.capability, "listChanged"]));
        self
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.uris.is_empty()
    }

    /// Whether notifications of this method are wanted, some of them at least.
    pub fn wants(&self, notification: &str) -> bool {
        match notification {
            method::RESOURCE_UPDATED => !self.uris.is_empty(),
            _ => self.lists.iter().any(|list| list.notification == notification),
        }
    }

    /// What tells that everything in it has changed.
    pub fn all_changed(&self) -> impl Iterator<Item = Notification> {
        let lists = self.lists.iter().map(|list| Notification::new(list.notification, None));
        lists.chain(self.uris.iter().map(|uri| {
            let params = format!(r#"{{"uri":{}}}"#, json::quote(uri));
            Notification::new(method::RESOURCE_UPDATED, Some(&params))
        }))
    }

    /// The filter as JSON, with what is in it only.
    pub fn to_json(&self) -> String {
        let mut members: Vec<String> =
            self.lists.iter().map(|list| format!(r#""{}":true"#, list.member)).collect();
        if !self.uris.is_empty() {
            let uris: Vec<String> = self.uris.iter().map(|uri| json::quote(uri)).collect();
            members.push(format!(r#""{RESOURCES}":[{}]"#, uris.join(",")));
        }
        format!("{{{}}}", members.join(","))
    }
}

/// Whether a notification tells that a list has changed.
pub fn is_of_list(notification: &str) -> bool {
    LISTS.iter().any(|list| list.notification == notification)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(notifications: &str) -> Filter {
        Filter::read(Some(&format!(r#"{{"notifications":{notifications}}}"#)))
    }

    #[test]
    fn a_filter_says_what_is_in_it_and_nothing_else() {
        let all = r#"{"toolsListChanged":true,"resourceSubscriptions":["a:1","a:2"]}"#;
        assert_eq!(filter(all).to_json(), all);
        assert_eq!(filter(r#"{"promptsListChanged":false,"taskIds":["t"]}"#).to_json(), "{}");
        assert!(Filter::read(None).is_empty());
    }

    #[test]
    fn only_what_is_in_it_is_wanted_and_told_as_changed() {
        let all = r#"{"toolsListChanged":true,"promptsListChanged":true,"resourceSubscriptions":["a:\""]}"#;
        let filter = filter(all).with_offered_lists(|path| path == ["tools", "listChanged"]);
        let told: Vec<_> = filter.all_changed().collect();
        let methods: Vec<_> = told.iter().map(Notification::method).collect();
        assert_eq!(methods, [method::TOOLS_CHANGED, method::RESOURCE_UPDATED]);
        assert_eq!(told[1].params(), Some(r#"{"uri":"a:\""}"#));
        assert!(methods.iter().all(|method| filter.wants(method)));
        assert!(!filter.wants(method::PROMPTS_CHANGED) && is_of_list(method::PROMPTS_CHANGED));
        assert!(!is_of_list(method::RESOURCE_UPDATED));
    }
}

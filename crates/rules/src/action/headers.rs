//! Changes of the headers that travel with a message.

use shadowcat_protocol::headers::{METHOD, NAME, PARAM_PREFIX, PROTOCOL_VERSION, SESSION_ID};

use super::compile::Compiling;
use super::template::{Template, Templates};
use crate::fault::Place;
use crate::view::View;
use crate::written::Headers as Written;

/// Headers with their values, names in lower case.
type List = Vec<(Box<str>, Box<str>)>;

#[derive(Debug)]
pub(crate) struct Headers {
    set: Vec<(Box<str>, Template)>,
    remove: Vec<Box<str>>,
}

/// The proxy's own: they say how this connection carries a message, or are made of the message itself.
const OURS: [&str; 14] = [
    METHOD,
    NAME,
    SESSION_ID,
    PROTOCOL_VERSION,
    "accept",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "te",
    "transfer-encoding",
    "upgrade",
];

impl Headers {
    pub(super) fn compile(written: &Written, place: &Place<'_>, compiling: &mut Compiling<'_>) -> Self {
        let mut headers = Self { set: Vec::new(), remove: Vec::new() };
        if written.set.is_empty() && written.remove.0.is_empty() {
            compiling.faults.add(place, "does nothing; write `set` or `remove`");
        }
        for (name, value) in &written.set {
            let key = place.key("set");
            let place = key.key(name);
            let value = Template::text(value, compiling.templates, &place, compiling.faults);
            if let Template::Text(value) = &value {
                compiling.faults.take(&place, checked(value));
            }
            headers.set.extend(compiling.faults.take(&place, own(name)).map(|name| (name, value)));
        }
        for name in &written.remove.0 {
            headers.remove.extend(compiling.faults.take(&place.key("remove"), own(name)));
        }
        headers
    }

    /// The changed headers.
    pub(super) fn apply(&self, templates: &Templates, view: &View<'_>) -> Result<List, String> {
        let is_touched = |name: &str| {
            self.remove.iter().chain(self.set.iter().map(|(name, _)| name)).any(|own| **own == *name)
        };
        let mut headers: List =
            view.headers.iter().filter(|(name, _)| !is_touched(&name.to_lowercase())).cloned().collect();
        for (name, value) in &self.set {
            let value = value.render(templates, view)?;
            checked(&value)?;
            headers.push((name.clone(), value.into()));
        }
        Ok(headers)
    }
}

/// A name that a rule may touch, in lower case.
fn own(name: &str) -> Result<Box<str>, String> {
    let name = name.to_ascii_lowercase();
    let is_token = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if !is_token {
        return Err("is no name of a header".to_owned());
    }
    if OURS.contains(&name.as_str()) || name.starts_with(PARAM_PREFIX) {
        return Err(
            "is written by the proxy, from the message or for the connection; edit the message".to_owned()
        );
    }
    Ok(name.into())
}

fn checked(value: &str) -> Result<(), String> {
    let is_visible = value.bytes().all(|byte| (b' '..=b'~').contains(&byte) || byte == b'\t');
    if is_visible { Ok(()) } else { Err("a header's value is visible ASCII in one line".to_owned()) }
}

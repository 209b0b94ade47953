//! The members of a HAR's entry that hold messages, as ours and those of browsers and proxies write them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};

use crate::record::UpstreamSide;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) started_date_time: String,
    /// In milliseconds; some write -1 or null for none.
    #[serde(default)]
    pub(super) time: Option<f64>,
    pub(super) request: Request,
    #[serde(default)]
    pub(super) response: Option<Response>,
    #[serde(default)]
    pub(super) timings: Option<Timings>,
    /// What Chrome and others write of an `EventSource`, whose body they do not keep.
    #[serde(rename = "_eventSourceMessages", default)]
    pub(super) event_source: Option<Vec<Event>>,
    #[serde(rename = "_messages", default)]
    pub(super) messages: Option<Vec<Passed>>,
    #[serde(rename = "_shadowcat", default)]
    pub(super) known: Option<Known>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) url: String,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) headers: Vec<Header>,
    #[serde(default)]
    pub(super) post_data: Option<Body>,
}

#[derive(Default, Deserialize)]
pub(super) struct Response {
    #[serde(default)]
    pub(super) status: Option<i64>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) headers: Vec<Header>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) content: Body,
}

#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) name: String,
    #[serde(default)]
    pub(super) value: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body {
    #[serde(default)]
    mime_type: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    encoding: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Timings {
    #[serde(default)]
    pub(super) blocked: Option<f64>,
    #[serde(default)]
    pub(super) dns: Option<f64>,
    #[serde(default)]
    pub(super) connect: Option<f64>,
    #[serde(default)]
    pub(super) send: Option<f64>,
    #[serde(default)]
    pub(super) wait: Option<f64>,
}

/// An event in `_eventSourceMessages`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    #[serde(default)]
    pub(super) event_name: String,
    pub(super) data: String,
}

/// A message in `_messages`.
#[derive(Deserialize)]
pub(super) struct Passed {
    #[serde(rename = "type")]
    pub(super) way: String,
    /// Seconds since 1970.
    pub(super) time: f64,
    pub(super) data: String,
}

/// What our own export adds.
#[derive(Deserialize)]
pub(super) struct Known {
    pub(super) client: KnownSide,
    #[serde(default)]
    pub(super) upstream: Option<KnownSide>,
    #[serde(default)]
    pub(super) session: Option<String>,
    #[serde(default)]
    pub(super) refused: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct KnownSide {
    #[serde(default)]
    name: String,
    pub(super) transport: String,
    pub(super) revision: String,
    era: String,
}

impl KnownSide {
    pub(super) fn upstream(&self) -> UpstreamSide {
        UpstreamSide {
            name: self.name.clone(),
            transport: self.transport.clone(),
            revision: self.revision.clone(),
            era: self.era.clone(),
        }
    }
}

/// Some write `null` for what they have not.
fn or_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(value: D) -> Result<T, D::Error> {
    Option::deserialize(value).map(Option::unwrap_or_default)
}

impl Response {
    pub(super) fn is(&self, mime: &str) -> bool {
        let own = self.content.mime_type.as_deref();
        let own = own.filter(|own| own.contains('/')).or_else(|| header(&self.headers, "content-type"));
        own.is_some_and(|own| own.to_ascii_lowercase().starts_with(mime))
    }
}

impl Body {
    /// The text, decoded; none where the recording did not keep it.
    pub(super) fn text(&self) -> Result<Option<String>, String> {
        let Some(text) = self.text.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        match self.encoding.as_deref() {
            None | Some("") => Ok(Some(text.to_owned())),
            Some("base64") => {
                let bytes = STANDARD
                    .decode(text.trim())
                    .map_err(|fault| format!("its body is no base64: {fault}"))?;
                String::from_utf8(bytes).map(Some).map_err(|_| "its body is no UTF-8".to_owned())
            }
            Some(other) => Err(format!("its body has the encoding {other:?}, which is not known; base64 is")),
        }
    }
}

/// The value of a header, by its lower-case name.
pub(super) fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value.as_str())
}

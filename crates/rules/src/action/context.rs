//! What a template may use: the messages of the exchange, what is known of it, and a few functions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use minijinja::value::{Serde, Value};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use shadowcat_protocol::{Direction, json};

use crate::strict::{Content, Unreadable};
use crate::view::View;

/// What there is. `uuid` and `now` are functions, and differ each time.
pub(crate) const VARIABLES: [&str; 13] = [
    "request",
    "response",
    "notification",
    "direction",
    "session",
    "principal",
    "claims",
    "server",
    "transport",
    "revision",
    "era",
    "uuid",
    "now",
];

/// Those of [`VARIABLES`] that a template uses.
pub(super) fn of(names: &[&str], view: &View<'_>) -> Result<Value, String> {
    let mut context = BTreeMap::new();
    for name in names {
        if let Some(value) = variable(name, view).map_err(ToString::to_string)? {
            context.insert((*name).to_owned(), value);
        }
    }
    Ok(Value::from(context))
}

/// One of them; none where there is no such thing, as no response is to a request that just came.
fn variable<'v>(name: &str, view: &'v View<'_>) -> Result<Option<Value>, &'v Unreadable> {
    let facts = view.scene.facts;
    let text = |text: &str| Some(Value::from(text));
    Ok(match name {
        "request" => request(view)?,
        "response" => response(view)?,
        "notification" => notification(view)?,
        "direction" => text(match view.scene.direction {
            Direction::ToServer => "to-server",
            Direction::ToClient => "to-client",
        }),
        "session" => facts.session.and_then(text),
        "principal" => facts.principal.and_then(text),
        "claims" => facts.claims.map(|claims| Value::from(Serde(claims))),
        "server" => facts.server.and_then(text),
        "transport" => text(facts.transport),
        "revision" => text(facts.revision),
        "era" => text(facts.era),
        "uuid" => Some(uuid(view)),
        "now" => {
            let now = humantime::format_rfc3339_millis(view.world.now()).to_string();
            Some(Value::from_function(move || now.clone()))
        }
        _ => None,
    })
}

fn request<'v>(view: &'v View<'_>) -> Result<Option<Value>, &'v Unreadable> {
    let Some(request) = view.request() else { return Ok(None) };
    let params = read(view.request_params())?.unwrap_or(&Json::Null);
    Ok(Some(object([
        ("method", Value::from(request.method())),
        ("id", Value::from(plain(request.id().as_json()))),
        ("name", request.name().map_or_else(|| Value::from(()), |name| Value::from(&*name))),
        ("params", Value::from(Serde(params))),
    ])))
}

fn response<'v>(view: &'v View<'_>) -> Result<Option<Value>, &'v Unreadable> {
    if view.response().is_none() {
        return Ok(None);
    }
    let result = read(view.result())?.map(|result| ("result", Value::from(Serde(result))));
    let error = read(view.error())?.map(|error| ("error", Value::from(Serde(error))));
    Ok(Some(object(result.into_iter().chain(error))))
}

fn notification<'v>(view: &'v View<'_>) -> Result<Option<Value>, &'v Unreadable> {
    let Some(notification) = view.notification() else { return Ok(None) };
    let params = read(view.params())?.unwrap_or(&Json::Null);
    Ok(Some(object([("method", Value::from(notification.method())), ("params", Value::from(Serde(params)))])))
}

fn read(content: Option<Content<'_>>) -> Result<Option<&Json>, &Unreadable> {
    content.map(Content::value).transpose()
}

fn object<'k>(members: impl IntoIterator<Item = (&'k str, Value)>) -> Value {
    let members: BTreeMap<String, Value> =
        members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Value::from(members)
}

/// The text of an id, without the quotes of JSON.
fn plain(raw: &str) -> String {
    json::string(raw).map_or_else(|| raw.to_owned(), std::borrow::Cow::into_owned)
}

/// Gives another id at each call: of one draw of the dice, for a function of a template lives longer than the view.
fn uuid(view: &View<'_>) -> Value {
    let drawn = view.world.random();
    let calls = AtomicU64::new(0);
    Value::from_function(move || {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        let digest = Sha256::new().chain_update(drawn).chain_update(call.to_le_bytes()).finalize();
        let mut bytes = [0; 16];
        for (byte, from) in bytes.iter_mut().zip(digest) {
            *byte = from;
        }
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    })
}

/// The filter `hash`: SHA-256 of a text, in hexadecimal digits.
pub(super) fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").ok();
        digits
    })
}

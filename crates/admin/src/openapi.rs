//! The description of the API (OpenAPI 3.1), made from the table of the routes and from the forms themselves.

use std::sync::OnceLock;

use bytes::Bytes;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use shadowcat_transports::server::Reply;

use crate::forms::{
    Breakpoint, BreakpointList, Decided, Held, HeldList, LostEvent, ReleasedEvent, Rules, Sessions, Status,
};
use crate::problem::{self, Written};
use crate::routes::{Operation, ROUTES, Route};

pub(crate) fn reply() -> Reply {
    // Anybody may ask for it, token or not; it is the same for all.
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let text = DOCUMENT.get_or_init(|| serde_json::to_vec(&document()).unwrap_or_default().into());
    Reply::whole(200, "application/json", text.clone())
}

fn document() -> Value {
    // A schema of OpenAPI 3.1 is one of JSON Schema 2020-12, kept in another place.
    let settings = SchemaSettings::draft2020_12();
    let mut generator =
        settings.with(|settings| settings.definitions_path = "/components/schemas".into()).into_generator();
    let mut paths = Map::<String, Value>::new();
    for route in &ROUTES {
        let operations = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Value::Object(operations) = operations {
            operations.insert(route.method.as_str().to_lowercase(), operation(route, &mut generator));
        }
    }
    // Not bodies, but the data of events.
    for _ in [generator.subschema_for::<LostEvent>(), generator.subschema_for::<ReleasedEvent>()] {}
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Shadowcat admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What a running proxy does, what passes, and messages that wait for a person.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut described = json!({
        "operationId": format!("{:?}", route.operation),
        "summary": route.summary,
        "responses": responses(route.operation, generator),
    });
    let parameters = parameters(route);
    if let Value::Object(members) = &mut described {
        if !parameters.is_empty() {
            members.insert("parameters".to_owned(), parameters.into());
        }
        if let Some(schema) = route.operation.body() {
            let content = json!({ "application/json": { "schema": schema(generator) } });
            members.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
        }
        if route.operation.is_open() {
            members.insert("security".to_owned(), json!([]));
        }
    }
    described
}

fn parameters(route: &Route) -> Vec<Value> {
    let mut parameters = Vec::new();
    if route.path.contains("{id}") {
        parameters.push(json!({
            "name": "id",
            "in": "path",
            "required": true,
            "description": "The number, such as `h-1` of a message or `b-1` of a breakpoint.",
            "schema": { "type": "string" },
        }));
    }
    if route.operation == Operation::Messages {
        parameters.push(json!({
            "name": "filter",
            "in": "query",
            "description": "A filter expression: only exchanges that fit it are shown. One that asks how an exchange \
                            ends shows it when it has ended.",
            "schema": { "type": "string" },
        }));
    }
    parameters
}

fn responses(operation: Operation, generator: &mut SchemaGenerator) -> Value {
    let whole = |schema: Value| json!({ "application/json": { "schema": schema } });
    let (status, content) = match operation {
        Operation::Describe => ("200", whole(json!({ "type": "object" }))),
        Operation::Status => ("200", whole(schema::<Status>(generator))),
        Operation::Sessions => ("200", whole(schema::<Sessions>(generator))),
        Operation::Rules => ("200", whole(schema::<Rules>(generator))),
        Operation::Messages => ("200", json!({ "text/event-stream": { "schema": { "type": "string" } } })),
        Operation::ListHeld | Operation::ListApprovals => ("200", whole(schema::<HeldList>(generator))),
        Operation::ShowHeld => ("200", whole(schema::<Held>(generator))),
        Operation::Decide | Operation::Approve => ("200", whole(schema::<Decided>(generator))),
        Operation::ListBreakpoints => ("200", whole(schema::<BreakpointList>(generator))),
        Operation::AddBreakpoint => ("201", whole(schema::<Breakpoint>(generator))),
        Operation::RemoveBreakpoint => ("204", Value::Null),
    };
    let description = match operation {
        Operation::Messages => {
            "Events. Without a name: a message, as the object of a tape's line without its checksum. `lost`: a \
             LostEvent. `held`: a Held without its text. `released`: a ReleasedEvent."
        }
        Operation::RemoveBreakpoint => "Done.",
        _ => "What was asked for.",
    };
    let mut good = json!({ "description": description });
    if let (Value::Object(members), false) = (&mut good, content.is_null()) {
        members.insert("content".to_owned(), content);
    }
    let problem = json!({ problem::MEDIA_TYPE: { "schema": schema::<Written<'_>>(generator) } });
    json!({ status: good, "default": { "description": "It cannot be done.", "content": problem } })
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` of a document.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        Value::String(reference) if name == "$ref" => found.push(reference.clone()),
                        value => references(value, found),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_route_is_described_and_every_reference_leads_somewhere() {
        let document = document();
        for route in &ROUTES {
            let place =
                format!("/paths/{}/{}", route.path.replace('/', "~1"), route.method.as_str().to_lowercase());
            assert!(document.pointer(&place).is_some(), "{place}");
        }
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 10);
        for reference in found {
            let place = reference.strip_prefix('#').unwrap_or("?");
            assert!(document.pointer(place).is_some(), "{reference}");
        }
        for named in ["LostEvent", "ReleasedEvent", "Held", "Problem"] {
            assert!(document.pointer(&format!("/components/schemas/{named}")).is_some(), "{named}");
        }
    }
}

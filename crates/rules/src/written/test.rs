//! What is demanded of the values that a JSONPath finds, as it is written.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::forms::some;

/// What is demanded of the values that a JSONPath finds: a value they equal, or [`Tests`].
#[derive(Clone, Debug, PartialEq)]
pub struct Test(pub Tests);

/// One value that the path finds has to pass all of these.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tests {
    /// Whether the path finds anything.
    pub exists: Option<bool>,
    /// It is this value.
    #[serde(default, deserialize_with = "some")]
    pub equals: Option<Value>,
    /// It is a text with this text in it, or a list with this element.
    #[serde(default, deserialize_with = "some")]
    pub contains: Option<Value>,
    /// It is a text in which this regular expression finds something.
    pub matches: Option<String>,
    /// It is a number above this.
    pub above: Option<f64>,
    /// It is a number below this.
    pub below: Option<f64>,
}

impl Test {
    fn equals(value: impl Into<Value>) -> Self {
        Self(Tests { equals: Some(value.into()), ..Tests::default() })
    }
}

struct TestVisitor;

impl<'de> Visitor<'de> for TestVisitor {
    type Value = Test;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or {exists, equals, contains, matches, above, below}")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Test, A::Error> {
        Tests::deserialize(MapAccessDeserializer::new(map)).map(Test)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Test, A::Error> {
        let mut values: Vec<Value> = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Test::equals(values))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Test, E> {
        Ok(Test::equals(text))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Test, E> {
        Ok(Test::equals(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Test, E> {
        Ok(Test::equals(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Test, E> {
        Ok(Test::equals(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Test, E> {
        Ok(Test::equals(value))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Test, E> {
        Ok(Test::equals(Value::Null))
    }
}

impl<'de> Deserialize<'de> for Test {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TestVisitor)
    }
}

impl JsonSchema for Test {
    fn schema_name() -> Cow<'static, str> {
        "Test".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let tests = generator.subschema_for::<Tests>();
        json_schema!({
            "description": "A value that is found there, or what is demanded of it.",
            "anyOf": [{ "type": ["string", "number", "boolean", "null", "array"] }, tests]
        })
    }
}

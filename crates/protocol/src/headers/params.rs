//! Tool arguments mirrored in headers: `x-mcp-header` annotations of an input schema, and what they ask for.

use std::collections::HashSet;

use thiserror::Error;

use super::modern::only;
use super::{HeaderFault, PARAM_PREFIX, decode_value, encode_value};
use crate::json;

const ANNOTATION: &str = "x-mcp-header";

/// The largest integer that every peer reads alike: 2^53 - 1.
const INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

/// The most annotations of one schema: header blocks are bounded too.
const ANNOTATIONS_MAX: usize = 64;

/// The deepest schema that is walked.
const SCHEMA_DEPTH_MAX: usize = 128;

/// An argument that a header mirrors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamHeader {
    /// The annotation's text, as the schema spells it.
    pub name: String,
    /// The properties that lead to the argument, outermost first.
    pub path: Vec<String>,
    /// What the argument is.
    pub kind: ParamKind,
}

impl ParamHeader {
    /// The header's name, in lower case.
    pub fn header(&self) -> String {
        format!("{PARAM_PREFIX}{}", self.name.to_ascii_lowercase())
    }

    /// The raw argument; none where it is absent or null.
    fn argument<'a>(&self, arguments_json: &'a str) -> Option<&'a str> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        json::get(arguments_json, &path).filter(|raw| *raw != "null")
    }
}

/// The types an annotated argument may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
}

/// Why a tool's annotations are not valid; the tool must not be offered over HTTP then.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadAnnotation {
    /// Not a header name.
    #[error("x-mcp-header is not a header name")]
    Name,
    /// One name on two arguments.
    #[error("x-mcp-header {0:?} is repeated")]
    Repeated(String),
    /// On a type that headers do not mirror.
    #[error("x-mcp-header {0:?} is not on a string, an integer or a boolean")]
    Type(String),
    /// Where not only `properties` lead.
    #[error("x-mcp-header is where not only properties lead")]
    Unreachable,
    /// More than are read, or nested deeper.
    #[error("the schema has too many annotations or is too deep")]
    TooMany,
}

/// The annotations of a tool's input schema, in its order.
pub fn param_headers(input_schema_json: &str) -> Result<Vec<ParamHeader>, BadAnnotation> {
    if !may_annotate(input_schema_json) {
        return Ok(Vec::new());
    }
    let mut walk = Walk::default();
    walk.schema(input_schema_json, 0)?;
    Ok(walk.found)
}

/// The headers for a call with these arguments.
pub fn build_params(params: &[ParamHeader], arguments_json: &str) -> Vec<(String, String)> {
    let value = |param: &ParamHeader| {
        let raw = param.argument(arguments_json)?;
        match param.kind {
            ParamKind::String => json::string(raw).map(|text| encode_value(&text).into_owned()),
            ParamKind::Integer => integer(raw).map(|number| format!("{number:.0}")),
            ParamKind::Boolean => matches!(raw, "true" | "false").then(|| raw.to_owned()),
        }
    };
    params.iter().filter_map(|param| Some((param.header(), value(param)?))).collect()
}

/// Checks that the headers of a call say what its arguments say.
pub fn check_params<'h>(
    params: &[ParamHeader],
    arguments_json: &str,
    header: impl Fn(&str) -> Vec<&'h [u8]>,
) -> Result<(), HeaderFault> {
    params.iter().try_for_each(|param| {
        let name = param.header();
        let Some(raw) = param.argument(arguments_json) else {
            let is_absent = header(&name).is_empty();
            let fault = || HeaderFault::mismatch(format!("{name} mirrors an argument that is not there"));
            return is_absent.then_some(()).ok_or_else(fault);
        };
        let mirrored = decode_value(only(&header, &name)?)
            .map_err(|fault| HeaderFault::mismatch(format!("{name}: {fault}")))?;
        if says_the_same(param.kind, raw, &mirrored) {
            return Ok(());
        }
        Err(HeaderFault::mismatch(format!("{name} differs from the argument")))
    })
}

fn says_the_same(kind: ParamKind, raw: &str, mirrored: &str) -> bool {
    match kind {
        ParamKind::String => json::string(raw).is_some_and(|text| text == mirrored),
        // Numbers and not spellings: 42.0 is 42.
        ParamKind::Integer => integer(raw).is_some_and(|number| integer(mirrored) == Some(number)),
        ParamKind::Boolean => raw == mirrored,
    }
}

fn integer(raw: &str) -> Option<f64> {
    let number: f64 = Some(raw).filter(|raw| json::is_number(raw))?.parse().ok()?;
    // Adding zero turns -0 into 0.
    (number.fract() == 0.0 && number.abs() <= INTEGER_MAX).then_some(number + 0.0)
}

/// A walk through a schema.
#[derive(Debug, Default)]
struct Walk {
    found: Vec<ParamHeader>,
    names: HashSet<String>,
    path: Vec<String>,
}

impl Walk {
    fn schema(&mut self, schema: &str, depth: usize) -> Result<(), BadAnnotation> {
        if depth > SCHEMA_DEPTH_MAX {
            return Err(BadAnnotation::TooMany);
        }
        for (key, value) in json::members(schema) {
            match &*key {
                ANNOTATION => self.annotation(value, schema)?,
                "properties" => {
                    for (name, property) in json::members(value) {
                        self.path.push(name.into_owned());
                        self.schema(property, depth + 1)?;
                        self.path.pop();
                    }
                }
                // Data, in which a key of that name means nothing.
                "default" | "const" | "enum" | "examples" => {}
                _ => no_annotation_in(value)?,
            }
        }
        Ok(())
    }

    fn annotation(&mut self, raw: &str, schema: &str) -> Result<(), BadAnnotation> {
        if self.path.is_empty() {
            return Err(BadAnnotation::Unreachable);
        }
        let name = json::string(raw).filter(|name| is_token(name)).ok_or(BadAnnotation::Name)?.into_owned();
        let kind = match json::get(schema, &["type"]) {
            Some(r#""string""#) => ParamKind::String,
            Some(r#""integer""#) => ParamKind::Integer,
            Some(r#""boolean""#) => ParamKind::Boolean,
            _ => return Err(BadAnnotation::Type(name)),
        };
        if !self.names.insert(name.to_ascii_lowercase()) {
            return Err(BadAnnotation::Repeated(name));
        }
        if self.found.len() == ANNOTATIONS_MAX {
            return Err(BadAnnotation::TooMany);
        }
        self.found.push(ParamHeader { name, path: self.path.clone(), kind });
        Ok(())
    }
}

/// Everything below here is reached by something else than `properties`.
fn no_annotation_in(value: &str) -> Result<(), BadAnnotation> {
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        if !may_annotate(value) {
            continue;
        }
        for (key, inner) in json::members(value) {
            if key == ANNOTATION {
                return Err(BadAnnotation::Unreachable);
            }
            open.push(inner);
        }
        open.extend(json::elements(value));
    }
    Ok(())
}

/// Most schemas have no annotation, and a text search says so faster than a walk; a key may be spelled with escapes.
fn may_annotate(schema: &str) -> bool {
    schema.contains(ANNOTATION) || schema.contains("\\u")
}

/// The characters of a header name (RFC 9110 token).
fn is_token(name: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_tchar)
}

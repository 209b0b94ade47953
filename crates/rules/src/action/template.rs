//! Texts with holes: minijinja over what is known of a message.
//!
//! A text without `{{` and `{%` is never read as a template. A text that is one expression and nothing else keeps the
//! type of its value, and one that only names a value of the message keeps its digits, too.

use std::io::{self, Write};
use std::sync::LazyLock;

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use shadowcat_filter::nearest;
use shadowcat_protocol::json::{edit, quote};

use super::context::{self, VARIABLES};
use crate::fault::{Faults, Place};
use crate::view::View;

/// Steps that one template may take.
const FUEL: u64 = 100_000;
/// What one template may write.
const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The filter that keeps the type of a value.
const KEEP: &str = "__as_json";

/// The filters that people write: what may have been meant by an unknown one.
const COMMON_FILTERS: [&str; 16] = [
    "hash", "default", "upper", "lower", "title", "trim", "replace", "length", "join", "split", "first",
    "last", "string", "int", "float", "round",
];

/// All templates of all rules.
#[derive(Debug)]
pub(crate) struct Templates {
    /// Made with the first template: most proxies have none, and it is large.
    environment: LazyLock<Environment<'static>>,
    count: usize,
}

impl Default for Templates {
    fn default() -> Self {
        Self { environment: LazyLock::new(environment), count: 0 }
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.add_filter("hash", context::hash);
    environment.add_filter(KEEP, as_json);
    environment
}

/// A text, which may have holes.
#[derive(Clone, Debug)]
pub(crate) enum Template {
    Text(String),
    Named {
        name: String,
        variables: Vec<&'static str>,
    },
    /// A value of the message, as its sender wrote it.
    Raw {
        root: RawRoot,
        place: Vec<String>,
    },
}

/// Where the values of a message are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawRoot {
    RequestParams,
    NotificationParams,
    Result,
    Error,
}

impl Template {
    /// A text that is put into other text.
    pub(crate) fn text(
        source: &str,
        templates: &mut Templates,
        place: &Place<'_>,
        faults: &mut Faults,
    ) -> Self {
        if !has_holes(source) {
            return Self::Text(source.to_owned());
        }
        templates.add(source, place, faults)
    }

    /// A value that stands alone, written as JSON.
    fn value(
        source: &str,
        templates: &mut Templates,
        place: &Place<'_>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let inner = source.trim().strip_prefix("{{")?.strip_suffix("}}")?;
        if inner.contains("{{") || inner.contains("}}") || inner.contains("{%") {
            return None;
        }
        let inner = inner.trim_matches('-').trim();
        let raw = raw(inner).map(|(root, place)| Self::Raw { root, place });
        // A wrong expression is told as it stands, not with what is put around it.
        let fault = templates.environment.compile_expression_owned(inner.to_owned()).err();
        if let Some(fault) = fault {
            faults.add(place, sentence(&fault));
            return Some(Self::Text(String::new()));
        }
        Some(raw.unwrap_or_else(|| templates.add(&format!("{{{{ ({inner}) | {KEEP} }}}}"), place, faults)))
    }

    pub(crate) fn render(&self, templates: &Templates, view: &View<'_>) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Named { name, variables } => templates.render(name, variables, view),
            Self::Raw { root, place } => {
                let value = root.of(view).and_then(|raw| edit::value_at(raw, place));
                let missing = || format!("the template's {} is not in the message", place.join("."));
                value.map(str::to_owned).ok_or_else(missing)
            }
        }
    }

    /// The variables that it uses.
    pub(crate) fn variables(&self) -> &[&'static str] {
        match self {
            Self::Text(_) => &[],
            Self::Named { variables, .. } => variables,
            Self::Raw { root, .. } => root.variable(),
        }
    }
}

impl Templates {
    fn add(&mut self, source: &str, place: &Place<'_>, faults: &mut Faults) -> Template {
        let name = format!("t{}", self.count);
        self.count += 1;
        for filter in filters(source) {
            // An unknown filter is found out by minijinja only when it is used.
            let tried = self.environment.empty_state().apply_filter(filter, &[Value::from(())]);
            if tried.is_err_and(|fault| fault.kind() == ErrorKind::UnknownFilter) {
                faults.add(place, unknown_filter(filter));
            }
        }
        let mut variables = Vec::new();
        let environment = LazyLock::force_mut(&mut self.environment);
        if let Err(fault) = environment.add_template_owned(name.clone(), source.to_owned()) {
            faults.add(place, sentence(&fault));
        } else if let Ok(template) = self.environment.get_template(&name) {
            for variable in template.undeclared_variables(false) {
                match VARIABLES.iter().find(|known| **known == variable) {
                    Some(known) => variables.push(*known),
                    None if self.environment.globals().any(|(known, _)| known == variable) => {}
                    None => faults.add(place, unknown(&variable)),
                }
            }
            variables.sort_unstable();
        }
        Template::Named { name, variables }
    }

    fn render(&self, name: &str, variables: &[&str], view: &View<'_>) -> Result<String, String> {
        let mut out = Bounded(Vec::new());
        let template = self.environment.get_template(name).map_err(|fault| sentence(&fault))?;
        let context = context::of(variables, view)?;
        template.render_captured_to(context, &mut out).map_err(|fault| sentence(&fault))?;
        String::from_utf8(out.0).map_err(|fault| fault.to_string())
    }
}

impl RawRoot {
    fn of<'v>(self, view: &'v View<'_>) -> Option<&'v str> {
        match self {
            Self::RequestParams => view.request()?.params(),
            Self::NotificationParams => view.notification()?.params(),
            Self::Result => view.response()?.result_json(),
            Self::Error => view.response()?.error_json(),
        }
    }

    fn variable(self) -> &'static [&'static str] {
        match self {
            Self::RequestParams => &["request"],
            Self::NotificationParams => &["notification"],
            Self::Result | Self::Error => &["response"],
        }
    }
}

/// A value of the message that an expression only names: `request.params.arguments.path`.
fn raw(expression: &str) -> Option<(RawRoot, Vec<String>)> {
    const ROOTS: [(&str, RawRoot); 4] = [
        ("request.params.", RawRoot::RequestParams),
        ("notification.params.", RawRoot::NotificationParams),
        ("response.result.", RawRoot::Result),
        ("response.error.", RawRoot::Error),
    ];
    let (root, path) =
        ROOTS.iter().find_map(|(begin, root)| Some((*root, expression.strip_prefix(begin)?)))?;
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let place: Vec<String> = path.split('.').map(str::to_owned).collect();
    place.iter().all(|name| is_name(name)).then_some((root, place))
}

fn has_holes(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|begin| text.contains(begin))
}

fn unknown(variable: &str) -> String {
    match nearest(variable, &VARIABLES) {
        Some(known) => format!("the template uses `{variable}`, which is not known; did you mean `{known}`?"),
        None => {
            format!("the template uses `{variable}`, which is not known; there are {}", VARIABLES.join(", "))
        }
    }
}

/// The names behind a `|`, texts in quotes aside.
fn filters(source: &str) -> Vec<&str> {
    let mut filters = Vec::new();
    let mut quote = None;
    for (at, c) in source.char_indices() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '|') => {
                let behind = source.get(at + 1..).unwrap_or_default().trim_start();
                let end =
                    behind.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(behind.len());
                filters.extend(behind.get(..end).filter(|name| !name.is_empty()));
            }
            _ => {}
        }
    }
    filters
}

fn unknown_filter(filter: &str) -> String {
    let meant = nearest(filter, &COMMON_FILTERS).map(|known| format!("; did you mean `{known}`?"));
    format!("there is no filter `{filter}` for templates{}", meant.unwrap_or_default())
}

fn sentence(fault: &Error) -> String {
    let what = match fault.kind() {
        ErrorKind::OutOfFuel => "it takes too many steps".to_owned(),
        ErrorKind::WriteFailure => format!("it writes more than {TEXT_BYTES_MAX} bytes"),
        kind => match fault.detail() {
            Some(detail) => format!("{kind}: {detail}"),
            None => kind.to_string(),
        },
    };
    format!("the template fails: {what}")
}

/// Keeps the type of a value where a template would make text of it.
fn as_json(value: &Value) -> Result<Value, Error> {
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    let text = serde_json::to_string(value)
        .map_err(|fault| Error::new(ErrorKind::InvalidOperation, fault.to_string()))?;
    Ok(Value::from_safe_string(text))
}

/// Takes as many bytes as a message may have.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > TEXT_BYTES_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON with templates in its texts: pieces that make a JSON text, one behind the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Json(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Literal(String),
    /// Becomes a JSON string.
    Text(Template),
    /// Is JSON.
    Value(Template),
}

impl Json {
    pub(crate) fn compile(
        written: &serde_json::Value,
        templates: &mut Templates,
        place: &Place<'_>,
        faults: &mut Faults,
    ) -> Self {
        let mut json = Self::default();
        json.value(written, templates, place, faults);
        json
    }

    fn value(
        &mut self,
        written: &serde_json::Value,
        templates: &mut Templates,
        place: &Place<'_>,
        faults: &mut Faults,
    ) {
        match written {
            serde_json::Value::String(text) if has_holes(text) => {
                let whole = Template::value(text, templates, place, faults).map(Piece::Value);
                self.0.push(
                    whole.unwrap_or_else(|| Piece::Text(Template::text(text, templates, place, faults))),
                );
            }
            serde_json::Value::Array(elements) => {
                self.literal("[");
                for (number, element) in elements.iter().enumerate() {
                    self.literal(if number == 0 { "" } else { "," });
                    self.value(element, templates, &place.index(number), faults);
                }
                self.literal("]");
            }
            serde_json::Value::Object(members) => {
                self.literal("{");
                for (number, (key, value)) in members.iter().enumerate() {
                    self.literal(if number == 0 { "" } else { "," });
                    self.literal(&quote(key));
                    self.literal(":");
                    self.value(value, templates, &place.key(key), faults);
                }
                self.literal("}");
            }
            plain => self.literal(&plain.to_string()),
        }
    }

    fn literal(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(Piece::Literal(before)) => before.push_str(text),
            _ => self.0.push(Piece::Literal(text.to_owned())),
        }
    }

    pub(crate) fn render(&self, templates: &Templates, view: &View<'_>) -> Result<String, String> {
        let mut json = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => json.push_str(text),
                Piece::Text(template) => json.push_str(&quote(&template.render(templates, view)?)),
                Piece::Value(template) => json.push_str(&template.render(templates, view)?),
            }
        }
        Ok(json)
    }

    /// The variables that its templates use.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &'static str> {
        self.0
            .iter()
            .flat_map(|piece| match piece {
                Piece::Literal(_) => &[],
                Piece::Text(template) | Piece::Value(template) => template.variables(),
            })
            .copied()
    }

    /// Whether it is an object, or may be one.
    pub(crate) fn may_be_object(&self) -> bool {
        match self.0.first() {
            Some(Piece::Literal(text)) => text.starts_with('{'),
            Some(Piece::Text(_)) | None => false,
            Some(Piece::Value(_)) => true,
        }
    }
}

//! JSON Patch (RFC 6902) on the text of a message: the bytes that it does not name stay.

use shadowcat_protocol::json::edit::{Change, Edits, value_at};

use super::compile::Compiling;
use super::template::{Json, Templates};
use crate::fault::Place;
use crate::strict;
use crate::view::View;
use crate::written::{Patch as Written, PatchKind};

type Pointer = Vec<String>;

/// Operations that are carried out one after the other, all or none.
#[derive(Debug)]
pub(crate) struct Patch(Vec<Operation>);

#[derive(Debug)]
enum Operation {
    Add(Pointer, Json),
    Remove(Pointer),
    Replace(Pointer, Json),
    Move { from: Pointer, to: Pointer },
    Copy { from: Pointer, to: Pointer },
    Test(Pointer, Json),
}

impl Patch {
    pub(super) fn compile(written: &[Written], place: &Place<'_>, compiling: &mut Compiling<'_>) -> Self {
        let operation = |(number, written): (usize, &Written)| {
            Operation::compile(written, &place.index(number), compiling)
        };
        Self(written.iter().enumerate().filter_map(operation).collect())
    }

    /// The changed content.
    pub(super) fn apply(
        &self,
        content: &str,
        templates: &Templates,
        view: &View<'_>,
    ) -> Result<String, String> {
        self.0
            .iter()
            .try_fold(content.to_owned(), |content, operation| operation.apply(&content, templates, view))
    }
}

impl Operation {
    fn compile(written: &Written, place: &Place<'_>, compiling: &mut Compiling<'_>) -> Option<Self> {
        let path = pointer(&written.path).ok_or_else(|| NO_POINTER.to_owned());
        let path = compiling.faults.take(&place.key("path"), path)?;
        let takes_value = matches!(written.op, PatchKind::Add | PatchKind::Replace | PatchKind::Test);
        let takes_from = matches!(written.op, PatchKind::Move | PatchKind::Copy);
        for (key, is_there, belongs) in
            [("value", written.value.is_some(), takes_value), ("from", written.from.is_some(), takes_from)]
        {
            if is_there != belongs {
                let sentence = if belongs { "is missing" } else { "does not belong to this operation" };
                compiling.faults.add(&place.key(key), sentence);
                return None;
            }
        }
        let value = written.value.as_ref().map(|value| compiling.json(value, &place.key("value")));
        let value = value.unwrap_or_default();
        compiling.repeatable_at(path.first().map(String::as_str), value.variables(), place);
        let from = written.from.as_deref().map(|from| pointer(from).ok_or_else(|| NO_POINTER.to_owned()));
        let from = match from {
            Some(from) => compiling.faults.take(&place.key("from"), from)?,
            None => Pointer::new(),
        };
        Some(match written.op {
            PatchKind::Add => Self::Add(path, value),
            PatchKind::Remove => Self::Remove(path),
            PatchKind::Replace => Self::Replace(path, value),
            PatchKind::Move => Self::Move { from, to: path },
            PatchKind::Copy => Self::Copy { from, to: path },
            PatchKind::Test => Self::Test(path, value),
        })
    }

    fn apply(&self, content: &str, templates: &Templates, view: &View<'_>) -> Result<String, String> {
        match self {
            Self::Add(path, json) => add(content, path, json.render(templates, view)?),
            Self::Remove(path) => {
                there(content, path)?;
                edited(content, path, Change::Remove)
            }
            Self::Replace(path, json) => {
                there(content, path)?;
                edited(content, path, Change::Set(json.render(templates, view)?))
            }
            Self::Move { from, to } => {
                let value = there(content, from)?.to_owned();
                add(&edited(content, from, Change::Remove)?, to, value)
            }
            Self::Copy { from, to } => add(content, to, there(content, from)?.to_owned()),
            Self::Test(path, json) => {
                let read = |text: &str| strict::parse(text).map_err(|unreadable| unreadable.to_string());
                let is_same = read(there(content, path)?)? == read(&json.render(templates, view)?)?;
                if is_same {
                    Ok(content.to_owned())
                } else {
                    Err(format!("at {}: the test fails", shown(path)))
                }
            }
        }
    }
}

fn add(content: &str, path: &Pointer, value: String) -> Result<String, String> {
    match path.split_last() {
        None => edited(content, path, Change::Set(value)),
        Some((_, parent)) => {
            there(content, parent)?;
            edited(content, path, Change::Insert(value))
        }
    }
}

fn edited(content: &str, path: &[String], change: Change) -> Result<String, String> {
    Edits::one(path, change).apply(content).map_err(|fault| fault.to_string())
}

/// The raw value in a place where there has to be one.
fn there<'c>(content: &'c str, path: &[String]) -> Result<&'c str, String> {
    value_at(content, path).ok_or_else(|| format!("at {}: nothing is there", shown(path)))
}

fn shown(path: &[String]) -> String {
    let tokens: Vec<&str> = std::iter::once("").chain(path.iter().map(String::as_str)).collect();
    format!("\"{}\"", tokens.join("/"))
}

const NO_POINTER: &str =
    "expected a JSON Pointer from the content of the message on, such as /arguments/path";

/// The tokens of a JSON Pointer.
fn pointer(text: &str) -> Option<Pointer> {
    if text.is_empty() {
        return Some(Pointer::new());
    }
    let tokens = text.strip_prefix('/')?.split('/');
    Some(tokens.map(|token| token.replace("~1", "/").replace("~0", "~")).collect())
}

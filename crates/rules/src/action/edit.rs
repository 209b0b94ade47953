//! Changes of the content of a message in places that JSONPaths find: `set`, `remove`, `rename`, `replace`.

use std::collections::BTreeMap;

use regex::Regex;
use shadowcat_protocol::json::edit::{Change, Edits, value_at};
use shadowcat_protocol::json::{quote, string};

use super::compile::Compiling;
use super::template::{Json, Templates};
use crate::condition::{Path, regex};
use crate::fault::Place;
use crate::strict;
use crate::view::View;
use crate::written::{OneOrMany, Replacement};

/// Changes of one kind, each in the places of a path, made one after the other.
#[derive(Debug)]
pub(crate) struct Edit(Vec<(Path, What)>);

#[derive(Debug)]
enum What {
    Set(Json),
    Remove,
    Rename(String),
    Replace(Regex, String),
}

impl Edit {
    pub(super) fn set(
        written: &BTreeMap<String, serde_json::Value>,
        place: &Place<'_>,
        compiling: &mut Compiling<'_>,
    ) -> Self {
        let set = |(path, value): (&String, &serde_json::Value)| {
            let place = place.key(path);
            let json = compiling.json(value, &place);
            let path = compiling.path(path, &place)?;
            compiling.repeatable(&path, json.variables(), &place);
            if path.is_root() && !json.may_be_object() {
                compiling.faults.add(&place, "the whole must stay an object");
            }
            Some((path, What::Set(json)))
        };
        Self(written.iter().filter_map(set).collect())
    }

    pub(super) fn remove(
        written: &OneOrMany<String>,
        place: &Place<'_>,
        compiling: &mut Compiling<'_>,
    ) -> Self {
        let remove = |path: &String| Some((compiling.inner_path(path, &place.key(path))?, What::Remove));
        Self(written.0.iter().filter_map(remove).collect())
    }

    pub(super) fn rename(
        written: &BTreeMap<String, String>,
        place: &Place<'_>,
        compiling: &mut Compiling<'_>,
    ) -> Self {
        let rename = |(path, name): (&String, &String)| {
            Some((compiling.inner_path(path, &place.key(path))?, What::Rename(name.clone())))
        };
        Self(written.iter().filter_map(rename).collect())
    }

    pub(super) fn replace(
        written: &BTreeMap<String, Replacement>,
        place: &Place<'_>,
        compiling: &mut Compiling<'_>,
    ) -> Self {
        let replace = |(path, Replacement { find, with }): (&String, &Replacement)| {
            let place = place.key(path);
            let find = compiling.faults.take(&place.key("find"), regex(find));
            Some((compiling.inner_path(path, &place)?, What::Replace(find?, with.clone())))
        };
        Self(written.iter().filter_map(replace).collect())
    }

    /// The changed content.
    pub(super) fn apply(
        &self,
        content: &str,
        templates: &Templates,
        view: &View<'_>,
    ) -> Result<String, String> {
        let mut content = content.to_owned();
        for (path, what) in &self.0 {
            let change = |place: &[String]| what.change(&content, place, templates, view);
            let mut edits = Edits::default();
            for place in places(path, &content, matches!(what, What::Set(_)))? {
                if let Some(change) = change(&place)? {
                    edits.add(&place, change);
                }
            }
            content = edits.apply(&content).map_err(|fault| fault.to_string())?;
        }
        Ok(content)
    }
}

impl What {
    /// The change in one place; none where nothing is to be done.
    fn change(
        &self,
        content: &str,
        place: &[String],
        templates: &Templates,
        view: &View<'_>,
    ) -> Result<Option<Change>, String> {
        Ok(Some(match self {
            Self::Set(json) => Change::Set(json.render(templates, view)?),
            Self::Remove => Change::Remove,
            Self::Rename(name) => Change::Rename(name.clone()),
            Self::Replace(find, with) => {
                let Some(text) = value_at(content, place).and_then(string) else { return Ok(None) };
                let replaced = find.replace_all(&text, with.as_str());
                if replaced == text {
                    return Ok(None);
                }
                Change::Set(quote(&replaced))
            }
        }))
    }
}

/// The places that a path means. One that can only mean one place means it even where nothing is, for `set` to add it;
/// but a list is never made up.
fn places(path: &Path, content: &str, adds: bool) -> Result<Vec<Vec<String>>, String> {
    let Some(place) = path.only_place() else {
        let value = strict::parse(content).map_err(|unreadable| unreadable.to_string())?;
        return Ok(path.places(&value));
    };
    for list in path.lists() {
        if !value_at(content, place.get(..list).unwrap_or_default()).is_some_and(|raw| raw.starts_with('[')) {
            let missing = || format!("at /{}: no list", place.get(..list).unwrap_or_default().join("/"));
            return if adds { Err(missing()) } else { Ok(Vec::new()) };
        }
    }
    Ok(vec![place])
}

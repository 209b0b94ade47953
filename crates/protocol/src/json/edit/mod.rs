//! Changes of JSON text in some of its places. Every other byte stays as its sender wrote it: blanks, the order of
//! members, the digits of numbers, and members that nobody knows.
//!
//! A place is the keys and indexes that lead to it, the tokens of a JSON Pointer (RFC 6901). Where an object repeats a
//! key, all members of that name are meant: whichever of them the receiver takes, it is the changed one.

mod items;

use std::collections::BTreeMap;

use super::{Scanner, key_text, quote};
use crate::json::DEPTH_MAX;
use crate::span::Span;
use items::{Item, Items};

/// A change in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Puts this JSON there. A member that is missing is added, with the objects that lead to it; an element only behind
    /// the last.
    Set(String),
    /// The same, but an element goes before the one that is there.
    Insert(String),
    /// Takes out what is there, if anything is.
    Remove,
    /// Gives a member this name, in place of any other that has it.
    Rename(String),
}

/// Why a text was not changed: there is no such place in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at {place:?}: {reason}")]
pub struct NoPlace {
    /// As a JSON Pointer.
    pub place: String,
    /// What is there instead.
    pub reason: &'static str,
}

/// Changes that are made together. One in a place hides those inside of it.
#[derive(Clone, Debug, Default)]
pub struct Edits(Node);

#[derive(Clone, Debug, Default)]
struct Node {
    change: Option<Change>,
    inner: BTreeMap<String, Node>,
}

/// Text in place of other text.
struct Splice {
    place: Span,
    text: String,
}

/// The raw value in a place; none if there is no such place.
pub fn value_at<'a, S: AsRef<str>>(text: &'a str, place: &[S]) -> Option<&'a str> {
    place.iter().try_fold(super::trim(text), |value, token| {
        let token = token.as_ref();
        if value.starts_with('[') {
            super::elements(value).nth(index(token)?)
        } else {
            super::get(value, &[token])
        }
    })
}

impl Edits {
    /// One change.
    pub fn one<S: AsRef<str>>(place: &[S], change: Change) -> Self {
        let mut edits = Self::default();
        edits.add(place, change);
        edits
    }

    /// One more change; a later one in the same place counts.
    pub fn add<S: AsRef<str>>(&mut self, place: &[S], change: Change) {
        let root = &mut self.0;
        let node =
            place.iter().fold(root, |node, token| node.inner.entry(token.as_ref().to_owned()).or_default());
        node.change = Some(change);
    }

    /// The changed text.
    ///
    /// # Errors
    /// A value has no place, or the text is no JSON.
    pub fn apply(&self, text: &str) -> Result<String, NoPlace> {
        let mut pass = Pass { text, splices: Vec::new(), path: Vec::new() };
        let mut scanner = Scanner::new(text, DEPTH_MAX);
        let root = scanner.value().and_then(|root| scanner.end().map(|()| root));
        let root = root.map_err(|_| pass.no_place(NOT_JSON))?;
        match &self.0.change {
            None => pass.inside(root, &self.0)?,
            Some(Change::Set(value)) => pass.put(root, value.clone()),
            Some(_) => return Err(pass.no_place("the whole can only be set")),
        }
        Ok(spliced(text, pass.splices))
    }
}

const NOT_JSON: &str = "this is no JSON";

impl Node {
    /// What stands in this place when nothing was there; none where nothing is to be put.
    fn made(&self) -> Option<String> {
        if let Some(Change::Set(value) | Change::Insert(value)) = &self.change {
            return Some(value.clone());
        }
        let members: Vec<String> = self.inner.iter().filter_map(|(key, node)| node.member(key)).collect();
        (self.change.is_none() && !members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
    }

    fn member(&self, key: &str) -> Option<String> {
        self.made().map(|value| format!("{}:{value}", quote(key)))
    }
}

/// One way through a text.
struct Pass<'a> {
    text: &'a str,
    splices: Vec<Splice>,
    path: Vec<String>,
}

impl Pass<'_> {
    /// The changes inside of the value in this place.
    fn inside(&mut self, place: Span, node: &Node) -> Result<(), NoPlace> {
        match self.text.as_bytes().get(place.start()) {
            Some(b'{') => self.object(place, node),
            Some(b'[') => self.array(place, node),
            _ if node.inner.values().any(|node| node.made().is_some()) => {
                Err(self.no_place("neither an object nor a list"))
            }
            _ => Ok(()),
        }
    }

    fn object(&mut self, place: Span, node: &Node) -> Result<(), NoPlace> {
        let members = Items::of_object(place, self.text).map_err(|_| self.no_place(NOT_JSON))?;
        let name = |item: &Item| key_text(self.text, item.key).map(std::borrow::Cow::into_owned);
        let names: Vec<Option<String>> = members.list.iter().map(name).collect();
        let is_there = |key: &str| names.iter().flatten().any(|name| name == key);
        let overwritten: Vec<&str> = node
            .inner
            .iter()
            .filter_map(|(key, node)| match &node.change {
                Some(Change::Rename(to)) if to != key && is_there(key) => Some(to.as_str()),
                _ => None,
            })
            .collect();
        let mut taken_out = vec![false; members.list.len()];
        for ((item, name), taken_out) in members.list.iter().zip(&names).zip(&mut taken_out) {
            let Some(name) = name else { continue };
            *taken_out = overwritten.contains(&name.as_str());
            if let Some(node) = node.inner.get(name).filter(|_| !*taken_out) {
                *taken_out = self.item(item, name, node)?;
            }
        }
        let added = node.inner.iter().filter(|(key, _)| !is_there(key));
        let added: Vec<String> = added.filter_map(|(key, node)| node.member(key)).collect();
        self.splices.extend(members.cut(&taken_out));
        self.splices.extend(members.add(&taken_out, &added));
        Ok(())
    }

    fn array(&mut self, place: Span, node: &Node) -> Result<(), NoPlace> {
        let elements = Items::of_array(place, self.text).map_err(|_| self.no_place(NOT_JSON))?;
        let len = elements.list.len();
        let mut taken_out = vec![false; len];
        let mut added = Vec::new();
        for (token, node) in &node.inner {
            let index = if token == "-" { Some(len) } else { index(token) };
            if let Some((item, taken_out)) =
                index.and_then(|index| Some((elements.list.get(index)?, taken_out.get_mut(index)?)))
            {
                *taken_out = self.item(item, token, node)?;
            } else if let Some(value) = node.made() {
                if index != Some(len) {
                    self.path.push(token.clone());
                    return Err(self.no_place("no place of this list"));
                }
                added.push(value);
            }
        }
        self.splices.extend(elements.cut(&taken_out));
        self.splices.extend(elements.add(&taken_out, &added));
        Ok(())
    }

    /// The change of one member or element, or those inside; whether it is taken out.
    fn item(&mut self, item: &Item, token: &str, node: &Node) -> Result<bool, NoPlace> {
        match &node.change {
            Some(Change::Remove) => return Ok(true),
            Some(Change::Insert(value)) if item.key.is_absent() => {
                let before = Span::new(item.value.start(), item.value.start());
                self.put(before, format!("{value},"));
            }
            Some(Change::Set(value) | Change::Insert(value)) => self.put(item.value, value.clone()),
            Some(Change::Rename(name)) if !item.key.is_absent() => self.put(item.key, quote(name)),
            Some(Change::Rename(_)) => {
                self.path.push(token.to_owned());
                return Err(self.no_place("an element has no name"));
            }
            None => {
                self.path.push(token.to_owned());
                self.inside(item.value, node)?;
                self.path.pop();
            }
        }
        Ok(false)
    }

    fn put(&mut self, place: Span, text: String) {
        self.splices.push(Splice { place, text });
    }

    fn no_place(&self, reason: &'static str) -> NoPlace {
        let token = |token: &String| format!("/{}", token.replace('~', "~0").replace('/', "~1"));
        NoPlace { place: self.path.iter().map(token).collect(), reason }
    }
}

/// An index as RFC 6901 writes it: digits, and no zero before others.
fn index(token: &str) -> Option<usize> {
    let is_plain =
        token.bytes().all(|byte| byte.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    token.parse().ok().filter(|_| is_plain)
}

fn spliced(text: &str, mut splices: Vec<Splice>) -> String {
    // What is put between two pieces goes before what is cut behind it.
    splices.sort_by_key(|splice| (splice.place.start(), splice.place.end()));
    let mut edited = String::with_capacity(text.len());
    let mut at = 0;
    for Splice { place, text: new } in &splices {
        edited.push_str(text.get(at..place.start()).unwrap_or_default());
        edited.push_str(new);
        at = place.end();
    }
    edited.push_str(text.get(at..).unwrap_or_default());
    edited
}

#[cfg(test)]
mod tests;

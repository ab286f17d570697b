//! The documents of an input, with the changes that are made to them.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_yaml_ng::{Mapping, Value};

use super::{
    edit::{self, Edit, NotInPlace},
    tree::{Document, Node, parse},
};
use crate::chart::to_yaml;

/// What changes in one object's annotations.
pub(super) struct Change {
    /// The place of the mapping of annotations.
    pub(super) path: &'static [&'static str],
    pub(super) set: Vec<(String, String)>,
    pub(super) remove: Vec<String>,
}

/// An object of the input: a document, or an item of a list.
#[derive(Clone)]
pub(super) struct Place {
    document: usize,
    /// The indices of the list's items, for a list in a list.
    items: Vec<usize>,
}

/// An input, and what was changed in it.
pub(super) struct Stream {
    text: String,
    documents: Vec<Document>,
    changes: Vec<(Place, Change)>,
}

impl Stream {
    pub(super) fn new(text: String) -> Result<Self> {
        let documents = parse(&text)?;
        Ok(Self { text, documents, changes: Vec::new() })
    }

    /// All objects, with those in lists.
    pub(super) fn objects(&self) -> Vec<(Place, &Node)> {
        let mut objects = Vec::new();
        for (document, root) in self.documents.iter().enumerate() {
            if let Some(root) = &root.root {
                collect(root, document, &mut Vec::new(), &mut objects);
            }
        }
        objects
    }

    pub(super) fn change(&mut self, place: Place, change: Change) {
        self.changes.push((place, change));
    }

    /// The text with the changes, in place: comments and order stay. If it is written in an unusual way, or if the
    /// result would not be exactly the changed objects, it is written anew.
    pub(super) fn text(&self) -> Result<String> {
        if self.changes.is_empty() {
            return Ok(self.text.clone());
        }
        let wanted = self.values()?;
        match self.in_place() {
            Ok(text) if values(&text).is_ok_and(|got| got == wanted) => Ok(text),
            _ => write(&wanted),
        }
    }

    /// The changed documents.
    pub(super) fn values(&self) -> Result<Vec<Value>> {
        let mut values = values(&self.text)?;
        for (place, change) in &self.changes {
            if let Some(object) = self.value(&mut values, place) {
                change.apply(object);
            }
        }
        Ok(values)
    }

    fn value<'a>(&self, values: &'a mut [Value], place: &Place) -> Option<&'a mut Value> {
        let document = values.get_mut(place.document)?;
        place.items.iter().try_fold(document, |list, item| list.get_mut("items")?.get_mut(*item))
    }

    fn in_place(&self) -> Result<String, NotInPlace> {
        let mut edits: Vec<Edit> = Vec::new();
        for (place, change) in &self.changes {
            let root = self.documents.get(place.document).and_then(|document| document.root.as_ref());
            let object = place
                .items
                .iter()
                .try_fold(root.ok_or(NotInPlace)?, |list, item| list.get("items")?.items().get(*item))
                .ok_or(NotInPlace)?;
            if !change.set.is_empty() {
                edits.extend(edit::set(&self.text, object, change.path, &change.set)?);
            }
            if !change.remove.is_empty() {
                let keys: Vec<&str> = change.remove.iter().map(String::as_str).collect();
                edits.extend(edit::remove(&self.text, object, change.path, &keys)?);
            }
        }
        edit::apply(&self.text, edits)
    }
}

impl Change {
    fn apply(&self, object: &mut Value) {
        if !self.set.is_empty() {
            let mut at = object;
            for key in self.path {
                let Value::Mapping(map) = at else { return };
                at = map.entry(Value::from(*key)).or_insert(Value::Null);
                if at.is_null() {
                    *at = Value::Mapping(Mapping::new());
                }
            }
            if let Value::Mapping(map) = at {
                for (key, value) in &self.set {
                    map.insert(Value::from(key.as_str()), Value::from(value.as_str()));
                }
            }
        } else if let Some((last, parents)) = self.path.split_last() {
            let parent = parents.iter().try_fold(object, |value, key| value.get_mut(*key));
            let Some(Value::Mapping(parent)) = parent else { return };
            if let Some(Value::Mapping(map)) = parent.get_mut(*last) {
                for key in &self.remove {
                    map.shift_remove(key.as_str());
                }
                if map.is_empty() && parent.len() > 1 {
                    parent.shift_remove(*last);
                }
            }
        }
    }
}

fn collect<'a>(
    node: &'a Node,
    document: usize,
    items: &mut Vec<usize>,
    objects: &mut Vec<(Place, &'a Node)>,
) {
    let kind = node.string(&["kind"]).unwrap_or_default();
    match node.get("items") {
        // A list in a list in a list is no manifest of anyone.
        Some(list) if kind.ends_with("List") && items.len() < 4 => {
            for (at, item) in list.items().iter().enumerate() {
                items.push(at);
                collect(item, document, items, objects);
                items.pop();
            }
        }
        _ => objects.push((Place { document, items: items.clone() }, node)),
    }
}

fn values(text: &str) -> Result<Vec<Value>> {
    serde_yaml_ng::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).context("the YAML cannot be read"))
        .collect()
}

/// The documents as new YAML.
pub(super) fn write(values: &[Value]) -> Result<String> {
    let mut out = String::new();
    for (at, value) in values.iter().filter(|value| !value.is_null()).enumerate() {
        if at > 0 {
            out.push_str("---\n");
        }
        let value = serde_json::to_value(value).context("the objects cannot be written as YAML")?;
        out.push_str(&to_yaml(&value));
        out.push('\n');
    }
    Ok(out)
}

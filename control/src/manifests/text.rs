//! Splits the text of a manifest file into documents and reads each.
//!
//! Each document is parsed on its own, so that a broken document does not hide mistakes in the next one.

use std::{path::Path, sync::Arc};

use serde_json::Value;

use super::{
    document::{Ignored, Origin, RawDocument},
    patch,
    problem::{Location, Problem},
};
use crate::{
    model::{Key, Kind},
    validation::{self, Finding, field},
};

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) documents: Vec<Arc<RawDocument>>,
    pub(super) problems: Vec<Problem>,
    pub(super) ignored: Vec<Ignored>,
}

pub(super) fn parse(file: &Path, text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    for (lines_before, part) in split(text.trim_start_matches('\u{feff}')) {
        let origin = Origin::new(part, lines_before);
        match origin.read() {
            Ok(Value::Null) => {}
            Ok(value) => parsed.add(file, value, origin),
            Err((line, column, reason)) => parsed.problems.push(Problem {
                location: Location { file: file.to_owned(), line, column },
                object: None,
                field: String::new(),
                reason,
                advice: "correct the YAML; until then the last valid state of this file applies".into(),
            }),
        }
    }
    parsed
}

impl Parsed {
    fn add(&mut self, file: &Path, value: Value, origin: Origin) {
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
        let version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        if kind.is_empty() || version.is_empty() {
            let missing = if kind.is_empty() { "kind" } else { "apiVersion" };
            let finding = Finding::new(
                field!(missing),
                "is missing or not a string",
                "every document needs apiVersion and kind, as in `apiVersion: v1` and `kind: Pod`",
            );
            return self.problems.push(origin.problem(file, None, finding));
        }
        let Some(known) = Kind::of(version, kind) else {
            if kind.ends_with("List") {
                return self.add_items(file, &value, origin);
            }
            let kind = format!("{version} {kind}");
            if !self.ignored.iter().any(|ignored| ignored.kind == kind) {
                self.ignored.push(Ignored { kind, location: origin.location(file) });
            }
            return;
        };
        match key(known, &value) {
            Ok(key) => {
                let overlaid = patch::merged(std::iter::once(value.clone()));
                let findings = validation::written(key.kind, &overlaid).err().unwrap_or_default();
                let problems = findings.into_iter().map(|found| origin.problem(file, Some(&key), found));
                self.problems.extend(problems);
                let location = origin.location(file);
                self.documents.push(Arc::new(RawDocument::new(key, &value, location, origin)));
            }
            Err(finding) => self.problems.push(origin.problem(file, None, finding)),
        }
    }

    fn add_items(&mut self, file: &Path, list: &Value, origin: Origin) {
        // `kubectl get pods -o yaml` omits the kind from the items of a typed list (PodList).
        let kind = list.get("kind").and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List"));
        let version = list.get("apiVersion").cloned().unwrap_or_default();
        let items = list.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for (position, item) in items.iter().enumerate() {
            let mut item = item.clone();
            if let (Some(item), Some(kind)) = (item.as_object_mut(), kind.filter(|kind| !kind.is_empty())) {
                item.entry("kind").or_insert_with(|| kind.into());
                item.entry("apiVersion").or_insert_with(|| version.clone());
            }
            self.add(file, item, origin.item(position));
        }
    }
}

fn key(kind: Kind, value: &Value) -> Result<Key, Finding> {
    let metadata = value.get("metadata");
    let text = |name: &str| metadata.and_then(|metadata| metadata.get(name)).and_then(Value::as_str);
    let name = text("name").filter(|name| !name.is_empty()).ok_or_else(|| {
        Finding::new(field!("metadata", "name"), "is missing or not a string", "give the object a name")
    })?;
    Ok(Key::new(kind, text("namespace"), name))
}

/// The documents of a text, each with the number of lines before it.
///
/// `---` at the start of a line always ends a document: YAML allows it in no scalar.
fn split(text: &str) -> Vec<(usize, &str)> {
    let is_marker = |line: &str| {
        line.strip_prefix("---").is_some_and(|rest| rest.trim_start().len() < rest.len() || rest.is_empty())
    };
    let (mut parts, mut start, mut start_line, mut offset) = (Vec::new(), 0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if is_marker(line) {
            parts.push((start_line, &text[start..offset]));
            (start, start_line) = (offset, number);
        }
        offset += line.len();
    }
    parts.push((start_line, &text[start..]));
    parts.retain(|(_, part)| !part.trim().is_empty());
    parts
}

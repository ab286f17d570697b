//! Which documents does a file's text hold?
//!
//! Each document is read on its own, so that one broken document does not hide the mistakes of the next.

use std::{path::Path, sync::Arc};

use serde::Deserialize;
use serde_json::Value;

use super::{
    locate::locate,
    object::{Key, Kind, Object},
    patch,
    path::{FieldPath, field},
    problem::{Finding, Problem, Source},
    validate,
};

/// A document as it stands in its file, before overlays.
#[derive(Debug)]
pub(crate) struct RawDocument {
    pub(crate) key: Key,
    pub(crate) source: Source,
    /// As JSON, which takes a tenth of the memory that the parsed value takes.
    json: Box<str>,
    origin: Origin,
}

/// Where in the text a document stands, kept to find the line of a mistake that shows up later.
#[derive(Clone, Debug)]
struct Origin {
    text: Arc<str>,
    lines_before: usize,
    /// The document is an item of a List.
    item: FieldPath,
}

/// A document of a kind that weft does not read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ignored {
    /// `apiVersion kind`.
    pub kind: String,
    /// The first place where it stands.
    pub source: Source,
}

/// What was found in a text.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) documents: Vec<Arc<RawDocument>>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) ignored: Vec<Ignored>,
}

/// Reads a text.
pub(crate) fn parse(file: &Path, text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    for (lines_before, part) in split(text.trim_start_matches('\u{feff}')) {
        let origin = Origin { text: part.into(), lines_before, item: FieldPath::default() };
        match origin.read() {
            Ok(Value::Null) => {}
            Ok(value) => parsed.document(file, value, origin),
            Err((line, column, reason)) => parsed.problems.push(Problem {
                source_at: Source { file: file.to_owned(), line, column },
                object: None,
                field: String::new(),
                reason,
                advice: "correct the YAML; the last good state of this file stays in force".into(),
            }),
        }
    }
    parsed
}

impl Parsed {
    fn document(&mut self, file: &Path, value: Value, origin: Origin) {
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
        let version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        if kind.is_empty() || version.is_empty() {
            let missing = if kind.is_empty() { "kind" } else { "apiVersion" };
            let finding = Finding::new(
                field!(missing),
                "is missing or not a text",
                "every document needs apiVersion and kind, as in `apiVersion: v1` and `kind: Pod`",
            );
            return self.problems.push(origin.problem(file, None, finding));
        }
        if kind.ends_with("List") && Kind::of(version, kind).is_none() {
            return self.list(file, &value, origin);
        }
        let Some(known) = Kind::of(version, kind) else {
            let kind = format!("{version} {kind}");
            if !self.ignored.iter().any(|ignored| ignored.kind == kind) {
                self.ignored.push(Ignored { kind, source: origin.source(file) });
            }
            return;
        };
        match name(known, &value) {
            Ok(key) => {
                let findings =
                    check(&key, &patch::merged(std::iter::once(value.clone()))).err().unwrap_or_default();
                let problems = findings.into_iter().map(|found| origin.problem(file, Some(&key), found));
                self.problems.extend(problems);
                let source = origin.source(file);
                let json = value.to_string().into();
                self.documents.push(Arc::new(RawDocument { key, json, source, origin }));
            }
            Err(finding) => self.problems.push(origin.problem(file, None, finding)),
        }
    }

    fn list(&mut self, file: &Path, list: &Value, origin: Origin) {
        // `kubectl get pods -o yaml` leaves the kind out of the items of a typed list (PodList).
        let kind = list.get("kind").and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List"));
        let version = list.get("apiVersion").cloned().unwrap_or_default();
        let items = list.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for (position, item) in items.iter().enumerate() {
            let mut item = item.clone();
            if let (Some(item), Some(kind)) = (item.as_object_mut(), kind.filter(|kind| !kind.is_empty())) {
                item.entry("kind").or_insert_with(|| kind.into());
                item.entry("apiVersion").or_insert_with(|| version.clone());
            }
            let place = field!("items", position).under(&origin.item);
            self.document(file, item, Origin { item: place, ..origin.clone() });
        }
    }
}

impl RawDocument {
    /// What it says.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.json).expect("what serde_json wrote can be read by serde_json")
    }

    /// The problem that `finding` is, if this document wrote the field.
    pub(crate) fn problem(&self, finding: Finding) -> Problem {
        self.origin.problem(&self.source.file, Some(&self.key), finding)
    }
}

impl Origin {
    fn read(&self) -> Result<Value, (usize, usize, String)> {
        let read = |text: &str| {
            let Some(document) = serde_yaml_ng::Deserializer::from_str(text).next() else {
                return Ok(serde_yaml_ng::Value::Null);
            };
            // By way of YAML's own value, which refuses a key that is given twice.
            serde_yaml_ng::Value::deserialize(document)
        };
        let value = match read(&self.text) {
            Ok(value) => value,
            Err(_) => match read(&self.padded()) {
                Ok(value) => value,
                Err(error) => {
                    let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
                    let text = error.to_string();
                    let at = format!(" at line {line} column {column}");
                    return Err((line, column, text.strip_suffix(&at).unwrap_or(&text).to_owned()));
                }
            },
        };
        serde_json::to_value(value).map_err(|error| (self.lines_before + 1, 1, error.to_string()))
    }

    fn problem(&self, file: &Path, key: Option<&Key>, finding: Finding) -> Problem {
        let (line, column) = locate(&self.padded(), &finding.field.under(&self.item));
        Problem {
            source_at: Source { file: file.to_owned(), line, column },
            object: key.map(Key::to_string),
            field: finding.field.to_string(),
            reason: finding.reason,
            advice: finding.advice,
        }
    }

    fn source(&self, file: &Path) -> Source {
        let starts = |line: &&str| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#') && line != "---"
        };
        let blank = self.text.lines().take_while(|line| !starts(line)).count();
        let (line, column) = match self.item.segments() {
            [] => (self.lines_before + blank + 1, 1),
            _ => locate(&self.padded(), &self.item),
        };
        Source { file: file.to_owned(), line, column }
    }

    /// The text with as many empty lines before it as the file has, so that the parser's line numbers are the file's.
    fn padded(&self) -> String {
        "\n".repeat(self.lines_before) + &self.text
    }
}

/// The object that `value` describes, or everything that is wrong with it.
pub(crate) fn check(key: &Key, value: &Value) -> Result<Object, Vec<Finding>> {
    let object = Object::from_json(key.kind, value).map_err(|finding| vec![finding])?;
    let findings = validate::findings(&object);
    if findings.is_empty() { Ok(object) } else { Err(findings) }
}

fn name(kind: Kind, value: &Value) -> Result<Key, Finding> {
    let text = |name: &str| {
        value
            .get("metadata")
            .and_then(|metadata| metadata.get(name))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let name = text("name").filter(|name| !name.is_empty()).ok_or_else(|| {
        Finding::new(field!("metadata", "name"), "is missing or not a text", "give the object a name")
    })?;
    let namespace = match kind.is_namespaced() {
        true => text("namespace").filter(|name| !name.is_empty()).unwrap_or_else(|| "default".into()),
        false => String::new(),
    };
    Ok(Key { kind, namespace, name })
}

/// The documents of a multi-document text, each with the number of lines before it.
///
/// `---` at the start of a line ends a document wherever it stands: YAML allows it in no scalar.
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

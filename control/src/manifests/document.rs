//! The documents of a manifest file, each with its place in the text.

use std::{path::Path, sync::Arc};

use serde::Deserialize;
use serde_json::Value;

use super::{
    locate::locate,
    problem::{Location, Problem},
};
use crate::{
    model::Key,
    validation::{FieldPath, Finding, field},
};

/// A document as it is in its file, before overlays are merged onto it.
#[derive(Debug)]
pub(super) struct RawDocument {
    pub(super) key: Key,
    pub(super) location: Location,
    /// As text: it takes a tenth of the memory of the parsed value.
    json: Box<str>,
    origin: Origin,
}

/// The part of a file's text that holds a document. It is kept so that a mistake that shows up later has a line, too.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    text: Arc<str>,
    lines_before: usize,
    /// The path to the document if it is an item of a List.
    item: FieldPath,
}

/// A document of a kind that weft does not read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ignored {
    /// `apiVersion kind`.
    pub kind: String,
    /// The first document of this kind in the file.
    pub location: Location,
}

impl RawDocument {
    pub(super) fn new(key: Key, value: &Value, location: Location, origin: Origin) -> Self {
        Self { key, json: value.to_string().into(), location, origin }
    }

    pub(super) fn value(&self) -> Value {
        serde_json::from_str(&self.json).expect("what serde_json wrote can be read by serde_json")
    }

    /// The problem that `finding` is if this document wrote the field.
    pub(super) fn problem(&self, finding: Finding) -> Problem {
        self.origin.problem(&self.location.file, Some(&self.key), finding)
    }
}

impl Origin {
    pub(super) fn new(text: &str, lines_before: usize) -> Self {
        Self { text: text.into(), lines_before, item: FieldPath::default() }
    }

    /// The origin of an item of this document, which is a List.
    pub(super) fn item(&self, position: usize) -> Self {
        Self { item: field!("items", position).under(&self.item), ..self.clone() }
    }

    /// Parses the text; the error has line and column in the file.
    pub(super) fn read(&self) -> Result<Value, (usize, usize, String)> {
        let read = |text: &str| {
            let Some(document) = serde_yaml_ng::Deserializer::from_str(text).next() else {
                return Ok(serde_yaml_ng::Value::Null);
            };
            // Through YAML's own value type, because it refuses duplicate keys.
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

    pub(super) fn problem(&self, file: &Path, key: Option<&Key>, finding: Finding) -> Problem {
        let (line, column) = locate(&self.padded(), &finding.field.under(&self.item));
        Problem {
            location: Location { file: file.to_owned(), line, column },
            object: key.map(Key::to_string),
            field: finding.field.to_string(),
            reason: finding.reason,
            advice: finding.advice,
        }
    }

    /// The place where the document begins.
    pub(super) fn location(&self, file: &Path) -> Location {
        let begins = |line: &&str| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#') && line != "---"
        };
        let blank = self.text.lines().take_while(|line| !begins(line)).count();
        let (line, column) = match self.item.segments() {
            [] => (self.lines_before + blank + 1, 1),
            _ => locate(&self.padded(), &self.item),
        };
        Location { file: file.to_owned(), line, column }
    }

    /// The text after as many empty lines as there are lines before it in the file: so the parser's line numbers are
    /// those of the file.
    fn padded(&self) -> String {
        "\n".repeat(self.lines_before) + &self.text
    }
}

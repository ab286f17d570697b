//! What is wrong with a manifest, where, and what can be done about it?

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::path::FieldPath;

/// A place in a manifest; line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A mistake in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub struct Problem {
    /// Where it is.
    pub source_at: Source,
    /// The object it belongs to (`Pod demo/web`), if the document got that far.
    pub object: Option<String>,
    /// The field (`spec.ports[0].port`); empty: the document as a whole.
    pub field: String,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub advice: String,
}

/// A mistake inside one document, before it is known where in the file that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) field: FieldPath,
    pub(crate) reason: String,
    pub(crate) advice: String,
}

impl Finding {
    pub(crate) fn new(field: FieldPath, reason: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { field, reason: reason.into(), advice: advice.into() }
    }
}

impl Source {
    pub(crate) fn whole(file: &Path) -> Self {
        Self { file: file.to_owned(), line: 1, column: 1 }
    }
}

impl Problem {
    /// A mistake that concerns the file, not a field in it.
    pub(crate) fn whole(file: &Path, reason: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            source_at: Source::whole(file),
            object: None,
            field: String::new(),
            reason: reason.into(),
            advice: advice.into(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.source_at)?;
        let field = if self.field.is_empty() { "document" } else { &self.field };
        match &self.object {
            Some(object) => write!(f, "{field} of {object}: ")?,
            None => write!(f, "{field}: ")?,
        }
        write!(f, "{}; {}", self.reason, self.advice)
    }
}

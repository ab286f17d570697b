//! Mistakes in manifests: where, what, and how to correct them.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A place in a manifest. Line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    pub file: PathBuf,
    pub line: usize,
    pub column: usize,
}

/// A mistake in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub struct Problem {
    pub location: Location,
    /// The object that it belongs to (`Pod demo/web`), if its name could be read.
    pub object: Option<String>,
    /// The field (`spec.ports[0].port`); empty if the whole document is wrong.
    pub field: String,
    pub reason: String,
    pub advice: String,
}

impl Problem {
    /// A mistake of the file or folder as a whole.
    pub(super) fn of_file(file: &Path, reason: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            location: Location { file: file.to_owned(), line: 1, column: 1 },
            object: None,
            field: String::new(),
            reason: reason.into(),
            advice: advice.into(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.location)?;
        let field = if self.field.is_empty() { "document" } else { &self.field };
        match &self.object {
            Some(object) => write!(f, "{field} of {object}: ")?,
            None => write!(f, "{field}: ")?,
        }
        write!(f, "{}; {}", self.reason, self.advice)
    }
}

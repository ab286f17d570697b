//! A mistake inside one object: which field, what is wrong, and how to correct it.

use std::fmt;

use super::path::FieldPath;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Empty if the object as a whole is wrong.
    pub(crate) field: FieldPath,
    pub(crate) reason: String,
    pub(crate) advice: String,
}

impl Finding {
    pub(crate) fn new(field: FieldPath, reason: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { field, reason: reason.into(), advice: advice.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field.to_string();
        let field = if field.is_empty() { "the object" } else { &field };
        write!(f, "{field}: {}; {}", self.reason, self.advice)
    }
}

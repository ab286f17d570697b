//! What is wrong with a message of the control plane.

use std::fmt::Debug;

/// A value for a log line is cut after this many characters.
const MAX_VALUE: usize = 500;

/// A part of the message that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("{field} {value} is not valid: {reason}")]
pub(super) struct Mistake {
    pub(super) field: &'static str,
    value: String,
    pub(super) reason: String,
}

impl Mistake {
    pub(super) fn new(field: &'static str, value: &dyn Debug, reason: impl Into<String>) -> Self {
        let mut text = format!("{value:?}");
        if text.len() > MAX_VALUE {
            text = text.chars().take(MAX_VALUE).chain(['…']).collect();
        }
        Self { field, value: text, reason: reason.into() }
    }
}

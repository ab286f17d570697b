//! Reads what a proxy says about its client.

use serde::Deserialize;

/// The parts of the context token that weft uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Context {
    pub(super) node_name: String,
}

impl Context {
    /// A token that cannot be read counts as empty, as in Linkerd.
    pub(super) fn parse(token: &str) -> Self {
        match token.is_empty() {
            true => Self::default(),
            false => serde_json::from_str(token).unwrap_or_else(|error| {
                tracing::debug!(%error, "cannot read a context token");
                Self::default()
            }),
        }
    }
}

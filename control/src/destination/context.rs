//! Who is asking?

use serde::Deserialize;

/// What a proxy says about its client in the context token, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Context {
    /// The node that the client is on.
    pub(super) node_name: String,
}

impl Context {
    /// Reads a token; one that cannot be read says nothing, as with Linkerd.
    pub(super) fn parse(token: &str) -> Self {
        match token.is_empty() {
            true => Self::default(),
            false => serde_json::from_str(token).unwrap_or_else(|error| {
                tracing::debug!(%error, "context token cannot be read");
                Self::default()
            }),
        }
    }
}

//! Who calls: what a token proves.

use tonic::Status;

/// Whom a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The proxy of a node.
    NodeProxy { node: String },
    /// A pod with this service account: a Linkerd sidecar, for example.
    Workload { namespace: String, service_account: String },
}

/// Why a token is not accepted. No variant holds the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthenticationError {
    #[error("the token does not belong to any node of this mesh")]
    Unknown,
    #[error("the token is not valid: {0}")]
    Invalid(String),
    #[error("the token's pod does not count as a node proxy: {0}")]
    NotTheProxy(String),
    #[error("tokens cannot be checked now: {0}")]
    Unavailable(String),
}

impl AuthenticationError {
    /// The label of metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Unknown | Self::Invalid(_) => "bad_token",
            Self::NotTheProxy(_) => "not_the_proxy",
            Self::Unavailable(_) => "token_review",
        }
    }
}

impl From<AuthenticationError> for Status {
    fn from(error: AuthenticationError) -> Self {
        let text = error.to_string();
        match error {
            AuthenticationError::Unknown | AuthenticationError::Invalid(_) => Self::unauthenticated(text),
            AuthenticationError::NotTheProxy(_) => Self::permission_denied(text),
            AuthenticationError::Unavailable(_) => Self::unavailable(text),
        }
    }
}

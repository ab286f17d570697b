//! The two ways to find out who calls.

use std::sync::Arc;

use super::{
    caller::{AuthenticationError, Caller},
    reviews::TokenReviews,
    tokens::{Owner, Tokens},
};

/// The service account that taps, where tokens are files as elsewhere.
const TAP_ACCOUNT: &str = "tap";
const VIZ_NAMESPACE: &str = "weft-viz";

/// Finds out whom a token belongs to.
#[derive(Clone, Debug)]
pub(crate) enum Authenticator {
    /// Each node has a file with its token.
    Files(Arc<Tokens>),
    /// The Kubernetes API reviews tokens of service accounts.
    Reviews(Arc<TokenReviews>),
}

impl Authenticator {
    pub(crate) async fn authenticate(&self, token: &[u8]) -> Result<Caller, AuthenticationError> {
        let token = token.trim_ascii();
        match self {
            Self::Files(tokens) => match tokens.owner_of(token) {
                Some(Owner::Node(node)) => Ok(Caller::NodeProxy { node }),
                Some(Owner::Viz) => Ok(Caller::Workload {
                    namespace: VIZ_NAMESPACE.to_owned(),
                    service_account: TAP_ACCOUNT.to_owned(),
                }),
                None => Err(AuthenticationError::Unknown),
            },
            Self::Reviews(reviews) => reviews.authenticate(token).await,
        }
    }
}

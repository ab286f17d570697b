//! The two ways to find out who calls.

use std::sync::Arc;

use super::{
    caller::{AuthenticationError, Caller},
    reviews::TokenReviews,
    tokens::Tokens,
};

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
            Self::Files(tokens) => match tokens.node_of(token) {
                Some(node) => Ok(Caller::NodeProxy { node }),
                None => Err(AuthenticationError::Unknown),
            },
            Self::Reviews(reviews) => reviews.authenticate(token).await,
        }
    }
}

//! Decides whether a request may tap.

use std::{fmt, sync::Arc};

use http::{HeaderMap, header::AUTHORIZATION};
use weft_api::viz::{ErrorCode, Failure, TapQuery};

use super::{
    front_proxy::{ClientCertificate, FrontProxy},
    review::Reviews,
};

/// How requests are authenticated and authorized.
#[derive(Clone)]
pub(super) enum Access {
    /// By the Kubernetes API.
    Kubernetes { front_proxy: Arc<FrontProxy>, reviews: Arc<Reviews> },
    /// By a token.
    Token(Arc<Secret>),
}

/// Whoever has the token.
const TOKEN_USER: &str = "the owner of the tap token";

/// A token. It is never shown.
pub(super) struct Secret(pub(super) String);

impl Access {
    /// Who calls.
    ///
    /// # Errors
    /// Who calls is not known, or may not tap this.
    pub(super) async fn check(
        &self,
        certificate: &ClientCertificate,
        headers: &HeaderMap,
        query: &TapQuery,
    ) -> Result<String, Failure> {
        match self {
            Self::Kubernetes { front_proxy, reviews } => {
                let user = front_proxy.user(certificate, headers)?;
                reviews.check(&user, query).await?;
                Ok(user.name)
            }
            Self::Token(secret) => {
                let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
                let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().trim();
                match secret.is(token) {
                    true => Ok(TOKEN_USER.to_owned()),
                    false => Err(Failure::new(ErrorCode::Forbidden, "the token of this request is not the tap token")
                        .hint("Send `authorization: Bearer TOKEN` with the content of the token file, which only its owner can read")),
                }
            }
        }
    }
}

impl Secret {
    /// Compares in full, so that the duration reveals nothing.
    fn is(&self, token: &str) -> bool {
        use subtle::ConstantTimeEq;
        !self.0.is_empty() && bool::from(self.0.as_bytes().ct_eq(token.as_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        let secret = Secret("abcdef".to_owned());
        assert!(secret.is("abcdef"));
        for other in ["", "abcde", "abcdefg", "Abcdef"] {
            assert!(!secret.is(other), "{other}");
        }
        assert!(!Secret(String::new()).is(""));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}

//! The identity service, which issues certificates (`io.linkerd.proxy.identity.Identity`).

mod authenticator;
mod authority;
mod caller;
mod certify;
mod create;
mod csr;
mod files;
mod issuer;
mod own;
mod reviews;
mod tokens;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    authenticator::Authenticator, authority::CertificateAuthority, caller::Caller, certify::Identities,
    own::OwnCertificate, reviews::TokenReviews, tokens::Tokens,
};
pub use self::{
    authority::AuthorityConfig, files::CertificateAuthorityError, issuer::IssuerError, tokens::TokenError,
};

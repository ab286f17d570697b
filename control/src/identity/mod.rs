//! The identity service, which issues certificates (`io.linkerd.proxy.identity.Identity`).

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

pub use self::{
    authority::AuthorityConfig, files::CertificateAuthorityError, issuer::IssuerError, tokens::TokenError,
};
pub(crate) use self::{
    authority::CertificateAuthority,
    caller::{Authenticator, Caller},
    certify::Identities,
    own::OwnCertificate,
    reviews::{PROXY_ACCOUNT, TokenReviews},
    tokens::Tokens,
};

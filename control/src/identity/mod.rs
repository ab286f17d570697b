//! The identity service, which issues certificates (`io.linkerd.proxy.identity.Identity`).

mod authority;
mod certify;
mod create;
mod csr;
mod files;
mod issuer;
mod tokens;

#[cfg(test)]
mod tests;

pub(crate) use self::{authority::CertificateAuthority, certify::Identities, tokens::Tokens};
pub use self::{files::CertificateAuthorityError, issuer::IssuerError, tokens::TokenError};

//! Who may have a certificate? (`io.linkerd.proxy.identity.Identity`)

mod authority;
mod certify;
mod create;
mod csr;
mod issuer;
mod tokens;

#[cfg(test)]
mod tests;

pub(crate) use self::{authority::Authority, certify::Identities, tokens::Tokens};
pub use self::{authority::AuthorityError, issuer::IssuerError, tokens::TokenError};

//! The name that a certificate proves.

use std::{fmt, str::FromStr, sync::Arc};

use rustls_pki_types::DnsName;

/// The name that a workload's certificate proves: `SA.NS.serviceaccount.identity.CPNS.TRUSTDOMAIN`, or the
/// SPIFFE id of a workload from outside the cluster.
///
/// DNS names are compared without case and are kept in lower case; a SPIFFE id is kept as it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(Arc<str>);

/// The text is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a DNS name nor a SPIFFE id")]
pub struct InvalidIdentity(String);

impl Identity {
    /// The identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it a URI (and so in another kind of SAN than a DNS name)?
    pub(crate) fn is_uri(&self) -> bool {
        self.0.starts_with(SPIFFE)
    }
}

impl FromStr for Identity {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let valid = match text.strip_prefix(SPIFFE) {
            Some(rest) => text.len() <= MAX_URI && is_spiffe(rest),
            None => !text.ends_with('.') && DnsName::try_from(text).is_ok(),
        };
        if !valid {
            return Err(InvalidIdentity(text.chars().take(MAX_DNS).collect()));
        }
        Ok(Self(if text.starts_with(SPIFFE) { text.into() } else { text.to_ascii_lowercase().into() }))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A trust domain, then a path, in the characters that the SPIFFE standard allows.
fn is_spiffe(rest: &str) -> bool {
    let (domain, path) = rest.split_once('/').unwrap_or((rest, "."));
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !domain.is_empty()
        && domain.chars().all(|c| allowed(c) && !c.is_ascii_uppercase())
        && path.split('/').all(|segment| !segment.is_empty() && segment.chars().all(allowed))
}

const SPIFFE: &str = "spiffe://";
const MAX_URI: usize = 2048;
const MAX_DNS: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_lowered() {
        let web: Identity = "Web.default.serviceaccount.identity.linkerd.cluster.local".parse().unwrap();
        assert_eq!(web.as_str(), "web.default.serviceaccount.identity.linkerd.cluster.local");
        assert!(!web.is_uri());
        let long = format!("{}.ns", "a".repeat(64));
        for bad in ["", ".", "web.", "*.default.svc", "a b", "a\nb", "10.0.0.1", "ü.local", "-a.b", &long] {
            assert!(bad.parse::<Identity>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn spiffe_ids_keep_their_case() {
        let vm: Identity = "spiffe://root.example/vm/Db-1".parse().unwrap();
        assert_eq!(vm.to_string(), "spiffe://root.example/vm/Db-1");
        assert!(vm.is_uri());
        for bad in
            ["spiffe://", "spiffe:///a", "spiffe://a/", "spiffe://a//b", "spiffe://A/b", "spiffe://a/b?c"]
        {
            assert!(bad.parse::<Identity>().is_err(), "{bad:?}");
        }
    }
}

//! Parses the identities and networks that policies name.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::names;

/// Which identities a policy means.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdentityMatch {
    /// This one.
    Exact(String),
    /// Those that end with this text, which begins with a dot. Every identity if it is empty.
    Suffix(String),
}

impl IdentityMatch {
    /// Reads an identity, `*`, or `*.` and the end of identities. `None` if it is none of them.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('*') {
            Some("") => Some(Self::Suffix(String::new())),
            Some(rest) => {
                let end = rest.strip_prefix('.')?;
                names::is_subdomain(end).then(|| Self::Suffix(rest.to_owned()))
            }
            None => names::is_subdomain(text).then(|| Self::Exact(text.to_owned())),
        }
    }
}

/// Reads a CIDR or one address.
pub fn parse_network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok().map(|network| network.trunc());
    network.or_else(|| Some(text.parse::<IpAddr>().ok()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_the_beginning_of_identities() {
        let name = "web.demo.serviceaccount.identity.weft.cluster.local";
        assert_eq!(IdentityMatch::parse(name), Some(IdentityMatch::Exact(name.into())));
        assert_eq!(IdentityMatch::parse("*"), Some(IdentityMatch::Suffix(String::new())));
        let suffix = ".demo.serviceaccount.identity.weft.cluster.local";
        assert_eq!(IdentityMatch::parse(&format!("*{suffix}")), Some(IdentityMatch::Suffix(suffix.into())));
        for text in ["", "*demo", "web.*", "*.", "a..b", "*.*", "We"] {
            assert_eq!(IdentityMatch::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_network_may_be_one_address() {
        for (text, expected) in
            [("10.1.2.3/8", "10.0.0.0/8"), ("10.1.2.3", "10.1.2.3/32"), ("fd00::1", "fd00::1/128")]
        {
            assert_eq!(parse_network(text).map(|network| network.to_string()).as_deref(), Some(expected));
        }
        assert_eq!(parse_network("10.0.0.0/33"), None);
    }
}

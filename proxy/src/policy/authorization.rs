//! What lets clients in beside the policy of a port: a ServerAuthorization or an AuthorizationPolicy.

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::Client;
use crate::{metrics::AuthorizationLabels, tls::Identity};

/// A resource that lets clients in. All its conditions must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientAuthorization {
    pub labels: Arc<AuthorizationLabels>,
    /// The client's address is in one of these.
    pub networks: Vec<Network>,
    pub clients: Clients,
}

/// What a client must have proven.
#[derive(Clone, Debug, PartialEq)]
pub enum Clients {
    /// Nothing.
    Unauthenticated,
    /// Any identity of the mesh.
    Authenticated,
    /// One of these identities.
    Identities(Identities),
}

/// Identities by their whole names, and by the ends of their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identities {
    /// In the form in which [`Identity`] keeps them.
    names: HashSet<Box<str>>,
    /// Each begins with a dot.
    suffixes: Vec<Box<str>>,
}

/// A network without some parts of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    pub net: IpNet,
    pub except: Vec<IpNet>,
}

impl ClientAuthorization {
    pub fn admits(&self, client: Client<'_>) -> bool {
        let proven = match (&self.clients, client.identity) {
            (Clients::Unauthenticated, _) | (Clients::Authenticated, Some(_)) => true,
            (Clients::Identities(identities), Some(identity)) => identities.contain(identity),
            (Clients::Authenticated | Clients::Identities(_), None) => false,
        };
        proven && self.networks.iter().any(|network| network.contains(client.ip))
    }
}

impl Identities {
    /// `suffixes` begin with a dot. DNS names are compared without case.
    pub fn new(names: impl IntoIterator<Item = String>, suffixes: impl IntoIterator<Item = String>) -> Self {
        // What is no identity is nobody's name.
        let names = names.into_iter().filter_map(|name| name.parse::<Identity>().ok());
        Self {
            names: names.map(|name| name.as_str().into()).collect(),
            suffixes: suffixes.into_iter().map(|suffix| suffix.to_ascii_lowercase().into()).collect(),
        }
    }

    fn contain(&self, identity: &Identity) -> bool {
        let name = identity.as_str();
        // A suffix is one of DNS names: the end of a SPIFFE id says nothing about its owner.
        self.names.contains(name)
            || !identity.is_uri() && self.suffixes.iter().any(|suffix| name.ends_with(&**suffix))
    }
}

impl Network {
    fn contains(&self, ip: IpAddr) -> bool {
        self.net.contains(&ip) && !self.except.iter().any(|except| except.contains(&ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "web.demo.serviceaccount.identity.weft.cluster.local";

    fn authorization(networks: &[(&str, &[&str])], clients: Clients) -> ClientAuthorization {
        let networks = networks.iter().map(|(net, except)| Network {
            net: net.parse().unwrap(),
            except: except.iter().map(|net| net.parse().unwrap()).collect(),
        });
        let labels = Arc::new(AuthorizationLabels {
            group: "policy.linkerd.io".into(),
            kind: "serverauthorization".into(),
            name: "test".into(),
        });
        ClientAuthorization { labels, networks: networks.collect(), clients }
    }

    fn everywhere(clients: Clients) -> ClientAuthorization {
        authorization(&[("0.0.0.0/0", &[]), ("::/0", &[])], clients)
    }

    fn admits(authorization: &ClientAuthorization, ip: &str, identity: Option<&str>) -> bool {
        let identity: Option<Identity> = identity.map(|name| name.parse().unwrap());
        authorization.admits(Client { ip: ip.parse().unwrap(), identity: identity.as_ref() })
    }

    #[test]
    fn a_network_admits_its_addresses_except_some() {
        let networks: [(&str, &[&str]); 2] =
            [("10.0.0.0/8", &["10.1.0.0/16", "10.2.3.4/32"]), ("fd00::/8", &[])];
        let authorization = authorization(&networks, Clients::Unauthenticated);
        for (ip, expected) in [
            ("10.0.0.1", true),
            ("10.1.0.1", false),
            ("10.2.3.4", false),
            ("10.2.3.5", true),
            ("192.0.2.1", false),
            ("fd00::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(admits(&authorization, ip, None), expected, "{ip}");
        }
    }

    #[test]
    fn without_networks_nobody_is_admitted() {
        assert!(!admits(&authorization(&[], Clients::Unauthenticated), "10.0.0.1", Some(WEB)));
    }

    #[test]
    fn an_identity_must_be_proven_and_its_address_in_the_network() {
        let inside = authorization(&[("10.0.0.0/8", &[])], Clients::Authenticated);
        assert!(admits(&inside, "10.0.0.1", Some(WEB)));
        assert!(!admits(&inside, "10.0.0.1", None));
        assert!(!admits(&inside, "192.0.2.1", Some(WEB)));
    }

    #[test]
    fn identities_are_compared_as_a_whole_or_by_their_end_from_a_dot_on() {
        let names =
            ["WEB.demo.serviceaccount.identity.weft.cluster.local", "not an identity", "spiffe://x/web"];
        let suffixes = [".prod.serviceaccount.identity.weft.cluster.local"];
        let listed = everywhere(Clients::Identities(Identities::new(
            names.map(str::to_owned),
            suffixes.map(str::to_owned),
        )));
        for (identity, expected) in [
            (WEB, true),
            ("spiffe://x/web", true),
            ("spiffe://x/web2", false),
            ("spiffe://x/a.prod.serviceaccount.identity.weft.cluster.local", false),
            ("x.web.demo.serviceaccount.identity.weft.cluster.local", false),
            ("api.prod.serviceaccount.identity.weft.cluster.local", true),
            ("api.evilprod.serviceaccount.identity.weft.cluster.local", false),
            ("prod.serviceaccount.identity.weft.cluster.local", false),
            ("api.prod.serviceaccount.identity.weft.cluster.local.evil", false),
        ] {
            assert_eq!(admits(&listed, "10.0.0.1", Some(identity)), expected, "{identity}");
        }
        assert!(!admits(&listed, "10.0.0.1", None));
        assert!(!admits(&everywhere(Clients::Identities(Identities::default())), "10.0.0.1", Some(WEB)));
    }
}

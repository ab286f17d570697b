//! The names and networks that the whole mesh has in common.

use std::net::IpAddr;

use ipnet::IpNet;

/// The service account of weft-control.
const CONTROL_ACCOUNT: &str = "weft-control";
/// The service account of node proxies.
pub(crate) const PROXY_ACCOUNT: &str = "weft-proxy";

#[derive(Clone, Debug)]
pub struct Mesh {
    /// The last part of every identity.
    pub trust_domain: String,
    /// The part of every identity before the trust domain.
    pub control_plane_namespace: String,
    /// The last part of every service's name.
    pub cluster_domain: String,
    /// The networks of pod and service addresses.
    pub cluster_networks: Vec<IpNet>,
}

impl Mesh {
    /// The identity of a service account.
    pub fn identity(&self, service_account: &str, namespace: &str) -> String {
        self.identity_by(&self.control_plane_namespace, service_account, namespace)
    }

    /// The identity that the control plane in another namespace gives a service account.
    pub fn identity_by(&self, control_plane: &str, service_account: &str, namespace: &str) -> String {
        format!("{service_account}.{namespace}.serviceaccount.identity.{control_plane}.{}", self.trust_domain)
    }

    /// The end of the identities of all service accounts of a namespace, with the dot before it.
    pub fn identities_of(&self, namespace: &str) -> String {
        format!(".{namespace}.{}", self.identity_suffix())
    }

    /// The service account and namespace of `identity`; names of service accounts may contain dots.
    pub fn service_account<'a>(&self, identity: &'a str) -> Option<(&'a str, &'a str)> {
        let account = identity.strip_suffix(&self.identity_suffix())?.strip_suffix('.')?;
        account.rsplit_once('.').filter(|(account, namespace)| !account.is_empty() && !namespace.is_empty())
    }

    /// The identity of weft-control itself.
    pub fn own_identity(&self) -> String {
        self.identity(CONTROL_ACCOUNT, &self.control_plane_namespace)
    }

    /// The identity of the node proxies themselves.
    pub fn proxy_identity(&self) -> String {
        self.identity(PROXY_ACCOUNT, &self.control_plane_namespace)
    }

    /// The full name of a service.
    pub fn authority(&self, service: &str, namespace: &str) -> String {
        format!("{service}.{namespace}.svc.{}", self.cluster_domain)
    }

    /// Whether the cluster's networks contain `ip`.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.cluster_networks.iter().any(|network| network.contains(&ip))
    }

    fn identity_suffix(&self) -> String {
        format!("serviceaccount.identity.{}.{}", self.control_plane_namespace, self.trust_domain)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn identities_are_formatted_and_parsed() {
        let mesh = crate::testing::mesh();
        let identity = mesh.identity("my.account", "demo");
        assert_eq!(identity, "my.account.demo.serviceaccount.identity.linkerd.cluster.local");
        assert_eq!(mesh.service_account(&identity), Some(("my.account", "demo")));
        for other in
            ["demo.serviceaccount.identity.linkerd.cluster.local", "a.demo.serviceaccount.identity.x.y", ""]
        {
            assert_eq!(mesh.service_account(other), None, "{other}");
        }
    }
}

//! How are things named in this mesh?

use std::net::IpAddr;

use ipnet::IpNet;

/// The names and networks that all of the mesh has in common.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// The last part of every identity.
    pub trust_domain: String,
    /// The part before it.
    pub control_plane_namespace: String,
    /// The last part of every service's name.
    pub cluster_domain: String,
    /// Where pods and services have their addresses.
    pub cluster_networks: Vec<IpNet>,
}

impl Mesh {
    /// The identity of a service account.
    pub fn identity(&self, service_account: &str, namespace: &str) -> String {
        format!("{service_account}.{namespace}.{}", self.identity_suffix())
    }

    /// The service account and namespace that `identity` is of; service accounts may have dots in their names.
    pub fn service_account<'a>(&self, identity: &'a str) -> Option<(&'a str, &'a str)> {
        let account = identity.strip_suffix(&self.identity_suffix())?.strip_suffix('.')?;
        account.rsplit_once('.').filter(|(account, namespace)| !account.is_empty() && !namespace.is_empty())
    }

    /// The full name of a service.
    pub fn authority(&self, service: &str, namespace: &str) -> String {
        format!("{service}.{namespace}.svc.{}", self.cluster_domain)
    }

    /// Whether `ip` is in the cluster.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.cluster_networks.iter().any(|network| network.contains(&ip))
    }

    fn identity_suffix(&self) -> String {
        format!("serviceaccount.identity.{}.{}", self.control_plane_namespace, self.trust_domain)
    }
}

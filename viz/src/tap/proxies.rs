//! Finds the proxies of nodes.

use std::net::SocketAddr;

use weft_control::index::Cluster;

use crate::fixed_proxy::FixedProxy;

/// The port at which proxies answer taps.
const PORT: u16 = 4190;
/// The service account of node proxies.
const ACCOUNT: &str = "weft-proxy";

/// Where the proxies answer taps.
#[derive(Clone, Debug)]
pub enum Proxies {
    Fixed(Vec<FixedProxy>),
    /// At the address of their pods, which is that of their node.
    Pods {
        namespace: String,
    },
}

impl Proxies {
    /// # Errors
    /// Why the node's proxy cannot be tapped.
    pub(super) fn of(&self, node: &str, cluster: &Cluster) -> Result<SocketAddr, String> {
        match self {
            Self::Fixed(proxies) => {
                let proxy = proxies.iter().find(|proxy| proxy.node == node);
                let proxy = proxy.ok_or_else(|| format!("no option names the proxy of node {node}"))?;
                proxy
                    .address
                    .resolve()
                    .ok_or_else(|| format!("the proxy of node {node} does not answer taps"))
            }
            Self::Pods { namespace } => {
                let pods = cluster.pods_on(node);
                let proxy = pods.iter().filter(|pod| {
                    pod.name.namespace == *namespace && pod.service_account == ACCOUNT && pod.host_network
                });
                // During a rollout there are two, at the same address.
                let ip = proxy.flat_map(|pod| pod.ips.first()).next();
                ip.map(|ip| SocketAddr::new(*ip, PORT))
                    .ok_or_else(|| format!("node {node} has no weft-proxy"))
            }
        }
    }
}

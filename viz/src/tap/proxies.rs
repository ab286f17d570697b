//! Finds the proxies of nodes.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use weft_control::index::Cluster;

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

/// A proxy that an option names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedProxy {
    pub node: String,
    pub address: ProxyAddress,
}

/// Where a proxy answers taps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyAddress {
    Socket(SocketAddr),
    /// A file that the proxy writes its address to.
    File(PathBuf),
}

impl FromStr for FixedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not NODE=HOST:PORT or NODE=/PATH/OF/A/FILE");
        let (node, address) = text.split_once('=').filter(|(node, _)| !node.is_empty()).ok_or_else(wrong)?;
        let address = match address.starts_with('/') {
            true => ProxyAddress::File(address.into()),
            false => ProxyAddress::Socket(address.parse().map_err(|_| wrong())?),
        };
        Ok(Self { node: node.to_owned(), address })
    }
}

impl Proxies {
    /// # Errors
    /// Why the node's proxy cannot be tapped.
    pub(super) fn of(&self, node: &str, cluster: &Cluster) -> Result<SocketAddr, String> {
        match self {
            Self::Fixed(proxies) => {
                let proxy = proxies.iter().find(|proxy| proxy.node == node);
                match proxy.map(|proxy| &proxy.address) {
                    None => Err(format!("no option names the proxy of node {node}")),
                    Some(ProxyAddress::Socket(address)) => Ok(*address),
                    Some(ProxyAddress::File(path)) => std::fs::read_to_string(path)
                        .ok()
                        .and_then(|text| text.trim().parse().ok())
                        .ok_or_else(|| {
                            format!(
                                "the proxy of node {node} does not answer taps ({} is missing)",
                                path.display()
                            )
                        }),
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_by_address_or_file() {
        let parse = |text: &str| text.parse::<FixedProxy>();
        assert_eq!(
            parse("a=127.0.0.1:4190").unwrap().address,
            ProxyAddress::Socket(([127, 0, 0, 1], 4190).into())
        );
        assert_eq!(parse("a=/run/x").unwrap().address, ProxyAddress::File("/run/x".into()));
        for wrong in ["4190", "=127.0.0.1:4190", "a=localhost"] {
            assert!(parse(wrong).unwrap_err().contains("NODE=HOST:PORT"), "{wrong}");
        }
    }
}

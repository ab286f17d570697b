//! Finds the node proxies.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, str::FromStr, sync::Arc};

use crate::cluster::ClusterView;

/// The port of the proxies' admin servers in a cluster.
const ADMIN_PORT: u16 = 4191;
/// The label of the pods of weft's control plane, with the component's name.
pub(crate) const COMPONENT_LABEL: &str = "linkerd.io/control-plane-component";

/// Where a node's proxy has its admin server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProxyAddress {
    Socket(SocketAddr),
    /// A file that the proxy writes its address to.
    File(PathBuf),
}

/// A proxy that an option names, as in `NODE=HOST:PORT` or `NODE=FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FixedProxy {
    node: String,
    address: ProxyAddress,
}

/// The proxies of all nodes.
#[derive(Debug)]
pub(crate) enum Directory {
    Fixed(Vec<FixedProxy>),
    /// The pods of the DaemonSet in this namespace.
    Pods {
        namespace: String,
    },
}

impl Directory {
    /// The admin server of each node's proxy.
    pub(crate) fn addresses(&self, view: &ClusterView) -> BTreeMap<String, SocketAddr> {
        match self {
            Self::Fixed(proxies) => proxies
                .iter()
                .filter_map(|proxy| Some((proxy.node.clone(), proxy.address.resolve()?)))
                .collect(),
            Self::Pods { namespace } => {
                let is_proxy = |pod: &&Arc<crate::cluster::PodView>| {
                    pod.namespace == *namespace
                        && pod.labels.get(COMPONENT_LABEL).is_some_and(|component| component == "proxy")
                };
                let pods = view.pods.values().filter(is_proxy);
                let address = |pod: &Arc<crate::cluster::PodView>| {
                    Some((pod.node.clone()?, SocketAddr::new(*pod.ips.first()?, ADMIN_PORT)))
                };
                pods.filter_map(address).collect()
            }
        }
    }
}

impl ProxyAddress {
    fn resolve(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(address) => Some(*address),
            Self::File(path) => std::fs::read_to_string(path).ok()?.trim().parse().ok(),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_by_address_or_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("admin-address");
        std::fs::write(&file, "127.0.0.1:5\n").unwrap();
        let proxies: Vec<FixedProxy> = ["a=127.0.0.1:4191", &format!("b={}", file.display()), "c=/absent"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let found = Directory::Fixed(proxies).addresses(&ClusterView::default());
        let expected = [("a", "127.0.0.1:4191"), ("b", "127.0.0.1:5")];
        let expected = expected.map(|(node, address)| (node.to_owned(), address.parse().unwrap()));
        assert_eq!(found, expected.into_iter().collect());
        assert!("4191".parse::<FixedProxy>().unwrap_err().contains("NODE=HOST:PORT"));
    }
}

//! Finds the node proxies.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use crate::{cluster::ClusterView, fixed_proxy::FixedProxy};

/// The port of the proxies' admin servers in a cluster.
const ADMIN_PORT: u16 = 4191;
/// The label of the pods of weft's control plane, with the component's name.
pub(crate) const COMPONENT_LABEL: &str = "linkerd.io/control-plane-component";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_that_options_name_are_found_where_they_listen() {
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
    }
}

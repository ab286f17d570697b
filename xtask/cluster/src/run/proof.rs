//! Proves from the proxies' metrics that the demo is meshed, and that its fault is seen.

use std::collections::BTreeSet;

use weft_vm::{
    prom::sum,
    traffic::{Pods, Proof, prove_failures, prove_http},
};

use super::{
    api::Pages,
    quick_start::{FAULT, NAMESPACE, SERVERS},
};

/// How a line of [`prove_http`] about requests between nodes goes on after the protocol.
const BETWEEN_NODES: &str = "cross-node, mTLS";

/// Whether all pods of the demo are served, each server answers meshed requests, HTTP and gRPC are carried, by mTLS
/// between nodes if the pods are on several, and votes fail.
pub(super) fn prove(pages: &Pages, pods: &Pods) -> Proof {
    let prefix = format!("{NAMESPACE}/");
    let of_demo = || pods.iter().filter(|(name, _)| name.starts_with(&prefix));
    let mut proof = Proof::default();
    let outside: Vec<_> =
        of_demo().map(|(name, _)| name).filter(|name| !pages.served.contains(*name)).collect();
    match outside.is_empty() && of_demo().next().is_some() {
        true => proof.found.push(format!("all {} pods of {NAMESPACE} are meshed", of_demo().count())),
        false => proof.missing.push(format!("pods of {NAMESPACE} that are not meshed: {outside:?}")),
    }
    for server in SERVERS {
        let line = format!("{} meshed requests to {NAMESPACE}/{server}", meshed_requests(pages, server));
        match meshed_requests(pages, server) > 0 {
            true => proof.found.push(line),
            false => proof.missing.push(line),
        }
    }
    let nodes: BTreeSet<_> = of_demo().map(|(_, info)| info.node.as_str()).collect();
    proof.and(carried(pages, pods, nodes.len() > 1)).and(prove_failures(&pages.metrics, NAMESPACE, FAULT))
}

/// Where the pods are is up to the scheduler: so not each protocol can be asked for in each form.
fn carried(pages: &Pages, pods: &Pods, between_nodes: bool) -> Proof {
    let all = prove_http(&pages.metrics, pods);
    let mut missing = Vec::new();
    for protocol in ["HTTP, ", "gRPC, "] {
        if !all.found.iter().any(|line| line.starts_with(protocol)) {
            missing.extend(all.missing.iter().filter(|line| line.starts_with(protocol)).cloned());
        }
    }
    if between_nodes && !all.found.iter().any(|line| line.contains(BETWEEN_NODES)) {
        missing.push("no requests by mTLS between the nodes".to_owned());
    }
    Proof { found: all.found, missing }
}

fn meshed_requests(pages: &Pages, deployment: &str) -> u64 {
    let count = |tls: &str| -> f64 {
        let labels =
            [("direction", "inbound"), ("namespace", NAMESPACE), ("deployment", deployment), ("tls", tls)];
        pages.metrics.iter().map(|page| sum(&page.samples, "request_total", &labels)).sum()
    };
    // Counters are whole numbers.
    (count("true") + count("local")) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use weft_vm::{
        prom::parse,
        traffic::{NodePage, PodInfo},
    };

    use super::*;

    fn pods() -> Pods {
        let pod = |node: &str| PodInfo { node: node.to_owned(), ..PodInfo::default() };
        BTreeMap::from([
            ("emojivoto/web-1".to_owned(), pod("a")),
            ("emojivoto/voting-1".to_owned(), pod("b")),
        ])
    }

    #[test]
    fn nothing_is_proven_without_pods_and_metrics() {
        let proof = prove(&Pages::default(), &Pods::new());
        assert_eq!(proof.found, Vec::<String>::new());
        assert!(proof.missing.iter().any(|line| line.starts_with("pods of emojivoto")), "{proof:#?}");
    }

    #[test]
    fn pods_outside_the_mesh_are_named() {
        let served = BTreeSet::from(["emojivoto/web-1".to_owned()]);
        let proof = prove(&Pages { served, ..Pages::default() }, &pods());
        assert!(proof.missing[0].contains("emojivoto/voting-1") && !proof.missing[0].contains("web-1"));
        // The pods are on two nodes.
        assert!(proof.missing.contains(&"no requests by mTLS between the nodes".to_owned()), "{proof:#?}");
    }

    #[test]
    fn plaintext_requests_do_not_count() {
        let text = "request_total{direction=\"inbound\",namespace=\"emojivoto\",deployment=\"web\",tls=\"true\"} 5\n\
                    request_total{direction=\"inbound\",namespace=\"emojivoto\",deployment=\"web\",tls=\"local\"} 2\n\
                    request_total{direction=\"inbound\",namespace=\"emojivoto\",deployment=\"web\",tls=\"no_identity\"} 9\n";
        let metrics = vec![NodePage { node: "a".to_owned(), samples: parse(text) }];
        assert_eq!(meshed_requests(&Pages { metrics, ..Pages::default() }, "web"), 7);
    }
}

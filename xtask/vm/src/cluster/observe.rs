//! Tells what runs and what the proxies say about it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::{Cluster, state};
use crate::daemon::Daemon;
use crate::http;
use crate::prom::parse;
use crate::traffic::{Call, NodePage, PodInfo, Pods, parse_worst};

/// How long a proxy may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Set by Linkerd's injector.
const DEPLOYMENT_LABEL: &str = "linkerd.io/proxy-deployment";

impl Cluster {
    /// The pods as [`crate::traffic`] needs them.
    pub fn pod_infos(&self) -> Pods {
        let state = self.state.lock();
        state.pods.iter().map(|(key, pod)| (key.to_string(), info(pod))).collect()
    }

    /// The proxies' metrics now. A node whose proxy does not answer has an empty page.
    pub fn pages(&self) -> Vec<NodePage> {
        let page = |node: &String| NodePage {
            node: node.clone(),
            samples: self.metrics(&Daemon::Proxy(node.clone())).map(|text| parse(&text)).unwrap_or_default(),
        };
        self.nodes().iter().map(page).collect()
    }

    /// The pods that the proxies serve.
    pub fn served(&self) -> BTreeSet<String> {
        let served = |page: String| {
            let page: Value = serde_json::from_str(&page).unwrap_or_default();
            let workloads = page["workloads"].as_object().into_iter().flatten();
            let served = workloads.filter(|(_, workload)| workload["state"] == "SERVED");
            served.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        self.admin_pages("/config").into_iter().flat_map(served).collect()
    }

    /// The proxies' tables of the calls that fail most. A proxy without such a table has none.
    pub fn worst_calls(&self) -> Vec<Call> {
        self.admin_pages("/http/worst.json").iter().flat_map(|page| parse_worst(page)).collect()
    }

    /// A page of each proxy that has it.
    fn admin_pages(&self, path: &str) -> Vec<String> {
        let page = |node: &String| {
            let admin = self.admin(&Daemon::Proxy(node.clone())).ok()?;
            let response = http::get_within(admin, path, ANSWER_TIMEOUT).ok()?;
            (response.status == 200).then_some(response.body)
        };
        self.nodes().iter().filter_map(page).collect()
    }
}

fn info(pod: &state::Pod) -> PodInfo {
    let spec = pod.made_from.spec.as_ref();
    let labels = pod.manifest.metadata.labels.as_ref();
    PodInfo {
        node: pod.facts.node.clone(),
        ips: pod.facts.ips.clone(),
        service_account: spec
            .and_then(|spec| spec.service_account_name.clone().or_else(|| spec.service_account.clone()))
            .unwrap_or_else(|| "default".to_owned()),
        deployment: labels.and_then(|labels| labels.get(DEPLOYMENT_LABEL).cloned()),
    }
}

//! Changes the running cluster until it is what the manifests say.

use std::net::IpAddr;

use super::Cluster;
use super::process_start::ProcessStart;
use super::report::Report;
use super::state::State;
use crate::desired::{Desired, fixed_cluster_ips, fixed_pod_ips, service_families};
use crate::endpoints::service_ports;
use crate::error::Result;
use crate::layout::PodKey;
use crate::{hosts, nft, overlay, podspec};

impl Cluster {
    /// Reads the manifests and makes the cluster what they say. A pod whose spec or fixed addresses changed is
    /// replaced; labels and annotations take effect without.
    ///
    /// The processes of a new meshed pod start when its proxy serves it, or after 3 s; this waits for that.
    pub fn reconcile(&self) -> Result<Report> {
        let mut report = self.reconcile_pods()?;
        self.start_pods();
        report.problems.extend(self.state.lock().pods.values().filter_map(|pod| pod.problem.clone()));
        Ok(report)
    }

    fn reconcile_pods(&self) -> Result<Report> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let desired = state.source.read();
        let mut report =
            Report { problems: desired.problems.clone(), ..std::mem::take(&mut state.unreported) };

        let (removed, changed) = outdated(state, &desired);
        self.assign_services(state, &desired, &mut report);
        for key in &changed {
            // Still in the overlay: the proxies learn of the change when the new pod is there.
            self.remove_pods(state, std::slice::from_ref(key))?;
        }
        if !removed.is_empty() {
            let leaving: Vec<_> = removed.iter().filter_map(|key| state.pods.get_key_value(key)).collect();
            let mut facts = facts(state);
            for (key, _) in leaving {
                facts.remove(key);
            }
            self.write_overlay(state, &facts)?;
            self.remove_pods(state, &removed)?;
        }
        self.create_pods(state, &desired, &changed, &mut report);
        for pod in state.pods.values_mut() {
            pod.facts.phase = pod.phase();
        }
        self.write_hosts(state, &desired)?;
        self.translate(state, &desired)?;
        let facts = facts(state);
        self.write_overlay(state, &facts)?;
        report.added.retain(|key| state.pods.contains_key(key));
        report.removed = removed;
        Ok(report)
    }

    fn assign_services(&self, state: &mut State, desired: &Desired, report: &mut Report) {
        let pods = desired.pods.values().flat_map(fixed_pod_ips);
        let services = desired.services.values().filter_map(fixed_cluster_ips).flatten();
        state.allotter.reserve(pods.chain(services));
        let deleted: Vec<_> =
            state.services.keys().filter(|key| !desired.services.contains_key(*key)).cloned().collect();
        for key in deleted {
            if let Some(ips) = state.services.remove(&key) {
                state.allotter.free(&ips);
            }
        }
        for (key, service) in &desired.services {
            let before = state.services.get(key);
            let ips = match fixed_cluster_ips(service) {
                None => None,
                Some(fixed) if !fixed.is_empty() => Some(fixed),
                Some(_) if before.is_some_and(|ips| fits(ips, service)) => continue,
                Some(_) => match state.allotter.service(service_families(service)) {
                    Ok(ips) => Some(ips),
                    Err(error) => {
                        report.problems.push(format!("service {}/{}: {error}", key.0, key.1));
                        continue;
                    }
                },
            };
            let before = match ips.clone() {
                Some(ips) => state.services.insert(key.clone(), ips),
                None => state.services.remove(key),
            };
            if let Some(before) = before.filter(|before| Some(before) != ips.as_ref()) {
                state.allotter.free(&before);
            }
        }
    }

    fn create_pods(&self, state: &mut State, desired: &Desired, changed: &[PodKey], report: &mut Report) {
        let mut missing: Vec<_> =
            desired.pods.iter().filter(|(key, _)| !state.pods.contains_key(*key)).collect();
        // Those that name their node first: the others are spread around them.
        missing.sort_by_key(|(_, pod)| pod.spec.as_ref().is_none_or(|spec| spec.node_name.is_none()));
        for (key, manifest) in missing {
            let start = ProcessStart::of(key, manifest, desired, changed.contains(key));
            match self.create_pod(state, key, manifest, start) {
                Ok(()) => report.added.push(key.clone()),
                Err(error) => report.problems.push(format!("pod {key}: {error}")),
            }
            for remark in podspec::remarks(key, manifest) {
                if state.said.insert(remark.clone()) {
                    report.remarks.push(remark);
                }
            }
        }
    }

    fn write_hosts(&self, state: &mut State, desired: &Desired) -> Result<()> {
        let serving = state.serving();
        for (key, pod) in &state.pods {
            let (services, ips): (_, &[IpAddr]) = (&state.services, &pod.facts.ips);
            let text = hosts::text(desired, services, &serving, &key.namespace, &pod.hostname, ips);
            if state.hosts.get(key) != Some(&text) {
                hosts::write(&self.layout.pod_hosts(key), &text)?;
                state.hosts.insert(key.clone(), text);
            }
        }
        Ok(())
    }

    fn translate(&self, state: &mut State, desired: &Desired) -> Result<()> {
        state.ports = service_ports(desired, &state.services, &state.serving());
        let script = nft::script(&state.ports);
        if script != state.nft {
            state.translated.clear();
            state.nft = script;
        }
        let nodes = self.nodes.keys().map(|node| self.layout.node_netns(node));
        let pods = state.pods.values().map(|pod| pod.place.netns.clone());
        for namespace in nodes.chain(pods).collect::<Vec<_>>() {
            if !state.translated.contains(&namespace) {
                nft::apply(&namespace, &state.nft)?;
                state.translated.insert(namespace);
            }
        }
        Ok(())
    }

    fn write_overlay(&self, state: &mut State, facts: &Facts) -> Result<()> {
        let text = overlay::text(facts, &state.services);
        if text != state.overlay {
            overlay::write(&self.layout.overlay_dir(), &text)?;
            state.overlay = text;
        }
        Ok(())
    }
}

type Facts = std::collections::BTreeMap<PodKey, overlay::PodFacts>;

fn facts(state: &State) -> Facts {
    state.pods.iter().map(|(key, pod)| (key.clone(), pod.facts.clone())).collect()
}

/// The pods that are no longer wanted, and those that have changed.
fn outdated(state: &State, desired: &Desired) -> (Vec<PodKey>, Vec<PodKey>) {
    let (mut removed, mut changed) = (Vec::new(), Vec::new());
    for (key, pod) in &state.pods {
        match desired.pods.get(key) {
            None => removed.push(key.clone()),
            Some(manifest) if Cluster::made_from(manifest) != pod.made_from => changed.push(key.clone()),
            Some(_) => {}
        }
    }
    (removed, changed)
}

/// Whether assigned ClusterIPs are still of the families that the service wants.
fn fits(ips: &[IpAddr], service: &k8s_openapi::api::core::v1::Service) -> bool {
    let wanted = service_families(service);
    wanted.v4 == ips.iter().any(IpAddr::is_ipv4) && wanted.v6 == ips.iter().any(IpAddr::is_ipv6)
}

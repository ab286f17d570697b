//! Creates a pod, starts its processes, and removes it.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod as Manifest;
use nix::sys::signal::Signal;

use super::Cluster;
use super::process_start::ProcessStart;
use super::state::{MadeFrom, Pod, State};
use crate::allot::{NodeNet, spread};
use crate::cgroup::Cgroup;
use crate::desired::{fixed_pod_ips, missing_pod_families};
use crate::error::{Error, Result};
use crate::layout::PodKey;
use crate::overlay::PodFacts;
use crate::podfile::PodFile;
use crate::podspec;
use crate::process::{Place, Supervised};
use crate::{hosts, link, netns, sandbox};

/// A pod's own terminationGracePeriodSeconds counts up to here.
const MAX_GRACE: Duration = Duration::from_secs(5);

impl Cluster {
    /// The parts of a manifest that decide whether a pod has to be replaced.
    pub(super) fn made_from(manifest: &Manifest) -> MadeFrom {
        MadeFrom { spec: manifest.spec.clone(), ips: fixed_pod_ips(manifest) }
    }

    /// Makes the pod's namespaces, addresses and links. No process runs yet.
    pub(super) fn create_pod(
        &self,
        state: &mut State,
        key: &PodKey,
        manifest: &Manifest,
        start: ProcessStart,
    ) -> Result<()> {
        let spec = manifest.spec.clone().unwrap_or_default();
        let wanted = spec.node_name.as_deref().filter(|node| !node.is_empty());
        let node = match wanted {
            Some(node) => node.to_owned(),
            None => {
                let pods_on = |node: &str| state.pods.values().filter(|pod| pod.facts.node == node).count();
                spread(self.nodes(), pods_on).unwrap_or_default().to_owned()
            }
        };
        let net = self.node_net(&node)?;
        let host_network = spec.host_network.unwrap_or(false);
        let ips = match host_network {
            true => vec![net.gateway4().into(), net.gateway6().into()],
            false => self.pod_addresses(state, key, manifest, net)?,
        };
        state.serial += 1;
        let hostname = match (host_network, spec.hostname.as_deref()) {
            (true, _) => node.clone(),
            (false, Some(hostname)) if !hostname.is_empty() => hostname.to_owned(),
            (false, _) => key.name.clone(),
        };
        let pod = Pod {
            made_from: Self::made_from(manifest),
            facts: PodFacts {
                uid: format!("weft-{}-{}", std::process::id(), state.serial),
                node: node.clone(),
                node_ip: net.gateway4().into(),
                ips,
                phase: "Running",
                has_conditions: manifest.status.as_ref().is_some_and(|status| status.conditions.is_some()),
            },
            hostname,
            port: (!host_network).then(|| format!("pod{}", state.serial)),
            place: Place {
                netns: if host_network { self.layout.node_netns(&node) } else { self.layout.pod_netns(key) },
                sandbox: Some((self.layout.pod_mntns(key), self.layout.pod_utsns(key))),
                cgroup: self.cgroup().child("pods").child(&key.file()),
                binaries: self.config.binaries.clone(),
            },
            manifest: manifest.clone(),
            start,
            problem: None,
            containers: Vec::new(),
        };
        match self.build(key, &pod, net) {
            Ok(()) => {
                state.pods.insert(key.clone(), pod);
                Ok(())
            }
            Err(error) => {
                // Removes what was made so far. The first error is the one that matters.
                let _ = self.dismantle(state, key, pod);
                Err(error)
            }
        }
    }

    /// Starts the pod's processes.
    pub(super) fn start_pod(&self, pod: &mut Pod, key: &PodKey) -> Result<()> {
        pod.start = ProcessStart::Done;
        let containers = podspec::containers(key, &pod.manifest, &pod.facts, &pod.hostname)?;
        let file = PodFile::new(key, &pod.facts, &pod.place, containers.first());
        file.write(&self.layout.pod_state(key))?;
        let policy = podspec::restart_policy(&pod.manifest);
        for container in containers {
            let log = self.layout.pod_log(key);
            pod.containers.push(Supervised::start(pod.place.clone(), container, policy, &log)?);
        }
        Ok(())
    }

    /// Ends the pods' processes, all at the same time, and removes the pods.
    pub(super) fn remove_pods(&self, state: &mut State, keys: &[PodKey]) -> Result<()> {
        let pods: Vec<_> =
            keys.iter().filter_map(|key| state.pods.remove(key).map(|pod| (key.clone(), pod))).collect();
        for (_, pod) in &pods {
            pod.containers.iter().for_each(Supervised::forbid_restarts);
            pod.place.cgroup.signal(Signal::SIGTERM);
        }
        for (key, pod) in pods {
            pod.place.cgroup.wait_empty(grace(&pod));
            self.dismantle(state, &key, pod)?;
        }
        Ok(())
    }

    fn pod_addresses(
        &self,
        state: &mut State,
        key: &PodKey,
        manifest: &Manifest,
        net: NodeNet,
    ) -> Result<Vec<IpAddr>> {
        let mut ips = fixed_pod_ips(manifest);
        let gateways = || self.nodes.values().flat_map(|net| [net.gateway4().into(), net.gateway6().into()]);
        for ip in &ips {
            let owner = state.pods.iter().find(|(_, pod)| pod.port.is_some() && pod.facts.ips.contains(ip));
            if let Some((other, _)) = owner {
                return Err(invalid(key, format!("status.podIP {ip} is that of {other}")));
            }
            if gateways().any(|gateway: IpAddr| gateway == *ip) {
                return Err(invalid(key, format!("status.podIP {ip} is that of a node")));
            }
        }
        let missing = missing_pod_families(manifest, &ips);
        if missing.v4 || missing.v6 {
            ips.extend(state.allotter.pod(net, missing)?);
        }
        Ok(ips)
    }

    fn build(&self, key: &PodKey, pod: &Pod, net: NodeNet) -> Result<()> {
        Cgroup::create(pod.place.cgroup.path())?;
        let hosts = self.layout.pod_hosts(key);
        hosts::write(&hosts, "127.0.0.1 localhost\n")?;
        let (mnt, uts) = (self.layout.pod_mntns(key), self.layout.pod_utsns(key));
        sandbox::create(&mnt, &uts, &pod.hostname, &hosts)?;
        if let Some(port) = &pod.port {
            // The name appears only when everything is in place: the proxy waits for it.
            let hidden = self.layout.ns_dir().join(format!("{}.net", key.file()));
            netns::create(&hidden)?;
            link::pod(
                &hidden,
                &self.layout.node_netns(&pod.facts.node),
                net,
                self.config.links,
                port,
                &pod.facts.ips,
            )?;
            for node in self.nodes().iter().filter(|node| **node != pod.facts.node) {
                link::route(&self.layout.node_netns(node), net, self.config.links, &pod.facts.ips, true)?;
            }
            netns::rename(&hidden, &pod.place.netns)?;
        }
        PodFile::new(key, &pod.facts, &pod.place, None).write(&self.layout.pod_state(key))
    }

    /// Removes what [`Cluster::build`] made, even half of it, and every process that still runs inside.
    fn dismantle(&self, state: &mut State, key: &PodKey, pod: Pod) -> Result<()> {
        pod.containers.iter().for_each(Supervised::forbid_restarts);
        pod.place.cgroup.remove()?;
        pod.containers.into_iter().for_each(Supervised::join);
        state.hosts.remove(key);
        for file in [self.layout.pod_state(key), self.layout.pod_hosts(key)] {
            // A half-made pod does not have all of them.
            let _ = fs::remove_file(file);
        }
        sandbox::delete(&self.layout.pod_mntns(key), &self.layout.pod_utsns(key))?;
        if let Some(port) = &pod.port {
            state.allotter.free(&pod.facts.ips);
            state.translated.remove(&pod.place.netns);
            // A half-made pod may have no link.
            let _ = link::unplug(&self.layout.node_netns(&pod.facts.node), port);
            let net = self.node_net(&pod.facts.node)?;
            for node in self.nodes().iter().filter(|node| **node != pod.facts.node) {
                let path = self.layout.node_netns(node);
                let _ = link::route(&path, net, self.config.links, &pod.facts.ips, false);
            }
            netns::delete(&self.layout.ns_dir().join(format!("{}.net", key.file())))?;
            netns::delete(&pod.place.netns)?;
        }
        Ok(())
    }
}

fn grace(pod: &Pod) -> Duration {
    let spec = pod.made_from.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.termination_grace_period_seconds);
    seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(MAX_GRACE, Duration::from_secs)
        .min(MAX_GRACE)
}

fn invalid(key: &PodKey, reason: String) -> Error {
    Error::Pod { pod: key.to_string(), reason }
}

//! Changes of a running cluster, by its manifests.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use anyhow::{Context, Result, ensure};

use super::{Mesh, Pod, PodSpec, yaml};
use crate::{grpc, wait};

impl Mesh {
    /// Adds a pod and waits until it exists and, if it is meshed, is served.
    pub fn add_pod(&self, name: &str, specify: impl FnOnce(PodSpec) -> PodSpec) -> Result<Pod<'_>> {
        self.declare_pod(name, specify)?;
        let pod = wait::until_ok("the new pod exists", || Pod::of(self, name))?;
        self.until_enrolled()?;
        Ok(pod)
    }

    /// Adds a pod without waiting.
    pub fn declare_pod(&self, name: &str, specify: impl FnOnce(PodSpec) -> PodSpec) -> Result<()> {
        let spec = specify(PodSpec::new(name));
        self.write(&pod_file(name), &yaml::pod(&spec))?;
        self.specs().insert(name.to_owned(), spec);
        Ok(())
    }

    /// Changes a pod's labels or annotations without waiting.
    pub fn change_pod(&self, name: &str, change: impl FnOnce(PodSpec) -> PodSpec) -> Result<()> {
        let spec = self.specs().get(name).cloned().with_context(|| format!("no pod {name}"))?;
        let spec = change(spec);
        self.write(&pod_file(name), &yaml::pod(&spec))?;
        self.specs().insert(name.to_owned(), spec);
        Ok(())
    }

    /// Removes a pod and waits until it does not exist any more.
    pub fn remove_pod(&self, name: &str) -> Result<()> {
        self.specs().remove(name).with_context(|| format!("no pod {name}"))?;
        self.remove(&pod_file(name))?;
        wait::until("the pod is deleted", || Pod::of(self, name).is_err())
    }

    /// Tells the control plane another address of a running pod, which the cluster itself never does. It lasts until a
    /// pod is added or removed.
    pub fn renumber(&self, from: IpAddr, to: IpAddr) -> Result<()> {
        let path = self.cluster()?.layout().overlay_dir().join("vm.yaml");
        let before = fs::read_to_string(&path)?;
        let after = before.replace(&format!("\"{from}\""), &format!("\"{to}\""));
        ensure!(after != before, "no pod has the address {from}");
        let draft = path.with_extension("draft");
        fs::write(&draft, after)?;
        Ok(fs::rename(draft, path)?)
    }

    /// Writes a manifest atomically.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.manifest(file);
        let draft = path.with_extension("draft");
        fs::write(&draft, text)?;
        Ok(fs::rename(draft, path)?)
    }

    pub fn remove(&self, file: &str) -> Result<()> {
        Ok(fs::remove_file(self.manifest(file))?)
    }

    pub fn read(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.manifest(file)).with_context(|| file.to_owned())
    }

    /// Waits until exactly the pods whose manifests mesh them are served by their nodes' proxies and announced to
    /// clients as meshed.
    pub fn until_enrolled(&self) -> Result<()> {
        wait::until_ok("the proxies serve the meshed pods", || {
            for proxy in self.proxies() {
                let mut expected: Vec<String> = {
                    let specs = self.specs();
                    let meshed = specs.values().filter(|spec| spec.is_meshed() && spec.node == proxy.node());
                    meshed.map(|spec| spec.name.clone()).collect()
                };
                let mut enrolled = proxy.enrolled()?;
                expected.sort();
                enrolled.sort();
                ensure!(enrolled == expected, "{proxy} serves {enrolled:?} instead of {expected:?}");
            }
            Ok(())
        })?;
        wait::until_ok("the meshed pods are announced to clients", || self.all_announced())
    }

    /// The identities that are announced for these addresses.
    pub fn announced(&self, addresses: &[SocketAddr]) -> Result<Vec<Option<String>>> {
        grpc::identities(self.control().folder(), addresses)
    }

    fn all_announced(&self) -> Result<()> {
        let specs = self.specs().clone();
        let pods = specs.values().filter(|spec| !spec.host_network).map(|spec| Pod::of(self, &spec.name));
        let pods: Vec<_> = pods.collect::<Result<_>>()?;
        // No pod has a special setting for port 1.
        let addresses: Vec<_> = pods.iter().map(|pod| pod.at(1)).collect();
        let announced = self.announced(&addresses)?;
        for (pod, announced) in pods.iter().zip(announced) {
            let meshed = specs.get(pod.name()).is_some_and(PodSpec::is_meshed);
            let expected = meshed.then(|| pod.identity());
            ensure!(announced == expected, "{} is announced as {announced:?}", pod.name());
        }
        Ok(())
    }

    fn manifest(&self, file: &str) -> PathBuf {
        self.manifests.path().join(file)
    }
}

impl PodSpec {
    fn is_meshed(&self) -> bool {
        let inject = self.annotations.get("linkerd.io/inject");
        inject.is_some_and(|inject| inject == "enabled") && !self.host_network
    }
}

/// The manifest file of a pod.
pub(super) fn pod_file(name: &str) -> String {
    format!("pod-{name}.yaml")
}

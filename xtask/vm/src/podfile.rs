//! The file that tells another process (`weft-vm exec`) how to enter a pod.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::layout::{Layout, PodKey};
use crate::leftovers::is_running;
use crate::overlay::PodFacts;
use crate::process::{Container, Place};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PodFile {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// Where its network namespace is.
    pub netns: PathBuf,
    /// Where its mount and UTS namespaces are.
    sandbox: Option<(PathBuf, PathBuf)>,
    cgroup: PathBuf,
    binaries: PathBuf,
    /// The variables of its first container.
    pub env: Vec<(String, String)>,
}

impl PodFile {
    pub(crate) fn new(key: &PodKey, facts: &PodFacts, place: &Place, container: Option<&Container>) -> Self {
        Self {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            node: facts.node.clone(),
            ips: facts.ips.clone(),
            netns: place.netns.clone(),
            sandbox: place.sandbox.clone(),
            cgroup: place.cgroup.path().to_owned(),
            binaries: place.binaries.clone(),
            env: container.map(|container| container.env.clone()).unwrap_or_default(),
        }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        // Fails only for paths that are not UTF-8, and these are made from strings.
        let text = serde_json::to_string(self).map_err(|error| Error::Manifests(error.to_string()))?;
        let new = path.with_extension("new");
        fs::write(&new, text).map_err(Error::io("write", &new))?;
        fs::rename(&new, path).map_err(Error::io("rename to", path))
    }

    /// Finds a pod of a running cluster.
    pub fn find(layout: &Layout, pod: &PodKey) -> Result<Self> {
        if !is_running(layout) {
            return Err(Error::NotRunning(layout.id.clone()));
        }
        let text = match fs::read_to_string(layout.pod_state(pod)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NoPod { name: pod.to_string(), known: known(layout) });
            }
            Err(error) => return Err(Error::io("read", layout.pod_state(pod))(error)),
        };
        serde_json::from_str(&text)
            .map_err(|error| Error::Manifests(format!("{}: {error}", layout.pod_state(pod).display())))
    }

    /// Where to start a process of the pod.
    pub fn place(&self) -> Place {
        Place {
            netns: self.netns.clone(),
            sandbox: self.sandbox.clone(),
            cgroup: Cgroup::at(&self.cgroup),
            binaries: self.binaries.clone(),
        }
    }
}

fn known(layout: &Layout) -> Vec<String> {
    let Ok(entries) = fs::read_dir(layout.pods_dir()) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            entry.file_name().to_str()?.strip_suffix(".json").map(|name| name.replacen('_', "/", 1))
        })
        .collect();
    names.sort();
    names
}

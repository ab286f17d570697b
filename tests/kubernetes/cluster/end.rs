//! The end of a cluster: what it has made is gone.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use weft_tests::kubernetes::{Cluster, NODES};

/// A cluster of its own, beside the other tests'.
const NAME: &str = "census";
/// The name of its cgroups.
const CGROUP: &str = "weft-kubernetes-census";
const FOLDER: &str = "/var/lib/weft-kubernetes/census";
/// Folders that Kubernetes' programs would make, if a node's root were the host's.
const HOSTS: [&str; 6] = [
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/log/pods",
    "/run/containerd",
    "/run/nri",
];
/// The kinds of namespaces that a node has.
const NAMESPACES: [&str; 6] = ["net", "mnt", "pid", "uts", "ipc", "cgroup"];

pub(super) fn down_leaves_nothing() -> Result<()> {
    let folders = || HOSTS.map(|folder| fs::exists(folder).unwrap_or(true));
    let before = folders();
    let cluster = Cluster::start(NAME)?;
    let namespaces = namespaces_of_nodes()?;
    ensure!(!processes(&[CGROUP])?.is_empty(), "no process of the cluster is found while it runs");
    ensure!(!cgroups()?.is_empty(), "no cgroup of the cluster is found while it runs");
    ensure!(link().exists(), "no link of the cluster is found while it runs");
    cluster.stop()?;

    let left = processes(&[CGROUP, FOLDER])?;
    ensure!(left.is_empty(), "processes are left: {left:?}");
    let left = cgroups()?;
    ensure!(left.is_empty(), "cgroups are left: {left:?}");
    ensure!(!link().exists(), "the host's link is left");
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let left: Vec<_> = mounts.lines().filter(|line| line.contains(NAME)).collect();
    ensure!(left.is_empty(), "mounts are left: {left:?}");
    let left = users_of(&namespaces)?;
    ensure!(left.is_empty(), "processes are left in the nodes' namespaces: {left:?}");
    ensure!(!fs::exists(FOLDER)?, "{FOLDER} is left");
    ensure!(
        folders() == before,
        "folders of the host came or went: {HOSTS:?}, {before:?} before, {:?} now",
        folders()
    );
    Ok(())
}

/// Processes whose cgroup or command line has one of the words.
pub(crate) fn processes(words: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for process in all_processes()? {
        let read = |file: &str| fs::read_to_string(process.join(file)).unwrap_or_default();
        let (cgroup, command) = (read("cgroup"), read("cmdline").replace('\0', " "));
        if words.iter().any(|word| cgroup.contains(word) || command.contains(word)) {
            found.push(format!("{}: {command}", process.display()));
        }
    }
    Ok(found)
}

/// Without zombies, which only wait for the host's first process.
fn all_processes() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir("/proc").context("/proc")?.flatten();
    let is_process = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
    };
    let runs =
        |path: &PathBuf| fs::read_to_string(path.join("stat")).is_ok_and(|stat| !stat.contains(") Z "));
    Ok(entries.map(|entry| entry.path()).filter(is_process).filter(runs).collect())
}

/// The identities of all namespaces of the nodes' first processes, which are not the host's.
fn namespaces_of_nodes() -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for node in NODES {
        let file = format!("{FOLDER}/nodes/{node}/init.pid");
        let pid = fs::read_to_string(&file).with_context(|| file.clone())?;
        for kind in NAMESPACES {
            let link = |pid: &str| fs::read_link(format!("/proc/{}/ns/{kind}", pid.trim()));
            let own = link(&pid)?;
            ensure!(own != link("self")?, "{node} has the host's {kind} namespace");
            found.insert(own);
        }
    }
    Ok(found)
}

fn users_of(namespaces: &BTreeSet<PathBuf>) -> Result<Vec<PathBuf>> {
    let uses = |process: &PathBuf| {
        NAMESPACES.iter().any(|kind| {
            fs::read_link(process.join("ns").join(kind))
                .is_ok_and(|namespace| namespaces.contains(&namespace))
        })
    };
    Ok(all_processes()?.into_iter().filter(uses).collect())
}

fn cgroups() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let hierarchies = fields.filter(|fields| fields.get(2).is_some_and(|kind| kind.starts_with("cgroup")));
    Ok(hierarchies.map(|fields| PathBuf::from(fields[1]).join(CGROUP)).filter(|path| path.exists()).collect())
}

fn link() -> PathBuf {
    PathBuf::from("/sys/class/net/wk-census")
}

//! Counts what a cluster has on this machine, and what is left of it.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use weft_tests::kubernetes::NODES;

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

/// A cluster beside that of the other tests.
pub(crate) struct Census {
    name: &'static str,
    /// Texts in the command lines of what is started beside its programs.
    beside: &'static [&'static str],
    hosts: [bool; 6],
    namespaces: BTreeSet<PathBuf>,
}

impl Census {
    /// To be taken before the cluster starts.
    pub(crate) fn before(name: &'static str, beside: &'static [&'static str]) -> Self {
        Self { name, beside, hosts: host_folders(), namespaces: BTreeSet::new() }
    }

    /// Finds everything of a cluster that runs: so what is found later cannot be nothing by mistake.
    pub(crate) fn while_it_runs(&mut self) -> Result<()> {
        self.namespaces = self.namespaces_of_nodes()?;
        ensure!(
            !processes(&[&self.cgroup()])?.is_empty(),
            "no process of the cluster is found while it runs"
        );
        for word in self.beside {
            ensure!(
                !processes(&[word])?.is_empty(),
                "no process with {word:?} is found while the cluster runs"
            );
        }
        ensure!(!self.cgroups()?.is_empty(), "no cgroup of the cluster is found while it runs");
        ensure!(!self.mounts()?.is_empty(), "no mount of the cluster is found while it runs");
        ensure!(self.link().exists(), "no link of the cluster is found while it runs");
        Ok(())
    }

    /// Fails with what is left.
    pub(crate) fn nothing_is_left(&self) -> Result<()> {
        let (cgroup, folder) = (self.cgroup(), self.folder());
        let words = [&[cgroup.as_str(), folder.as_str()][..], self.beside].concat();
        let left = processes(&words)?;
        ensure!(left.is_empty(), "processes are left: {left:?}");
        let left = self.cgroups()?;
        ensure!(left.is_empty(), "cgroups are left: {left:?}");
        ensure!(!self.link().exists(), "the host's link is left");
        let left = self.mounts()?;
        ensure!(left.is_empty(), "mounts are left: {left:?}");
        let left = users_of(&self.namespaces)?;
        ensure!(left.is_empty(), "processes are left in the nodes' namespaces: {left:?}");
        ensure!(!fs::exists(&folder)?, "{folder} is left");
        let now = host_folders();
        ensure!(
            now == self.hosts,
            "folders of the host came or went: {HOSTS:?}, {:?} before, {now:?} now",
            self.hosts
        );
        Ok(())
    }

    /// The name of its cgroups.
    fn cgroup(&self) -> String {
        format!("weft-kubernetes-{}", self.name)
    }

    fn folder(&self) -> String {
        format!("/var/lib/weft-kubernetes/{}", self.name)
    }

    fn link(&self) -> PathBuf {
        PathBuf::from(format!("/sys/class/net/wk-{}", self.name))
    }

    fn mounts(&self) -> Result<Vec<String>> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let ours =
            mounts.lines().filter(|line| line.contains(&self.folder()) || line.contains(&self.cgroup()));
        Ok(ours.map(str::to_owned).collect())
    }

    fn cgroups(&self) -> Result<Vec<PathBuf>> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let hierarchies =
            fields.filter(|fields| fields.get(2).is_some_and(|kind| kind.starts_with("cgroup")));
        let paths = hierarchies.map(|fields| PathBuf::from(fields[1]).join(self.cgroup()));
        Ok(paths.filter(|path| path.exists()).collect())
    }

    /// The identities of all namespaces of the nodes' first processes, which are not the host's.
    fn namespaces_of_nodes(&self) -> Result<BTreeSet<PathBuf>> {
        let mut found = BTreeSet::new();
        for node in NODES {
            let file = format!("{}/nodes/{node}/init.pid", self.folder());
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
}

fn host_folders() -> [bool; 6] {
    HOSTS.map(|folder| fs::exists(folder).unwrap_or(true))
}

/// Processes whose cgroup or command line has one of the words.
fn processes(words: &[&str]) -> Result<Vec<String>> {
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

fn users_of(namespaces: &BTreeSet<PathBuf>) -> Result<Vec<PathBuf>> {
    let uses = |process: &PathBuf| {
        NAMESPACES.iter().any(|kind| {
            fs::read_link(process.join("ns").join(kind))
                .is_ok_and(|namespace| namespaces.contains(&namespace))
        })
    };
    Ok(all_processes()?.into_iter().filter(uses).collect())
}

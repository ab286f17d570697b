//! Finds a pod's network namespace: where the control plane or the container runtime says, or by the pod's processes.

mod cgroup_path;
mod own_kernel;
mod processes;
mod sandboxes;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};

pub use self::sandboxes::Sandboxes;
use self::{
    own_kernel::own_kernel,
    processes::{Processes, mounted_at},
};
use super::Spec;
use crate::{capture::Netns, net::Backoff, nri};

const MIN_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// A namespace that is not there after this time is reported.
const REPORT_AFTER: Duration = Duration::from_millis(500);
/// How long a pod may have no sandbox. The kubelet makes it when it has the pod's volumes.
const MAY_BE_ABSENT: Duration = Duration::from_secs(60);
/// Where container runtimes mount pods' namespaces; the first is often a link to the second.
const MOUNTED: [&str; 2] = ["/var/run/netns", "/run/netns"];

const NO_ADDRESS: &str = "the pod has no address yet";
const NO_SANDBOX: &str = "the container runtime has not made the pod's sandbox yet";
const SANDBOX_ENDED: &str = "the pod's sandbox has ended";
const NO_PROCESS: &str = "no process of the node is in the pod's cgroup yet";
const NO_METHOD: &str = "the pod has no annotation config.weft.dev/netns, and none of --nri-socket, --proc and --netns-dir is given";

/// The ways to find namespaces.
#[derive(Clone, Debug)]
pub struct NetnsFinder {
    /// What the container runtime tells, and whether it tells everything now.
    runtime: Option<(Arc<Sandboxes>, Arc<nri::Connection>)>,
    /// Where namespaces are bind-mounted as `NAMESPACE_NAME`, if anywhere.
    folder: Option<PathBuf>,
    processes: Option<Arc<Processes>>,
    host: Netns,
}

/// A pod's namespace, and the addresses that the pod has in it.
pub(super) struct Found {
    pub(super) netns: Netns,
    pub(super) ips: Vec<IpAddr>,
}

/// Why a namespace was not found.
#[derive(Debug)]
pub(super) enum NotFound {
    /// There is none: the kubelet has not made the pod's sandbox yet, or has ended it because the pod is over.
    Absent(&'static str),
    /// For now.
    Yet(String),
    /// It would be of no use.
    Ever(String),
}

/// What is said about a namespace that is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) reason: String,
    /// More than what happens to every pod at its start and at its end.
    pub(super) is_failure: bool,
}

impl NetnsFinder {
    /// `host` is the node's own namespace.
    pub fn new(host: Netns) -> Self {
        Self { runtime: None, folder: None, processes: None, host }
    }

    #[must_use]
    pub fn with_folder(self, folder: Option<PathBuf>) -> Self {
        Self { folder, ..self }
    }

    #[must_use]
    pub fn with_runtime(self, sandboxes: Arc<Sandboxes>, connection: Arc<nri::Connection>) -> Self {
        Self { runtime: Some((sandboxes, connection)), ..self }
    }

    #[must_use]
    pub fn with_processes(self, proc: Option<PathBuf>) -> Self {
        Self { processes: proc.map(|proc| Arc::new(Processes::new(proc))), ..self }
    }

    /// Whether pods of the same name have the same namespace, one after the other.
    pub(super) fn by_name(&self) -> bool {
        self.folder.is_some()
    }

    /// Waits until the namespace exists. `on_wait` gets each reason why it was not found, once.
    ///
    /// # Errors
    /// Why the pod can never be served.
    pub(super) async fn find(&self, spec: &Spec, mut on_wait: impl FnMut(&Waiting)) -> Result<Found, String> {
        let started = Instant::now();
        let mut backoff = Backoff::new(MIN_PAUSE, MAX_PAUSE);
        let mut reported = Waiting::default();
        let mut changes = self.runtime.as_ref().map(|(sandboxes, _)| sandboxes.changes());
        loop {
            let (finder, of) = (self.clone(), spec.clone());
            let failure = match tokio::task::spawn_blocking(move || finder.look(&of)).await {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(failure)) => failure,
                Err(error) => NotFound::Yet(error.to_string()),
            };
            let waiting = failure.after(started.elapsed())?;
            if reported != waiting && started.elapsed() > REPORT_AFTER {
                on_wait(&waiting);
                reported = waiting;
            }
            let pause = backoff.next_pause();
            match &mut changes {
                // The sender lives as long as `self`.
                Some(changes) => drop(timeout(pause, changes.changed()).await),
                None => sleep(pause).await,
            }
        }
    }

    /// Looks once. Reads files and asks the kernel.
    fn look(&self, spec: &Spec) -> Result<Found, NotFound> {
        if let Some(reason) = own_kernel("runtime class", &spec.runtime_class) {
            return Err(NotFound::Ever(reason));
        }
        if let Some(path) = self.told(spec) {
            let netns = open(&path)?;
            if spec.kernel.ips.is_empty() {
                return Err(NotFound::Yet(NO_ADDRESS.to_owned()));
            }
            return Ok(Found { netns, ips: spec.kernel.ips.clone() });
        }
        let by_runtime = self.by_runtime(spec);
        match (&by_runtime, &self.processes) {
            (Err(NotFound::Yet(_) | NotFound::Absent(_)), Some(processes)) if !self.runtime_knows_all() => {
                self.by_processes(spec, processes)
            }
            _ => by_runtime,
        }
    }

    /// Where the control plane or the command line says that the namespace is.
    fn told(&self, spec: &Spec) -> Option<PathBuf> {
        if let Some(pid) = spec.netns.strip_prefix("pid:") {
            return Some(PathBuf::from(format!("/proc/{pid}/ns/net")));
        }
        if !spec.netns.is_empty() {
            return Some(PathBuf::from(&spec.netns));
        }
        Some(self.folder.as_ref()?.join(format!("{}_{}", spec.key.namespace, spec.key.name)))
    }

    fn runtime_knows_all(&self) -> bool {
        self.runtime.as_ref().is_some_and(|(sandboxes, connection)| {
            // Found by its processes if its namespace cannot be opened where the runtime says.
            connection.is_synchronized() && !sandboxes.have_unreachable()
        })
    }

    fn by_runtime(&self, spec: &Spec) -> Result<Found, NotFound> {
        let Some((sandboxes, _)) = &self.runtime else {
            return Err(match self.processes {
                Some(_) => NotFound::Absent(NO_PROCESS),
                None => NotFound::Yet(NO_METHOD.to_owned()),
            });
        };
        let sandbox = sandboxes.of_pod(&spec.uid).ok_or(NotFound::Absent(NO_SANDBOX))?;
        let program =
            self.processes.as_ref().filter(|_| sandbox.pid != 0).and_then(|p| p.program(sandbox.pid));
        let reason = own_kernel("runtime handler", &sandbox.runtime_handler)
            .or_else(|| own_kernel("program", &program.unwrap_or_default()));
        if let Some(reason) = reason {
            return Err(NotFound::Ever(reason));
        }
        let path = sandbox.netns.ok_or(NotFound::Absent(SANDBOX_ENDED))?;
        let netns = open_mounted(&path).inspect_err(|_| sandboxes.unreachable(&sandbox.id))?;
        let ips = if spec.kernel.ips.is_empty() { sandbox.ips } else { spec.kernel.ips.clone() };
        self.check(netns, ips)
    }

    fn by_processes(&self, spec: &Spec, processes: &Processes) -> Result<Found, NotFound> {
        let of_pod = processes.of_pod(&spec.uid);
        let programs = of_pod.iter().filter_map(|process| processes.program(process.pid));
        if let Some(reason) = programs.into_iter().find_map(|program| own_kernel("program", &program)) {
            return Err(NotFound::Ever(reason));
        }
        let mut last = NotFound::Absent(NO_PROCESS);
        for process in &of_pod {
            let netns = match open(&processes.netns(process)) {
                Ok(netns) => netns,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            // A process that is about to enter the pod's namespace is still in that of the node, and a runtime's monitor
            // stays there.
            if netns.cookie() == self.host.cookie() {
                last = NotFound::Yet("the pod's processes are in the node's network namespace".to_owned());
                continue;
            }
            let mounted = mounted_at(&MOUNTED.map(PathBuf::from), netns.inode());
            let same = mounted
                .and_then(|path| Netns::open(&path).ok())
                .filter(|same| same.cookie() == netns.cookie());
            match self.check(same.unwrap_or(netns), spec.kernel.ips.clone()) {
                Ok(found) => return Ok(found),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Makes sure that it is the pod's namespace: not the node's, nor that of another pod whose place it has taken.
    fn check(&self, netns: Netns, ips: Vec<IpAddr>) -> Result<Found, NotFound> {
        if netns.cookie() == self.host.cookie() {
            return Err(NotFound::Yet(format!("{} is the node's network namespace", netns.path().display())));
        }
        if ips.is_empty() {
            return Err(NotFound::Yet(NO_ADDRESS.to_owned()));
        }
        let path = netns.path().display();
        match netns.missing(&ips) {
            Ok(None) => Ok(Found { netns, ips }),
            Ok(Some(ip)) => Err(NotFound::Yet(format!(
                "the network namespace {path} does not have the pod's address {ip}"
            ))),
            Err(error) => {
                Err(NotFound::Yet(format!("asking the network namespace {path} for its addresses: {error}")))
            }
        }
    }
}

// === impl NotFound ===

impl NotFound {
    /// What to say about it after this time.
    ///
    /// # Errors
    /// The reason, if waiting is of no use.
    fn after(self, waited: Duration) -> Result<Waiting, String> {
        match self {
            Self::Absent(reason) => {
                Ok(Waiting { reason: reason.to_owned(), is_failure: waited > MAY_BE_ABSENT })
            }
            Self::Yet(reason) => Ok(Waiting { reason, is_failure: true }),
            Self::Ever(reason) => Err(reason),
        }
    }
}

fn open(path: &Path) -> Result<Netns, NotFound> {
    Netns::open(path).map_err(|error| NotFound::Yet(error.to_string()))
}

/// Opens a namespace where the runtime says, or in the folder that is the same one on the node.
fn open_mounted(path: &Path) -> Result<Netns, NotFound> {
    open(path).or_else(|error| {
        let relative = MOUNTED.iter().find_map(|folder| path.strip_prefix(folder).ok());
        let others = MOUNTED.iter().filter_map(|folder| Some(Path::new(folder).join(relative?)));
        others.filter(|other| other != path).find_map(|other| open(&other).ok()).ok_or(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_without_a_sandbox_is_no_failure_until_it_has_none_for_long() {
        let after = |waited| NotFound::Absent(NO_SANDBOX).after(waited).unwrap();
        let soon = after(REPORT_AFTER);
        assert_eq!(soon, Waiting { reason: NO_SANDBOX.to_owned(), is_failure: false });
        assert!(after(MAY_BE_ABSENT + REPORT_AFTER).is_failure);
    }

    #[test]
    fn a_namespace_that_cannot_be_used_is_a_failure_at_once() {
        let waiting = NotFound::Yet("permission denied".to_owned()).after(Duration::ZERO).unwrap();
        assert!(waiting.is_failure, "{waiting:?}");
        assert_eq!(
            NotFound::Ever("a virtual machine".to_owned()).after(Duration::ZERO).unwrap_err(),
            "a virtual machine"
        );
    }
}

//! A handle on a node's proxy.

use std::{
    fmt, fs,
    net::SocketAddr,
    path::PathBuf,
    process::ExitStatus,
    sync::{Arc, Weak},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use weft_vm::{Cluster, Daemon};

use super::NAMESPACE;
use crate::{
    census,
    logs::Log,
    metrics::{Labels, Metrics, get},
    wait,
};

/// The proxy of a node, whichever process that is at the time.
pub struct Proxy {
    cluster: Weak<Cluster>,
    node: String,
    daemon: Daemon,
    log: Log,
}

/// Metrics of a proxy since a point in time.
pub struct Watch<'a> {
    proxy: &'a Proxy,
    before: Metrics,
}

impl Proxy {
    pub(super) fn of(cluster: &Arc<Cluster>, node: &str) -> Self {
        let daemon = Daemon::Proxy(node.to_owned());
        let log = Log::at(cluster.log(&daemon));
        Self { cluster: Arc::downgrade(cluster), node: node.to_owned(), daemon, log }
    }

    pub fn node(&self) -> &str {
        &self.node
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    pub fn admin(&self) -> Result<SocketAddr> {
        Ok(self.cluster()?.admin(&self.daemon)?)
    }

    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::of(self.admin()?)
    }

    /// The page `/config` of its admin server: configuration and workloads.
    pub fn config(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&get(self.admin()?, "/config")?).context("/config")
    }

    /// The names of the pods that it serves.
    pub fn enrolled(&self) -> Result<Vec<String>> {
        let config = self.config()?;
        let workloads = config["workloads"].as_object().context("/config has no workloads")?;
        let served = workloads.iter().filter(|(_, workload)| workload["state"] == "SERVED");
        let name = |key: &str| key.strip_prefix(&format!("{NAMESPACE}/")).map(str::to_owned);
        served.map(|(key, _)| name(key).with_context(|| format!("a workload {key}"))).collect()
    }

    /// The state of a pod and the reason for it.
    pub fn state_of(&self, pod: &str) -> Result<(String, String)> {
        let config = self.config()?;
        let workload = &config["workloads"][format!("{NAMESPACE}/{pod}")];
        let text = |field: &str| workload[field].as_str().unwrap_or_default().to_owned();
        Ok((text("state"), text("reason")))
    }

    /// Begins to watch the metrics.
    pub fn watch(&self) -> Result<Watch<'_>> {
        Ok(Watch { proxy: self, before: self.metrics()? })
    }

    pub fn pid(&self) -> Result<u32> {
        Ok(self.cluster()?.pid(&self.daemon)?)
    }

    /// The number of open file descriptors.
    pub fn descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(self.proc("fd")?)?.count())
    }

    /// Its resident memory in bytes.
    pub fn memory(&self) -> Result<u64> {
        census::memory_of(self.pid()?)
    }

    /// Starts a second process that takes over from the first.
    pub fn take_over(&self) -> Result<()> {
        Ok(self.cluster()?.start_daemon(&self.daemon)?)
    }

    /// The number of earlier processes that still drain.
    pub fn draining(&self) -> Result<usize> {
        Ok(self.cluster()?.draining(&self.daemon)?)
    }

    /// Kills it with SIGKILL; it is not restarted.
    pub fn kill(&self) -> Result<()> {
        Ok(self.cluster()?.kill(&self.daemon)?)
    }

    /// Starts it after a kill.
    pub fn revive(&self) -> Result<()> {
        Ok(self.cluster()?.start_daemon(&self.daemon)?)
    }

    /// Starts a process, or a second one beside a running one, without waiting until it is ready.
    pub fn launch(&self) -> Result<()> {
        Ok(self.cluster()?.launch(&self.daemon)?)
    }

    /// Kills only the process that was started last; its predecessor goes on.
    pub fn kill_latest(&self) -> Result<()> {
        Ok(self.cluster()?.signal(&self.daemon, Signal::SIGKILL)?)
    }

    /// Stops it with SIGSTOP.
    pub fn pause(&self) -> Result<()> {
        Ok(self.cluster()?.pause(&self.daemon)?)
    }

    /// Continues it with SIGCONT.
    pub fn resume(&self) -> Result<()> {
        Ok(self.cluster()?.resume(&self.daemon)?)
    }

    /// Sends SIGTERM without waiting.
    pub fn terminate(&self) -> Result<()> {
        Ok(self.cluster()?.signal(&self.daemon, Signal::SIGTERM)?)
    }

    /// Sends SIGTERM and waits until the process has ended.
    pub fn terminated(&self, limit: Duration) -> Result<ExitStatus> {
        let status = self.cluster()?.terminate(&self.daemon, limit)?;
        status.with_context(|| format!("the proxy still runs {limit:?} after SIGTERM"))
    }

    fn proc(&self, file: &str) -> Result<PathBuf> {
        Ok(format!("/proc/{}/{file}", self.pid()?).into())
    }

    fn cluster(&self) -> Result<Arc<Cluster>> {
        self.cluster.upgrade().context("the cluster has been stopped")
    }
}

impl Watch<'_> {
    /// The changes since.
    pub fn now(&self) -> Result<Metrics> {
        Ok(self.proxy.metrics()?.since(&self.before))
    }

    /// Waits until exactly `expected` is counted: a closed connection may be counted a moment later.
    pub fn expect(&self, name: &str, labels: Labels, expected: f64) -> Result<()> {
        self.eventually(|now| now.expect(name, labels, expected))
    }

    /// Waits until something is counted.
    pub fn expect_some(&self, name: &str, labels: Labels) -> Result<()> {
        self.eventually(|now| now.expect_some(name, labels))
    }

    /// Waits until the changes since pass `check`.
    pub fn eventually(&self, check: impl Fn(&Metrics) -> Result<()>) -> Result<()> {
        let what = format!("the metrics of {} are as expected", self.proxy);
        wait::until_ok_for(wait::PROMPTLY, &what, || check(&self.now()?))
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy of node {}", self.node)
    }
}

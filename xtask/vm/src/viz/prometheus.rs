//! Runs Debian's Prometheus for a cluster.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::{config, port, server::spawn, targets::Targets};
use crate::cgroup::Cgroup;
use crate::cluster::Cluster;
use crate::daemon::tail;
use crate::error::{Error, Result};
use crate::http;

const PORT: u16 = 9090;
/// Of a dev VM: figures are in memory.
const RETENTION: [&str; 2] = ["--storage.tsdb.retention.time=6h", "--storage.tsdb.retention.size=256MB"];
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// A running Prometheus that scrapes the cluster's daemons. It ends when this is dropped, or with the cluster.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    _targets: Targets,
}

impl Prometheus {
    /// Starts it without waiting until it is ready. It scrapes each `interval` the daemons that run then.
    pub fn start(cluster: &Cluster, interval: Duration) -> Result<Self> {
        let folder = cluster.layout().root.join("prometheus");
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let address = port::free(PORT)?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(Error::io("write", path))
        };
        write("prometheus.yml", config::prometheus_yml(&folder, interval, address.port())?)?;
        write("weft.rules.yml", config::rules_yml()?)?;
        let targets = Targets::start(cluster.layout().clone(), cluster.nodes().to_vec(), folder.clone())?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(RETENTION);
        let log = cluster.layout().logs_dir().join("prometheus.log");
        let cgroup = Cgroup::create(cluster.cgroup().path().join("prometheus"))?;
        let child = spawn(command, &log, &cgroup).map_err(|error| match error {
            Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
                Error::Program { program: "prometheus", package: "prometheus", source }
            }
            error => error,
        })?;
        Ok(Self { child, address, log, _targets: targets })
    }

    /// For example `http://127.0.0.1:9090`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it answers queries.
    pub fn until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let reason = match http::get(self.address, "/-/ready") {
                Ok(response) if response.status == 200 => return Ok(()),
                Ok(response) => format!("/-/ready returned {}", response.status),
                Err(error) => error.to_string(),
            };
            if self.ended() || Instant::now() > deadline {
                return Err(Error::NotReady {
                    what: "Prometheus".to_owned(),
                    reason,
                    log: self.log.clone(),
                    tail: tail(&self.log),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it logs.
    pub fn log(&self) -> &Path {
        &self.log
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Its figures are thrown away: it need not end in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

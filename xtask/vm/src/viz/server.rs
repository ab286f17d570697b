//! Runs weft-viz for a cluster: the dashboard, its API and live calls.

use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{port, targets::viz_state};
use crate::cgroup::Cgroup;
use crate::cluster::Cluster;
use crate::enter::Entry;
use crate::error::{Error, Result};

const WEB_PORT: u16 = 8084;

/// A running weft-viz. It ends when this is dropped, or with the cluster.
#[derive(Debug)]
pub struct Server {
    child: Child,
    web: SocketAddr,
    tap: SocketAddr,
    token: PathBuf,
    log: PathBuf,
}

impl Server {
    /// Starts it without waiting until it is ready.
    pub fn start(cluster: &Cluster, prometheus: Option<&str>) -> Result<Self> {
        let layout = cluster.layout();
        let state = viz_state(layout);
        fs::create_dir_all(&state).map_err(Error::io("create", &state))?;
        fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).map_err(Error::io("chmod", &state))?;
        let (web, tap) = (port::free(WEB_PORT)?, port::free(0)?);
        let token = state.join("tap-token");
        let mut command = Command::new(cluster.binary("weft-viz"));
        command.arg("local");
        let mut option = |name: &str, value: &dyn std::fmt::Display| {
            command.arg(format!("{name}={value}"));
        };
        option("--manifests", &cluster.manifests().display());
        option("--manifests", &layout.overlay_dir().display());
        option("--state", &state.display());
        option("--control-state", &layout.control_state().display());
        for node in cluster.nodes() {
            option("--proxy", &format!("{node}={}", layout.proxy_state(node).display()));
        }
        option("--listen", &web);
        option("--tap-listen", &tap);
        option("--tap-token-file", &token.display());
        option("--admin", &"127.0.0.1:0");
        if let Some(url) = prometheus {
            option("--prometheus-url", &url);
        }
        let log = layout.logs_dir().join("viz.log");
        let cgroup = Cgroup::create(cluster.cgroup().path().join("viz"))?;
        let child = spawn(command, &log, &cgroup)?;
        Ok(Self { child, web, tap, token, log })
    }

    /// The dashboard's address, for a browser.
    pub fn url(&self) -> String {
        format!("http://{}", self.web)
    }

    /// Where live calls are served.
    pub fn tap_url(&self) -> String {
        format!("http://{}", self.tap)
    }

    /// The file of the token for live calls.
    pub fn token_file(&self) -> &Path {
        &self.token
    }

    /// Where it logs.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a program in a cgroup of the cluster, so that it ends with the cluster, however that ends.
pub(super) fn spawn(mut command: Command, log: &Path, cgroup: &Cgroup) -> Result<Child> {
    let open =
        || OpenOptions::new().create(true).append(true).open(log).map_err(Error::io("open the log", log));
    command.stdin(Stdio::null()).stdout(open()?).stderr(open()?).process_group(0);
    Entry { cgroup: Some(cgroup.open_procs()?), ..Entry::default() }.apply(&mut command);
    let program = PathBuf::from(command.get_program());
    command.spawn().map_err(Error::io("start", program))
}

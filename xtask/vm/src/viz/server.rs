//! Runs weft-viz for a cluster: the dashboard, its API and live calls.

use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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
    /// Starts it without waiting until it is ready. `prometheus` is where figures are, and how often they are read; without
    /// it, they come from the proxies.
    pub fn start(cluster: &Cluster, prometheus: Option<(&str, Duration)>) -> Result<Self> {
        let layout = cluster.layout();
        let state = viz_state(layout);
        fs::create_dir_all(&state).map_err(Error::io("create", &state))?;
        fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).map_err(Error::io("chmod", &state))?;
        let (web, admin, tap) = (port::free(WEB_PORT)?, port::free(0)?, port::free(0)?);
        let token = state.join("tap-token");
        let mut command = Command::new(cluster.binary("weft-viz"));
        command.arg("local");
        let mut option = |name: &str, value: &dyn Display| {
            command.arg(format!("{name}={value}"));
        };
        option("--manifests", &cluster.manifests().display());
        option("--manifests", &layout.overlay_dir().display());
        option("--control-plane-namespace", &control_plane_namespace(cluster)?);
        option("--trust-anchors", &layout.control_state().join("anchors.pem").display());
        for node in cluster.nodes() {
            option(
                "--proxy",
                &format!("{node}={}", layout.proxy_state(node).join("admin-address").display()),
            );
        }
        if cluster.config().taps {
            option("--control", &cluster.control_address()?);
            option("--token-file", &layout.control_state().join("tokens/viz").display());
            option("--tap-listen", &tap);
            option("--tap-token-file", &token.display());
            for node in cluster.nodes() {
                option(
                    "--tap-proxy",
                    &format!("{node}={}", layout.proxy_state(node).join("tap-address").display()),
                );
            }
        }
        option("--listen", &web);
        option("--admin", &admin);
        if let Some((url, interval)) = prometheus {
            option("--prometheus-url", &url);
            option("--scrape-interval", &format!("{}ms", interval.as_millis()));
        }
        let log = layout.logs_dir().join("viz.log");
        let cgroup = Cgroup::create(cluster.cgroup().path().join("viz"))?;
        let child = spawn(command, &log, &cgroup)?;
        // Prometheus' targets are read from there.
        let path = state.join("admin-address");
        fs::write(&path, admin.to_string()).map_err(Error::io("write", path))?;
        Ok(Self { child, web, tap, token, log })
    }

    /// The dashboard's address, for a browser.
    pub fn url(&self) -> String {
        format!("http://{}", self.web)
    }

    /// The same as an address.
    pub fn address(&self) -> SocketAddr {
        self.web
    }

    /// Where live calls are served, if the proxies may be tapped.
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

/// The namespace of weft-control's service account, as its identity says it.
pub(super) fn control_plane_namespace(cluster: &Cluster) -> Result<String> {
    let identity = cluster.control_identity()?;
    let namespace = identity.split('.').nth(1).map(str::to_owned);
    namespace.ok_or_else(|| {
        Error::Manifests(format!("weft-control's identity is {identity:?}, without a namespace"))
    })
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

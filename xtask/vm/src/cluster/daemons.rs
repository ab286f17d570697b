//! Starts, stops, pauses and replaces weft-control and the proxies.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::Cluster;
use crate::cgroup::Cgroup;
use crate::daemon::{Daemon, Plan, Processes, Ready, tail};
use crate::error::{Error, Result};
use crate::http;

/// As the chart sets it: docs/performance.md.
const PROXY_MALLOC: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_max=16384");

impl Cluster {
    /// Starts a daemon and waits until it is ready. If one runs already, a proxy takes over from it (the old one
    /// drains and ends by itself); see [`Cluster::restart`] for ending it first.
    pub fn start_daemon(&self, daemon: &Daemon) -> Result<()> {
        self.launch(daemon)?;
        let deadline = Instant::now() + self.config.ready_timeout;
        loop {
            // The lock is released in between, so that other threads can reconcile.
            match self.with_daemon(daemon, |processes| Ok(processes.check_ready()))? {
                Ready::Yes => return Ok(()),
                Ready::Never(error) => return Err(error),
                Ready::NotYet(_) if self.config.cancel.load(Ordering::Relaxed) => {
                    return Err(Error::Cancelled);
                }
                Ready::NotYet(error) if Instant::now() > deadline => return Err(error),
                Ready::NotYet(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Starts a daemon without waiting until it is ready.
    pub fn launch(&self, daemon: &Daemon) -> Result<()> {
        let plan = self.plan(daemon)?;
        let mut state = self.state.lock();
        if let Some(processes) = state.daemons.get_mut(daemon) {
            return processes.start_successor(plan);
        }
        state.daemons.insert(daemon.clone(), Processes::start(plan)?);
        Ok(())
    }

    /// Kills a daemon (SIGKILL). It is not restarted.
    pub fn kill(&self, daemon: &Daemon) -> Result<()> {
        self.with_daemon(daemon, |processes| {
            processes.end();
            Ok(())
        })
    }

    /// Kills a daemon and starts it again with the same state.
    pub fn restart(&self, daemon: &Daemon) -> Result<()> {
        self.kill(daemon)?;
        self.start_daemon(daemon)
    }

    /// Asks a daemon to end (SIGTERM) and waits; None: it is still running after `timeout`.
    pub fn terminate(&self, daemon: &Daemon, timeout: Duration) -> Result<Option<ExitStatus>> {
        self.signal(daemon, Signal::SIGTERM)?;
        let deadline = Instant::now() + timeout;
        loop {
            let ended = self.with_daemon(daemon, |processes| Ok(processes.ended()))?;
            if ended.is_some() || Instant::now() > deadline {
                return Ok(ended);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops a daemon's execution (SIGSTOP).
    pub fn pause(&self, daemon: &Daemon) -> Result<()> {
        self.signal(daemon, Signal::SIGSTOP)
    }

    /// Undoes [`Cluster::pause`].
    pub fn resume(&self, daemon: &Daemon) -> Result<()> {
        self.signal(daemon, Signal::SIGCONT)
    }

    /// Sends any signal to a daemon.
    pub fn signal(&self, daemon: &Daemon, signal: Signal) -> Result<()> {
        self.with_daemon(daemon, |processes| processes.signal(signal))
    }

    /// A daemon's process number.
    pub fn pid(&self, daemon: &Daemon) -> Result<u32> {
        self.with_daemon(daemon, |processes| Ok(processes.pid()))
    }

    /// How many predecessors of the current process still drain.
    pub fn draining(&self, daemon: &Daemon) -> Result<usize> {
        self.with_daemon(daemon, |processes| Ok(processes.draining()))
    }

    /// The daemons that are not running, and how they ended.
    pub fn ended(&self) -> Vec<(Daemon, ExitStatus)> {
        let mut state = self.state.lock();
        let ended =
            |(daemon, processes): (&Daemon, &mut Processes)| Some((daemon.clone(), processes.ended()?));
        state.daemons.iter_mut().filter_map(ended).collect()
    }

    /// The address of a daemon's admin server.
    pub fn admin(&self, daemon: &Daemon) -> Result<SocketAddr> {
        self.with_daemon(daemon, |processes| processes.admin())
    }

    /// A daemon's metrics page.
    pub fn metrics(&self, daemon: &Daemon) -> Result<String> {
        let address = self.admin(daemon)?;
        let response = http::get(address, "/metrics")?;
        match response.status {
            200 => Ok(response.body),
            status => {
                Err(Error::Http { address, path: "/metrics".to_owned(), reason: format!("status {status}") })
            }
        }
    }

    /// The log of a daemon.
    pub fn log(&self, daemon: &Daemon) -> std::path::PathBuf {
        self.layout.logs_dir().join(format!("{daemon}.log"))
    }

    /// The end of a daemon's log.
    pub fn log_tail(&self, daemon: &Daemon) -> String {
        tail(&self.log(daemon))
    }

    /// The address of weft-control's gRPC server.
    pub fn control_address(&self) -> Result<SocketAddr> {
        let text = self.control_state("address")?;
        text.parse()
            .map_err(|_| Error::Manifests(format!("weft-control listens on {text:?}, which is no address")))
    }

    /// The identity that weft-control proves.
    pub fn control_identity(&self) -> Result<String> {
        self.control_state("identity")
    }

    /// The identity that may tap the proxies: weft-viz's.
    fn tap_identity(&self) -> Result<String> {
        let control = self.control_identity()?;
        let rest = control.split_once(".serviceaccount.").map(|(_, rest)| rest);
        let rest =
            rest.ok_or_else(|| Error::Manifests(format!("{control:?} is no identity of a service account")))?;
        Ok(format!("tap.weft-viz.serviceaccount.{rest}"))
    }

    fn control_state(&self, file: &str) -> Result<String> {
        let path = self.layout.control_state().join(file);
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        Ok(text.trim().to_owned())
    }

    fn with_daemon<T>(&self, daemon: &Daemon, act: impl FnOnce(&mut Processes) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock();
        match state.daemons.get_mut(daemon) {
            Some(processes) => act(processes),
            None => Err(Error::NoNode { name: daemon.to_string(), known: self.config.nodes.clone() }),
        }
    }

    fn plan(&self, daemon: &Daemon) -> Result<Plan> {
        let mut env = self.config.env.clone();
        let (program, args, state) = match daemon {
            Daemon::Control => ("weft-control", self.control_args(), self.layout.control_state()),
            Daemon::Proxy(node) => {
                self.node_net(node)?;
                env.insert(0, (PROXY_MALLOC.0.to_owned(), PROXY_MALLOC.1.to_owned()));
                ("weft-proxy", self.proxy_args(node)?, self.layout.proxy_state(node))
            }
        };
        Ok(Plan {
            what: format!("{program} ({daemon})"),
            program: self.binary(program),
            args,
            env,
            log: self.log(daemon),
            cgroup: Cgroup::create(self.cgroup().path().join(daemon.to_string()))?,
            admin_address: state.join("admin-address"),
        })
    }

    fn control_args(&self) -> Vec<String> {
        let mut args = options(&[
            ("--manifests", &self.manifests()),
            ("--manifests", &self.layout.overlay_dir()),
            ("--state", &self.layout.control_state()),
            ("--admin", Path::new("127.0.0.1:0")),
        ]);
        // The proxies keep the first address: a restarted weft-control has to listen there again.
        let listen = self.control_address().map_or("127.0.0.1:0".to_owned(), |address| address.to_string());
        args.extend(["--listen".to_owned(), listen]);
        for node in self.nodes() {
            args.extend(["--node".to_owned(), node.clone()]);
        }
        args.extend(self.config.control_args.iter().cloned());
        args
    }

    fn proxy_args(&self, node: &str) -> Result<Vec<String>> {
        let state = self.layout.control_state();
        let mut args = vec!["run".to_owned(), "--node".to_owned(), node.to_owned()];
        args.extend(["--control".to_owned(), format!("https://{}", self.control_address()?)]);
        args.extend(["--control-identity".to_owned(), self.control_identity()?]);
        args.extend(options(&[
            ("--token-file", &state.join("tokens").join(node)),
            ("--trust-anchors", &state.join("anchors.pem")),
            ("--state-dir", &self.layout.proxy_state(node)),
            ("--bpffs", &self.layout.bpffs()),
            ("--cgroup", &self.cgroup_root),
            ("--netns-dir", &self.layout.netns_dir()),
            ("--host-netns", &self.layout.node_netns(node)),
            ("--admin", Path::new("127.0.0.1:0")),
        ]));
        if self.config.taps {
            args.extend(["--tap".to_owned(), "127.0.0.1:0".to_owned(), "--tap-identity".to_owned()]);
            args.push(self.tap_identity()?);
        }
        args.extend(self.config.proxy_args.iter().cloned());
        Ok(args)
    }
}

fn options(list: &[(&str, &Path)]) -> Vec<String> {
    list.iter().flat_map(|(name, value)| [(*name).to_owned(), value.display().to_string()]).collect()
}

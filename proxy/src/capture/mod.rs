//! Talks to the kernel; nothing else in weft-proxy does.
//!
//! Loads and attaches the programs of `proxy-ebpf`, keeps their maps, opens sockets in pods' namespaces.

// System calls and maps that no library wraps. Each block says why it is sound.
#![allow(unsafe_code)]

mod attach;
mod bypass;
mod cgroup;
mod check;
mod counters;
mod destroy;
mod diag;
mod earlier;
mod enroll;
mod error;
mod kernel;
mod limit_warnings;
mod link_isolation;
mod listen;
mod load;
mod maps;
mod netlink;
mod netns;
mod node_connections;
mod own_sockets;
mod socket_pool;
mod splice;
mod sys;
mod v6_targets;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use weft_common::{SocketState, SplicePorts};

pub use self::{
    bypass::DirectEvents,
    cgroup::default_attach_point,
    check::{Report, check},
    counters::{OutcomeCollector, Outcomes},
    diag::TcpSocket,
    earlier::{Caution, EarlierConnections},
    enroll::{Enrolled, KernelConfig},
    error::CaptureError,
    kernel::Unsupported,
    limit_warnings::warn_of_limits,
    link_isolation::NotIsolated,
    listen::{Listener, Listeners},
    netns::Netns,
    node_connections::NodeConnections,
    socket_pool::SocketPool,
    splice::{Full, InstalledRedirect, Refused, Splice},
    sys::{owned_fd, socket_cookie, tcp_info, unacknowledged_for},
};

/// Where and how the programs are attached.
#[derive(Clone, Debug)]
pub struct Config {
    /// A mounted BPF file system; pins go to `<bpffs>/<node>/`.
    pub bpffs: PathBuf,
    /// The name of this instance.
    pub node: String,
    /// The cgroup (v2) whose processes' connections are looked at.
    pub cgroup: PathBuf,
    /// The node's own network namespace.
    pub host_netns: PathBuf,
    /// A heartbeat older than this counts as no proxy.
    pub stale_after: Duration,
    /// Whether the programs log their decisions (slow: for finding errors only).
    pub trace: bool,
    /// The kernel's type information.
    pub btf: PathBuf,
    /// A predecessor is alive and hands over its listeners.
    pub takeover: bool,
}

/// What the kernel recorded for an application's connection.
#[derive(Clone, Copy, Debug)]
pub struct Original {
    /// Where it was going.
    pub addr: SocketAddr,
    /// The port opted in to splicing.
    pub may_splice: bool,
}

/// The attached and pinned programs and their maps.
pub struct Capture {
    maps: Mutex<maps::Maps>,
    heartbeat: Mutex<maps::Heartbeat>,
    programs: Mutex<attach::Programs>,
    sockets: maps::Sockets,
    direct: bypass::DirectConnections,
    splice: Splice,
    host: Netns,
    stale_after: Duration,
}

impl Capture {
    /// Loads the programs, takes over what an earlier instance pinned, attaches the rest.
    ///
    /// # Errors
    /// Says which step failed, on what, and what an operator can do.
    pub fn start(config: &Config) -> Result<Arc<Capture>, CaptureError> {
        kernel::check().map_err(CaptureError::Kernel)?;
        let host = Netns::open(&config.host_netns)?;
        let pins = load::Pins::prepare(config)?;
        let offsets = splice::offsets(&config.btf);
        let mut ebpf = load::load(config, &pins, &offsets.clone().unwrap_or_default())?;
        let mut maps = maps::Maps::take(&mut ebpf)?;
        let heartbeat = maps::Heartbeat::take(&mut ebpf)?;
        let sockets = maps::Sockets::take(&mut ebpf)?;
        let direct = bypass::DirectConnections::take(&mut ebpf)?;
        let splice = Splice::start(&mut ebpf, offsets.err(), !config.takeover)?;
        maps.configure(host.cookie(), config.stale_after)?;
        let others = if config.takeover { pins.proxies_of_others() } else { Vec::new() };
        let own = cgroup::own(&config.cgroup, &config.node, |id| maps.is_proxy(id) || others.contains(&id))?;
        // Without a predecessor no other cgroup stays exempt; with one, those that are still there.
        let present = if config.takeover { cgroup::ids(&config.cgroup) } else { Vec::new() };
        maps.set_proxy(own, &others, |id| present.contains(&id))?;
        let programs = attach::Programs::attach(ebpf, &config.cgroup, pins)?;
        let capture = Capture {
            maps: Mutex::new(maps),
            heartbeat: Mutex::new(heartbeat),
            programs: Mutex::new(programs),
            sockets,
            direct,
            splice,
            host,
            stale_after: config.stale_after,
        };
        capture.beat()?;
        Ok(Arc::new(capture))
    }

    /// Where the application was going that the proxy accepted `socket` from. `None`: the kernel had no room to
    /// tell (counted there), or somebody in the pod connected to the proxy's port by hand.
    pub fn original_destination(&self, socket: &impl AsFd) -> Option<Original> {
        let state = self.sockets.get(socket.as_fd())?;
        (state.flags & SocketState::ORIGINAL != 0)
            .then(|| Original { addr: state.peer.into(), may_splice: state.flags & SocketState::SPLICE != 0 })
    }

    /// Lets the application that `socket` is about to connect to see `client` as its peer; with `splice`, the
    /// connection may be spliced.
    pub fn stand_for(
        &self,
        socket: &impl AsFd,
        client: SocketAddr,
        splice: bool,
    ) -> Result<(), CaptureError> {
        let splice = if splice { SocketState::SPLICE } else { 0 };
        let state = SocketState { peer: client.into(), flags: SocketState::ON_BEHALF | splice };
        self.sockets.set(socket.as_fd(), state)
    }

    /// Ends connections of sockets in `netns` that do not go through the proxy. Returns how many there still were.
    ///
    /// # Errors
    /// The kernel is built without SOCK_DESTROY (EOPNOTSUPP), or the namespace cannot be entered.
    pub fn destroy(&self, netns: &Netns, sockets: &[TcpSocket]) -> std::io::Result<usize> {
        destroy::destroy(netns, sockets)
    }

    /// Connections to sockets in `netns` whose handshake is not over.
    ///
    /// # Errors
    /// The kernel cannot say (CONFIG_INET_DIAG), or the namespace cannot be entered.
    pub fn half_open(&self, netns: &Netns) -> std::io::Result<Vec<TcpSocket>> {
        diag::half_open(netns)
    }

    /// The splicing of connections.
    pub fn splice(&self) -> &Splice {
        &self.splice
    }

    /// Makes `targets` all addresses whose ports may be spliced. The first time a port
    /// opts in, tests whether the kernel splices correctly.
    pub fn set_splice_targets(&self, targets: &HashMap<IpAddr, SplicePorts>) -> Result<(), CaptureError> {
        if !targets.is_empty() {
            splice::run_once(self);
        }
        self.splice.set_targets(targets)
    }

    /// Tells the kernel that the proxy is alive. To be called several times within `Config::stale_after`.
    pub fn beat(&self) -> Result<(), CaptureError> {
        self.heartbeat.lock().beat(sys::monotonic_ns())
    }

    /// How often to call [`Capture::beat`].
    pub fn beat_every(&self) -> Duration {
        self.stale_after / 5
    }

    /// Lets new connections follow their fail mode from now on.
    pub fn stop_beating(&self) -> Result<(), CaptureError> {
        self.heartbeat.lock().beat(0)
    }

    /// Attaches this proxy's programs again after a takeover failed. `pods`: the cookies of the pods served.
    pub fn attach_again(&self, pods: &[u64]) -> Result<(), CaptureError> {
        self.programs.lock().attach_again(pods)
    }

    /// Whether another version's programs, with maps of their own, are attached as well. Those run first.
    pub fn has_other_versions(&self) -> bool {
        self.programs.lock().has_others()
    }

    /// Detaches them; to be called when this version knows all pods, or there is a moment in which none is captured.
    pub fn drop_other_versions(&self) {
        self.programs.lock().drop_others();
    }

    /// The node's own network namespace: a workload there shares the node's network.
    pub fn host(&self) -> &Netns {
        &self.host
    }

    /// What became of connections in the kernel so far.
    pub fn outcomes(&self) -> Outcomes {
        self.maps.lock().outcomes()
    }
}

/// Removes what instances of `node` left pinned: the programs are detached, the maps freed.
pub fn cleanup(bpffs: &std::path::Path, node: &str) -> std::io::Result<()> {
    let pins = bpffs.join(node);
    if pins.exists() { std::fs::remove_dir_all(pins) } else { Ok(()) }
}

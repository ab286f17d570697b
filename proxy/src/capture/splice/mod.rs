//! Tells the kernel which connections to splice.
//!
//! Everything that `proxy-ebpf/src/splice.rs` and `msg.rs` need: offsets of the running kernel, ports that opted
//! in, the routes of connections. Where the kernel does not allow it, splicing is off and says why; nothing else
//! depends on it.

mod btf;
mod flow_table;
mod self_test;

use std::{
    collections::{HashMap as StdMap, HashSet},
    net::IpAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::Path,
};

use aya::{
    Ebpf,
    maps::{HashMap, Map, MapData, MapError, SockHash},
    programs::SkMsg,
};
use parking_lot::{Mutex, RwLock};
use weft_common::{Ip, PortRange, PortRanges, SpliceConfig, SplicePair, SplicePorts, SpliceRedirect};

pub(super) use self::self_test::run_once;
use self::{btf::Btf, flow_table::FlowTable};
use super::{
    CaptureError,
    maps::{absent_is_fine, take},
    sys,
};

/// The maps that outlive the process.
pub(super) const PINNED: &[&str] = &[
    "SPLICE_BY_NETNS",
    "SPLICE_BY_IP",
    "OPENER_BY_TUPLE",
    "PAIR_BY_COOKIE",
    "SPLICED_SOCKETS",
    "REDIRECT_BY_COOKIE",
    "SPLICE_COUNTERS",
    "COOKIE_BY_SOCKET",
];
pub(super) const PROGRAM: &str = "weft_msg";
/// As the map has.
const FLOWS: u32 = 32768;
/// As much as may wait in a reader's queue, with overhead: what TCP lets it have by default (tcp_rmem[2]).
const LIMIT: u32 = 6 << 20;

/// The kernel side of splicing.
pub struct Splice {
    from: Mutex<HashMap<MapData, u64, PortRanges>>,
    to: Mutex<HashMap<MapData, Ip, SplicePorts>>,
    pairs: Mutex<HashMap<MapData, u64, SplicePair>>,
    routes: Mutex<HashMap<MapData, u64, SpliceRedirect>>,
    members: Mutex<SockHash<MapData, u64>>,
    cookies: MapData,
    flows: FlowTable,
    state: RwLock<State>,
}

/// Whether connections are spliced.
#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    /// The program is there; nobody has opted in yet, so it has not been tried.
    Untried,
    On,
    Off(String),
}

/// No room in one of the maps.
#[derive(Debug, thiserror::Error)]
#[error("the map {0} is full")]
pub struct Full(&'static str);

/// A socket does not become a member.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The other end has ended its half already.
    #[error("the other end has ended its half")]
    Ending,
    /// No room.
    #[error("{0}")]
    Other(std::io::Error),
}

/// A sender's bytes may be put into a target's queue, until [`Splice::end`].
#[derive(Clone, Copy, Debug)]
pub struct InstalledRedirect {
    sender: u64,
    flow: u32,
}

/// What the loader gives the programs.
///
/// # Errors
/// Why the kernel's sockets cannot be read.
pub(super) fn offsets(btf: &Path) -> Result<SpliceConfig, String> {
    let find = || -> Result<SpliceConfig, btf::BtfError> {
        let btf = Btf::read(btf)?;
        Ok(SpliceConfig {
            write_seq: btf.offset("tcp_sock", "write_seq")?,
            copied_seq: btf.offset("tcp_sock", "copied_seq")?,
            rmem_alloc: btf.offset("sock", "sk_backlog.rmem_alloc")?,
            cookie: btf.offset("sock", "__sk_common.skc_cookie")?,
            owned: btf.offset("sock", "sk_lock.owned")?,
            waiting: btf.offset("sock", "sk_wq")?,
            waiters: btf.offset("socket_wq", "wait.head")?,
            waiter_link: btf.offset("wait_queue_entry", "entry")?,
            waiter_task: btf.offset("wait_queue_entry", "private")?,
            limit: LIMIT,
        })
    };
    find().map_err(|error| format!("the offsets of the kernel's sockets are not known: {error}"))
}

impl Splice {
    /// Takes the maps and attaches the program. `refused`: why it must not be (see [`offsets`]). `alone`: no
    /// predecessor hands over.
    pub(super) fn start(ebpf: &mut Ebpf, refused: Option<String>, alone: bool) -> Result<Self, CaptureError> {
        const COOKIE_BY_SOCKET: &str = "COOKIE_BY_SOCKET";
        let flows = ebpf.map("SPLICE_COUNTERS").ok_or(CaptureError::Missing("SPLICE_COUNTERS"))?;
        let Map::Array(flows) = flows else { return Err(CaptureError::Missing("SPLICE_COUNTERS")) };
        let flows = FlowTable::map(flows.fd().as_fd(), FLOWS)
            .map_err(CaptureError::path("map", "SPLICE_COUNTERS"))?;
        let Some(Map::SkStorage(cookies)) = ebpf.take_map(COOKIE_BY_SOCKET) else {
            return Err(CaptureError::Missing(COOKIE_BY_SOCKET));
        };
        let members: SockHash<MapData, u64> = take(ebpf, "SPLICED_SOCKETS")?;
        let state = match refused.or_else(|| attach(ebpf, &members).err()) {
            Some(reason) => {
                tracing::warn!(reason, "connections are not spliced, although ports may opt in");
                State::Off(reason)
            }
            None => State::Untried,
        };
        let splice = Splice {
            from: Mutex::new(take(ebpf, "SPLICE_BY_NETNS")?),
            to: Mutex::new(take(ebpf, "SPLICE_BY_IP")?),
            pairs: Mutex::new(take(ebpf, "PAIR_BY_COOKIE")?),
            routes: Mutex::new(take(ebpf, "REDIRECT_BY_COOKIE")?),
            members: Mutex::new(members),
            cookies,
            flows,
            state: RwLock::new(state),
        };
        if alone {
            let all = splice.flows.used().collect();
            splice.remove_unused(&all)?;
        }
        Ok(splice)
    }

    /// Why no connection is spliced; `None`: those that opt in are.
    pub fn off(&self) -> Option<String> {
        match &*self.state.read() {
            State::Off(reason) => Some(reason.clone()),
            State::Untried | State::On => None,
        }
    }

    /// The ports that a workload opted in for its own connections.
    pub(super) fn set_source(&self, netns: u64, ports: &[PortRange]) -> Result<(), CaptureError> {
        let error = CaptureError::map("SPLICE_BY_NETNS");
        let mut from = self.from.lock();
        match PortRanges::new(ports) {
            Some(ranges) if !ports.is_empty() => from.insert(netns, ranges, 0).map_err(error),
            _ => absent_is_fine(from.remove(&netns)).map_err(error),
        }
    }

    /// Makes `wanted` all addresses whose ports opted in.
    pub(super) fn set_targets(&self, wanted: &StdMap<IpAddr, SplicePorts>) -> Result<(), CaptureError> {
        let wanted: StdMap<Ip, SplicePorts> = match *self.state.read() {
            State::Off(_) => StdMap::new(),
            _ => wanted.iter().map(|(ip, ports)| ((*ip).into(), *ports)).collect(),
        };
        let mut to = self.to.lock();
        let removed: Vec<Ip> = to.keys().flatten().filter(|ip| !wanted.contains_key(ip)).collect();
        for ip in removed {
            absent_is_fine(to.remove(&ip)).map_err(CaptureError::map("SPLICE_BY_IP"))?;
        }
        for (ip, ports) in wanted {
            to.insert(ip, ports, 0).map_err(CaptureError::map("SPLICE_BY_IP"))?;
        }
        Ok(())
    }

    /// The connection of the proxy's own socket, if its port opted in and the kernel knows the other end.
    pub fn pair(&self, cookie: u64) -> Option<SplicePair> {
        self.pairs.lock().get(&cookie, 0).ok()
    }

    /// Lets the kernel move bytes of a connection both ways (the routes' flows and ways back are filled in here), of
    /// which `forwarded` have been relayed.
    pub fn begin(
        &self,
        routes: [SpliceRedirect; 2],
        forwarded: [u64; 2],
    ) -> Result<[InstalledRedirect; 2], Full> {
        let [there, back] = routes;
        let take = |route: SpliceRedirect, forwarded: u64| {
            let flow = self.flows.take(route.sender, forwarded, route.may_sleep != 0);
            let sender = route.sender;
            flow.map(|flow| InstalledRedirect { sender, flow }).ok_or(Full("SPLICE_COUNTERS"))
        };
        let first = take(there, forwarded[0])?;
        let second = take(back, forwarded[1]).inspect_err(|_| self.flows.free(first.flow, first.sender))?;
        let routed = [first, second];
        for (at, route, back) in [(0, there, back), (1, back, there)] {
            let route = SpliceRedirect {
                flow: routed[at].flow,
                back_flow: routed[1 - at].flow,
                back_feeder: back.feeder,
                back_feeder_sock: back.feeder_sock,
                ..route
            };
            if self.routes.lock().insert(route.sender, route, 0).is_err() {
                for routed in routed {
                    self.end(routed);
                }
                return Err(Full("REDIRECT_BY_COOKIE"));
            }
        }
        Ok(routed)
    }

    /// Tells how many bytes of the sender have been relayed in all: read from its connection and written to the
    /// target's; `before` were told last.
    pub fn forwarded(&self, routed: InstalledRedirect, before: u64, bytes: u64) {
        self.flows.forwarded(routed.flow, routed.sender, before, bytes);
    }

    /// How many bytes the kernel has moved. `None`: the sender was closed, and another one has its counters.
    pub fn moved(&self, routed: InstalledRedirect) -> Option<u64> {
        self.flows.moved(routed.flow, routed.sender)
    }

    /// Nothing is moved any more; how many bytes it was (as [`Self::moved`]).
    pub fn end(&self, routed: InstalledRedirect) -> Option<u64> {
        // Gone already where the sender is.
        let _ = self.routes.lock().remove(&routed.sender);
        let moved = self.moved(routed);
        self.flows.free(routed.flow, routed.sender);
        moved
    }

    /// Makes a socket of the proxy's own a member.
    pub fn join(&self, socket: BorrowedFd<'_>, cookie: u64) -> Result<(), Refused> {
        sys::storage_set(self.cookies.fd().as_fd(), socket, &cookie).map_err(Refused::Other)?;
        match self.members.lock().insert(cookie, socket.as_raw_fd(), 0) {
            Ok(()) => Ok(()),
            // The kernel takes sockets in state ESTABLISHED only.
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                Err(Refused::Ending)
            }
            Err(error) => Err(Refused::Other(std::io::Error::other(error))),
        }
    }

    /// How many routes there are.
    pub fn routes(&self) -> usize {
        self.flows.used().count()
    }

    /// Removes what terminated proxies left: their connections ended with them. Not those of one that still drains
    /// although its successor is dead: their senders are members, and have a route until their connection ends. An
    /// application's socket is a member until it closes that, so some are dead only later: gives the flows with their
    /// senders that seem to be, to be asked about again. Of these, only `suspects` of last time are taken: others may be
    /// about to get their route.
    pub fn remove_unused(&self, suspects: &HashSet<(u32, u64)>) -> Result<HashSet<(u32, u64)>, CaptureError> {
        let flows: Vec<(u32, u64)> = self.flows.used().collect();
        let mut routes = self.routes.lock();
        if flows.is_empty() && routes.keys().next().is_none() {
            return Ok(HashSet::new());
        }
        let mut senders: HashSet<u64> = routes.keys().flatten().collect();
        // Last: a sender is a member before it has a route. It stays one after a reset, until it is closed.
        let members: HashSet<u64> = self.members.lock().keys().flatten().collect();
        for sender in senders.extract_if(|sender| !members.contains(sender)) {
            absent_is_fine(routes.remove(&sender)).map_err(CaptureError::map("REDIRECT_BY_COOKIE"))?;
        }
        let dead = flows.into_iter().filter(|(_, sender)| !senders.contains(sender));
        let (known, new): (Vec<_>, Vec<_>) = dead.partition(|flow| suspects.contains(flow));
        known.into_iter().for_each(|(flow, sender)| self.flows.free(flow, sender));
        Ok(new.into_iter().collect())
    }

    fn turn_off(&self, reason: String) {
        tracing::warn!(reason, "connections are not spliced, although ports may opt in");
        *self.state.write() = State::Off(reason);
    }
}

/// The program that is in force when a socket joins stays its program; so it is replaced, never detached.
fn attach(ebpf: &mut Ebpf, members: &SockHash<MapData, u64>) -> Result<(), String> {
    let attach = || -> Result<(), CaptureError> {
        let program = ebpf.program_mut(PROGRAM).ok_or(CaptureError::Missing(PROGRAM))?;
        let program: &mut SkMsg = program.try_into().map_err(CaptureError::program(PROGRAM))?;
        program.load().map_err(CaptureError::program(PROGRAM))?;
        let link = program.attach(members.fd()).map_err(CaptureError::program(PROGRAM))?;
        let link = program.take_link(link).map_err(CaptureError::program(PROGRAM))?;
        // Dropped, it would detach the program from the map.
        std::mem::forget(link);
        Ok(())
    };
    let mut attach = attach;
    attach().map_err(|error| {
        format!(
            "{error} (kernel 5.8, CAP_PERFMON and no lockdown=confidentiality are needed to read sockets)"
        )
    })
}

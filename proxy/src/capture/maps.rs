//! Reads and writes the programs' maps.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, SockHash, lpm_trie::Key as LpmKey},
};
use ipnet::IpNet;
use weft_common::{Config, Ip, ListenKey, Outcome, SLOTS, SocketState, SubnetKey, Workload, listener_key};

use super::{CaptureError, Listeners, Outcomes, sys};
use crate::net::Direction;

/// The maps that outlive the process.
pub(super) const PINNED: &[&str] = &[
    "WORKLOAD_BY_NETNS",
    "NETNS_BY_IP",
    "OUTBOUND_LISTENERS",
    "INBOUND_LISTENERS",
    "ORIGINAL_DST_BY_TUPLE",
    "HANDSHAKES_BY_NETNS",
    "HOST_CONNECTIONS",
    "LISTENERS_BY_ADDR",
    "LISTENERS_BY_NETNS",
    "PREEXISTING_LISTENERS",
    "SKIPPED_SUBNETS",
    "PROXIES",
    "CONFIG",
    "NETNS_BY_SLOT",
    "HEARTBEAT",
    "OUTCOMES",
    "STATE_BY_SOCKET",
    "VALID_GRANTS",
    "DIRECT_BY_TUPLE",
    "DIRECT_COUNT_BY_NETNS",
    "OPEN_DIRECT_BY_COOKIE",
    "DIRECT_BY_SOCKET",
];

/// All but the socket storage, which the data path uses without a lock, and the heartbeat, which must not wait.
pub(super) struct Maps {
    workloads: HashMap<MapData, u64, Workload>,
    addresses: HashMap<MapData, Ip, u64>,
    outbound: SockHash<MapData, u64>,
    inbound: SockHash<MapData, Ip>,
    handshakes: HashMap<MapData, u64, u64>,
    listeners: HashMap<MapData, ListenKey, u64>,
    listening: HashMap<MapData, u64, u64>,
    seeded: HashMap<MapData, ListenKey, u64>,
    subnets: LpmTrie<MapData, SubnetKey, u8>,
    proxies: HashMap<MapData, u64, u8>,
    config: Array<MapData, Config>,
    netns_by_slot: Array<MapData, u64>,
    outcomes: PerCpuArray<MapData, u64>,
}

pub(super) fn take<M: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<M, CaptureError> {
    let map = ebpf.take_map(name).ok_or(CaptureError::Missing(name))?;
    M::try_from(map).map_err(CaptureError::map(name))
}

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, CaptureError> {
        Ok(Maps {
            workloads: take(ebpf, "WORKLOAD_BY_NETNS")?,
            addresses: take(ebpf, "NETNS_BY_IP")?,
            outbound: take(ebpf, "OUTBOUND_LISTENERS")?,
            inbound: take(ebpf, "INBOUND_LISTENERS")?,
            handshakes: take(ebpf, "HANDSHAKES_BY_NETNS")?,
            listeners: take(ebpf, "LISTENERS_BY_ADDR")?,
            listening: take(ebpf, "LISTENERS_BY_NETNS")?,
            seeded: take(ebpf, "PREEXISTING_LISTENERS")?,
            subnets: take(ebpf, "SKIPPED_SUBNETS")?,
            proxies: take(ebpf, "PROXIES")?,
            config: take(ebpf, "CONFIG")?,
            netns_by_slot: take(ebpf, "NETNS_BY_SLOT")?,
            outcomes: take(ebpf, "OUTCOMES")?,
        })
    }

    pub(super) fn configure(&mut self, host_netns: u64, stale_after: Duration) -> Result<(), CaptureError> {
        // A predecessor's stays: connections are being opened by it.
        let known = self.config.get(&0, 0).map_or([0; 2], |config| config.redirect_key);
        let redirect_key = if known == [0; 2] { rand::random() } else { known };
        let config = Config { host_netns, stale_after_ns: stale_after.as_nanos() as u64, redirect_key };
        self.config.set(0, config, 0).map_err(CaptureError::map("CONFIG"))
    }

    pub(super) fn is_proxy(&self, cgroup: u64) -> bool {
        self.proxies.get(&cgroup, 0).is_ok()
    }

    /// Exempts the proxy's cgroup from capture; of others, known here or from another version, only those that `stay`.
    pub(super) fn set_proxy(
        &mut self,
        cgroup: u64,
        others: &[u64],
        stay: impl Fn(u64) -> bool,
    ) -> Result<(), CaptureError> {
        let old: Vec<u64> = self.proxies.keys().flatten().filter(|id| *id != cgroup && !stay(*id)).collect();
        for id in old {
            absent_is_fine(self.proxies.remove(&id)).map_err(CaptureError::map("PROXIES"))?;
        }
        let exempt = others.iter().copied().filter(|id| stay(*id)).chain([cgroup]);
        exempt
            .into_iter()
            .try_for_each(|id| self.proxies.insert(id, 1, 0))
            .map_err(CaptureError::map("PROXIES"))
    }

    /// Gives the workload a slot of redirect targets that no other one has: the one it had before, if any.
    ///
    /// # Errors
    /// The map cannot be written. All slots taken is none: the workload's connections share one target.
    pub(super) fn assign_slot(&mut self, netns: u64) -> Result<u32, CaptureError> {
        let known = self.workload(netns).map_or(0, |workload| workload.slot);
        let slot = if known != 0 {
            known
        } else {
            let taken: HashSet<u32> =
                self.workloads.iter().flatten().map(|(_, workload)| workload.slot).collect();
            (1..SLOTS).find(|slot| !taken.contains(slot)).unwrap_or(0)
        };
        if slot != 0 {
            self.netns_by_slot.set(slot, netns, 0).map_err(CaptureError::map("NETNS_BY_SLOT"))?;
        }
        Ok(slot)
    }

    fn release_slot(&mut self, netns: u64) -> Result<(), CaptureError> {
        match self.workload(netns).map(|workload| workload.slot) {
            Some(slot) if slot != 0 => {
                self.netns_by_slot.set(slot, 0, 0).map_err(CaptureError::map("NETNS_BY_SLOT"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn set_workload(&mut self, netns: u64, workload: Workload) -> Result<(), CaptureError> {
        self.workloads.insert(netns, workload, 0).map_err(CaptureError::map("WORKLOAD_BY_NETNS"))
    }

    /// Begins to count what of the shared maps is the workload's.
    pub(super) fn set_quotas(&mut self, netns: u64) -> Result<(), CaptureError> {
        const NOEXIST: u64 = 1;
        for (name, counts) in
            [("HANDSHAKES_BY_NETNS", &mut self.handshakes), ("LISTENERS_BY_NETNS", &mut self.listening)]
        {
            match counts.insert(netns, 0, NOEXIST) {
                Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EEXIST) => {
                }
                result => result.map_err(CaptureError::map(name))?,
            }
        }
        Ok(())
    }

    /// Whether the workload's listeners take half of what they may: it is worth while to look for closed ones.
    pub(super) fn is_crowded(&self, netns: u64) -> bool {
        self.listening.get(&netns, 0).is_ok_and(|count| count >= Workload::MAX_LISTENERS / 2)
    }

    pub(super) fn workload(&self, netns: u64) -> Option<Workload> {
        self.workloads.get(&netns, 0).ok()
    }

    pub(super) fn workloads(&self) -> Vec<u64> {
        self.workloads.keys().flatten().collect()
    }

    pub(super) fn set_listeners(
        &mut self,
        netns: u64,
        ips: &[IpAddr],
        listeners: &Listeners,
    ) -> Result<(), CaptureError> {
        for v6 in [false, true] {
            if let Some(socket) = listeners.get(Direction::Outbound, v6) {
                self.outbound
                    .insert(listener_key(netns, v6), socket.as_raw_fd(), 0)
                    .map_err(CaptureError::map("OUTBOUND_LISTENERS"))?;
            }
        }
        for ip in ips {
            if let Some(socket) = listeners.get(Direction::Inbound, ip.is_ipv6()) {
                self.inbound
                    .insert(Ip::from(*ip), socket.as_raw_fd(), 0)
                    .map_err(CaptureError::map("INBOUND_LISTENERS"))?;
            }
        }
        Ok(())
    }

    pub(super) fn set_addresses(&mut self, netns: u64, ips: &[IpAddr]) -> Result<(), CaptureError> {
        for ip in ips {
            self.addresses.insert(Ip::from(*ip), netns, 0).map_err(CaptureError::map("NETNS_BY_IP"))?;
        }
        Ok(())
    }

    pub(super) fn set_subnets(&mut self, netns: u64, subnets: &[IpNet]) -> Result<(), CaptureError> {
        let wanted: Vec<_> = subnets.iter().map(|subnet| subnet_key(netns, subnet)).collect();
        let old: Vec<_> =
            self.subnets.keys().flatten().filter(|key| key.data().netns == netns.to_ne_bytes()).collect();
        // Fewer left alone is the safe side, should there be no room for the new ones.
        for key in old {
            let kept = subnets.iter().any(|subnet| {
                let wanted = subnet_key(netns, subnet);
                wanted.data() == key.data() && wanted.prefix_len() == key.prefix_len()
            });
            if !kept {
                absent_is_fine(self.subnets.remove(&key)).map_err(CaptureError::map("SKIPPED_SUBNETS"))?;
            }
        }
        for key in wanted {
            self.subnets.insert(&key, 1, 0).map_err(CaptureError::map("SKIPPED_SUBNETS"))?;
        }
        Ok(())
    }

    /// Makes `PREEXISTING_LISTENERS` hold exactly those of `listening` that sockops does not know. How many those are.
    pub(super) fn seed(&mut self, netns: u64, listening: &[SocketAddr]) -> Result<usize, CaptureError> {
        let key =
            |addr: &SocketAddr| ListenKey { netns, ip: addr.ip().into(), port: addr.port().into(), pad: 0 };
        let mut wanted: HashSet<ListenKey> = listening
            .iter()
            .map(key)
            .filter(|key| !self.listeners.get(key, 0).is_ok_and(|count| count > 0))
            .collect();
        let most = usize::try_from(Workload::MAX_LISTENERS).unwrap_or(usize::MAX);
        if wanted.len() > most {
            tracing::warn!(
                netns,
                listening = wanted.len(),
                most,
                "the pod listens on more addresses than are followed; some are not reached"
            );
            // Always the same ones, the lowest.
            let mut sorted: Vec<ListenKey> = wanted.into_iter().collect();
            sorted.sort_unstable_by_key(|key| (key.port, key.ip.0));
            wanted = sorted.into_iter().take(most).collect();
        }
        let stale: Vec<ListenKey> =
            self.seeded.keys().flatten().filter(|key| key.netns == netns && !wanted.contains(key)).collect();
        for key in &wanted {
            self.seeded.insert(key, 1, 0).map_err(CaptureError::map("PREEXISTING_LISTENERS"))?;
        }
        for key in stale {
            absent_is_fine(self.seeded.remove(&key)).map_err(CaptureError::map("PREEXISTING_LISTENERS"))?;
        }
        Ok(wanted.len())
    }

    /// Removes addresses that are (still) the workload's.
    pub(super) fn forget_addresses(&mut self, netns: u64, ips: &[IpAddr]) -> Result<(), CaptureError> {
        for ip in ips {
            let ip = Ip::from(*ip);
            // Another pod may have been given the address already.
            if self.addresses.get(&ip, 0).is_ok_and(|owner| owner == netns) {
                absent_is_fine(self.addresses.remove(&ip)).map_err(CaptureError::map("NETNS_BY_IP"))?;
                absent_is_fine(self.inbound.remove(&ip)).map_err(CaptureError::map("INBOUND_LISTENERS"))?;
            }
        }
        Ok(())
    }

    /// Removes the listening addresses on which nobody listens any more.
    pub(super) fn prune(&mut self, netns: u64) -> Result<(), CaptureError> {
        let stale: Vec<ListenKey> = self
            .listeners
            .iter()
            .flatten()
            .filter(|(key, count)| key.netns == netns && *count == 0)
            .map(|(key, _)| key)
            .collect();
        for key in stale {
            absent_is_fine(self.listeners.remove(&key)).map_err(CaptureError::map("LISTENERS_BY_ADDR"))?;
        }
        let left = self.listeners.keys().flatten().filter(|key| key.netns == netns).count() as u64;
        // One that begins to listen at this moment may not be counted; the next look does.
        match self.listening.get(&netns, 0) {
            Ok(count) if count != left => {
                self.listening.insert(netns, left, 0).map_err(CaptureError::map("LISTENERS_BY_NETNS"))
            }
            _ => Ok(()),
        }
    }

    /// Removes everything about a workload.
    pub(super) fn forget(&mut self, netns: u64, ips: &[IpAddr]) -> Result<(), CaptureError> {
        self.forget_addresses(netns, ips)?;
        for v6 in [false, true] {
            absent_is_fine(self.outbound.remove(&listener_key(netns, v6)))
                .map_err(CaptureError::map("OUTBOUND_LISTENERS"))?;
        }
        self.release_slot(netns)?;
        absent_is_fine(self.workloads.remove(&netns)).map_err(CaptureError::map("WORKLOAD_BY_NETNS"))?;
        self.set_subnets(netns, &[])?;
        for counts in [&mut self.handshakes, &mut self.listening] {
            absent_is_fine(counts.remove(&netns)).map_err(CaptureError::map("HANDSHAKES_BY_NETNS"))?;
        }
        for map in [&mut self.listeners, &mut self.seeded] {
            let keys: Vec<ListenKey> = map.keys().flatten().filter(|key| key.netns == netns).collect();
            for key in keys {
                absent_is_fine(map.remove(&key)).map_err(CaptureError::map("LISTENERS_BY_ADDR"))?;
            }
        }
        Ok(())
    }

    /// The addresses kept for `netns`.
    pub(super) fn addresses_of(&self, netns: u64) -> Vec<IpAddr> {
        self.addresses
            .iter()
            .flatten()
            .filter(|(_, owner)| *owner == netns)
            .map(|(ip, _)| ip.into())
            .collect()
    }

    pub(super) fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&(outcome as u32), 0).map_or(0, |per_cpu| per_cpu.iter().sum())
    }

    pub(super) fn outcomes(&self) -> Outcomes {
        Outcomes {
            counts: Outcome::ALL.iter().map(|(outcome, ..)| self.outcome(*outcome)).collect(),
            workloads: self.workloads.keys().flatten().count() as u64,
            addresses: self.addresses.keys().flatten().count() as u64,
            listeners: self.listeners.iter().flatten().filter(|(_, count)| *count > 0).count() as u64,
            seeded: self.seeded.keys().flatten().count() as u64,
        }
    }
}

fn subnet_key(netns: u64, subnet: &IpNet) -> LpmKey<SubnetKey> {
    let prefix = match subnet {
        IpNet::V4(v4) => 96 + u32::from(v4.prefix_len()),
        IpNet::V6(v6) => u32::from(v6.prefix_len()),
    };
    LpmKey::new(64 + prefix, SubnetKey::new(netns, &Ip::from(subnet.network())))
}

pub(super) fn absent_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// When the proxy was alive last.
pub(super) struct Heartbeat(Array<MapData, u64>);

impl Heartbeat {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, CaptureError> {
        Ok(Self(take(ebpf, "HEARTBEAT")?))
    }

    pub(super) fn beat(&mut self, now_ns: u64) -> Result<(), CaptureError> {
        self.0.set(0, now_ns, 0).map_err(CaptureError::map("HEARTBEAT"))
    }
}

/// The map of sockets' storage, for the data path.
pub(super) struct Sockets {
    // Kept as they are: programs that are still to be loaded refer to their descriptors by number.
    map: MapData,
    _directs: MapData,
}

impl Sockets {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, CaptureError> {
        let mut storage = |name| match ebpf.take_map(name) {
            Some(Map::SkStorage(map)) => Ok(map),
            _ => Err(CaptureError::Missing(name)),
        };
        Ok(Sockets { map: storage("STATE_BY_SOCKET")?, _directs: storage("DIRECT_BY_SOCKET")? })
    }

    pub(super) fn get(&self, socket: BorrowedFd<'_>) -> Option<SocketState> {
        sys::storage_get(self.map.fd().as_fd(), socket).ok()
    }

    pub(super) fn set(&self, socket: BorrowedFd<'_>, state: SocketState) -> Result<(), CaptureError> {
        sys::storage_set(self.map.fd().as_fd(), socket, &state).map_err(|source: io::Error| {
            CaptureError::Path { what: "write map", path: "STATE_BY_SOCKET".into(), source }
        })
    }
}

//! Reads and writes the programs' maps.

mod addresses;
mod listeners;
mod quotas;
mod slots;
mod sockets;
mod subnets;

use std::{net::IpAddr, time::Duration};

use aya::{
    Ebpf,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, SockHash},
};
use weft_common::{Config, Ip, ListenKey, Outcome, SubnetKey, Workload};

pub(super) use self::sockets::Sockets;
use super::{CaptureError, Outcomes};

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
    handshake_counts: HashMap<MapData, u64, u64>,
    listeners: HashMap<MapData, ListenKey, u64>,
    listener_counts: HashMap<MapData, u64, u64>,
    preexisting: HashMap<MapData, ListenKey, u64>,
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
            handshake_counts: take(ebpf, "HANDSHAKES_BY_NETNS")?,
            listeners: take(ebpf, "LISTENERS_BY_ADDR")?,
            listener_counts: take(ebpf, "LISTENERS_BY_NETNS")?,
            preexisting: take(ebpf, "PREEXISTING_LISTENERS")?,
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

    pub(super) fn set_workload(&mut self, netns: u64, workload: Workload) -> Result<(), CaptureError> {
        self.workloads.insert(netns, workload, 0).map_err(CaptureError::map("WORKLOAD_BY_NETNS"))
    }

    pub(super) fn workload(&self, netns: u64) -> Option<Workload> {
        self.workloads.get(&netns, 0).ok()
    }

    pub(super) fn workloads(&self) -> Vec<u64> {
        self.workloads.keys().flatten().collect()
    }

    /// Removes everything about a workload, which has the addresses `ips`.
    pub(super) fn forget(&mut self, netns: u64, ips: &[IpAddr]) -> Result<(), CaptureError> {
        self.forget_addresses(netns, ips)?;
        self.forget_outbound_listeners(netns)?;
        self.release_slot(netns)?;
        absent_is_fine(self.workloads.remove(&netns)).map_err(CaptureError::map("WORKLOAD_BY_NETNS"))?;
        self.set_subnets(netns, &[])?;
        self.forget_quotas(netns)?;
        self.forget_listeners(netns)
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
            seeded: self.preexisting.keys().flatten().count() as u64,
        }
    }
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

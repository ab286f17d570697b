//! Enrolls and unenrolls a pod without losing a connection.
//!
//! To enroll: open the proxy's listeners, let the programs record new listeners of applications, look up the existing
//! ones, then redirect connections. To unenroll: stop redirecting, wait for connections that are being opened, remove all.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use weft_common::{Ip, PortRange, PortRanges, Workload};

use super::{Capture, CaptureError, Listeners, Netns, diag, v6_targets};
use crate::net::Direction;

/// Subnets that one workload may leave alone: the map is shared by all of the node.
const MAX_SUBNETS: usize = 256;
/// A pod with fewer ephemeral ports than a source may have open direct connections, and as many that rest after their end.
const FEW_PORTS: u32 = 16_384;

/// What the kernel is to know of a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelConfig {
    /// The pod's addresses.
    pub ips: Vec<IpAddr>,
    /// New connections go directly while no proxy serves them.
    pub fail_open: bool,
    /// Ports that its connections may go to directly.
    pub skip_outbound: Vec<PortRange>,
    /// Ports on which it is reached directly.
    pub skip_inbound: Vec<PortRange>,
    /// Subnets left alone in both directions.
    pub skip_subnets: Vec<IpNet>,
    /// Ports of which its own connections may be spliced.
    pub splice: Vec<PortRange>,
}

/// A pod that the kernel side knows. Must be ended with [`Enrolled::forget`].
#[derive(Debug)]
pub struct Enrolled {
    capture: Arc<Capture>,
    netns: Netns,
    workload: Workload,
    ips: Vec<IpAddr>,
}

impl Enrolled {
    /// Observes the pod: nothing is captured yet that was not captured by a predecessor.
    pub fn observe(
        capture: &Arc<Capture>,
        netns: &Netns,
        listeners: &Listeners,
        config: &KernelConfig,
    ) -> Result<Self, CaptureError> {
        let cookie = netns.cookie();
        let of_family =
            |v6| config.ips.iter().find(|ip| ip.is_ipv6() == v6).map_or(Ip::ANY_V6, |ip| (*ip).into());
        let mut enrolled = Enrolled {
            capture: capture.clone(),
            netns: netns.clone(),
            workload: Workload {
                outbound_v4: listeners.port(Direction::Outbound, false),
                outbound_v6: listeners.port(Direction::Outbound, true),
                ip4: of_family(false),
                ip6: of_family(true),
                ..Workload::default()
            },
            ips: config.ips.clone(),
        };
        let before = capture.maps.lock().workload(cookie);
        if let Some(before) = before {
            // A predecessor's: it stays captured throughout.
            let kept = Workload::CAPTURE_OUTBOUND | Workload::CAPTURE_INBOUND | Workload::PREEXISTING;
            enrolled.workload.flags |= before.flags & kept;
        }
        enrolled.prepare_targets();
        enrolled.adopt(config)?;
        {
            let mut maps = capture.maps.lock();
            maps.set_listeners(cookie, &config.ips, listeners)?;
            enrolled.workload.slot = maps.assign_slot(cookie)?;
            maps.set_quotas(cookie)?;
            maps.set_workload(cookie, enrolled.workload)?;
            maps.set_addresses(cookie, &config.ips)?;
        }
        enrolled.find_preexisting_listeners()?;
        capture.programs.lock().attach_lookup(netns)?;
        Ok(enrolled)
    }

    /// Whether a predecessor has captured it already.
    pub fn was_captured(&self) -> bool {
        self.workload.is(Workload::CAPTURE_OUTBOUND)
    }

    /// From now on every new connection of and to the pod comes to the proxy.
    pub fn capture(&mut self) -> Result<(), CaptureError> {
        self.workload.flags |= Workload::CAPTURE_OUTBOUND | Workload::CAPTURE_INBOUND;
        self.write()
    }

    /// The pod's own new connections go directly from now on.
    pub fn release_outbound(&mut self) -> Result<(), CaptureError> {
        self.workload.flags &= !Workload::CAPTURE_OUTBOUND;
        self.write()
    }

    /// New connections to the pod go directly from now on.
    pub fn release_inbound(&mut self) -> Result<(), CaptureError> {
        self.workload.flags &= !Workload::CAPTURE_INBOUND;
        self.write()
    }

    /// Changed annotations take effect.
    ///
    /// # Errors
    /// A map is full. What it had room for, and what the workload may not do any more, holds all the same.
    pub fn change(&mut self, config: &KernelConfig) -> Result<(), CaptureError> {
        let adopted = self.adopt(config);
        self.write().and(adopted)
    }

    /// Lists the applications' listeners again: which of them are pre-existing or were missed. Returns whether there
    /// are such listeners.
    ///
    /// # Errors
    /// The sockets cannot be listed, or a map cannot be written.
    pub fn find_preexisting_listeners(&mut self) -> Result<bool, CaptureError> {
        let netns = self.netns.cookie();
        // Before the listing: what begins to listen meanwhile is on the list.
        self.capture.maps.lock().prune_listeners(netns)?;
        let listening = diag::listening(&self.netns).map_err(|source| CaptureError::Netns {
            what: "listing sockets (sock_diag)",
            netns,
            source,
        })?;
        let found = self.capture.maps.lock().set_preexisting_listeners(netns, &listening)? > 0;
        if found != self.workload.is(Workload::PREEXISTING) {
            self.workload.flags ^= Workload::PREEXISTING;
            self.write()?;
        }
        Ok(found)
    }

    /// Whether the pod has opened so many listeners that stale entries should be removed soon.
    pub fn has_many_listeners(&self) -> bool {
        self.capture.maps.lock().has_many_listeners(self.netns.cookie())
    }

    /// The same pod will be enrolled anew, with these addresses: it stays captured meanwhile, its other addresses
    /// are forgotten.
    pub fn retire(self, ips: &[IpAddr]) -> Result<(), CaptureError> {
        let removed: Vec<IpAddr> = self.ips.iter().copied().filter(|ip| !ips.contains(ip)).collect();
        self.capture.maps.lock().forget_addresses(self.netns.cookie(), &removed)
    }

    /// Removes everything that the kernel side knows of the pod.
    pub fn forget(self) -> Result<(), CaptureError> {
        self.capture.programs.lock().detach_lookup(self.netns.cookie());
        self.capture.direct.forget(self.netns.cookie())?;
        self.capture.splice.set_source(self.netns.cookie(), &[])?;
        self.capture.maps.lock().forget(self.netns.cookie(), &self.ips)
    }

    /// Looks at what redirect targets the namespace has, and at how many connections can share one.
    fn prepare_targets(&mut self) {
        if self.workload.outbound_v6 != 0 {
            let added = v6_targets::add_route(&self.netns);
            if let Err(error) = &added {
                let netns = self.netns.cookie();
                tracing::warn!(netns, %error, "no route for IPv6 redirect targets: the pod's IPv6 connections share one, and a source address and port can only have one connection at a time");
            }
            self.set(Workload::V6_TARGETS, added.is_ok());
        }
        self.set(Workload::FEW_PORTS, self.netns.ephemeral_ports().is_some_and(|ports| ports < FEW_PORTS));
    }

    fn adopt(&mut self, config: &KernelConfig) -> Result<(), CaptureError> {
        let ranges = |what: &str, list: &[PortRange]| {
            PortRanges::new(list).unwrap_or_else(|| {
                // Fewer ports left alone is the safe side.
                let (netns, ranges, most) = (self.netns.cookie(), list.len(), PortRanges::MAX);
                tracing::error!(
                    netns,
                    ranges,
                    most,
                    "{what} has too many ranges; the ports of the last ones are not skipped"
                );
                PortRanges::new(&list[..PortRanges::MAX]).unwrap_or_default()
            })
        };
        self.workload.skip_outbound = ranges("config.linkerd.io/skip-outbound-ports", &config.skip_outbound);
        self.workload.skip_inbound = ranges("config.linkerd.io/skip-inbound-ports", &config.skip_inbound);
        self.set(Workload::FAIL_OPEN, config.fail_open);
        if let Err(error) = self.capture.splice.set_source(self.netns.cookie(), &config.splice) {
            // All works without.
            tracing::warn!(netns = self.netns.cookie(), %error, "failed to enable splicing for the workload");
        }
        let subnets = &config.skip_subnets[..config.skip_subnets.len().min(MAX_SUBNETS)];
        if subnets.len() < config.skip_subnets.len() {
            // Fewer subnets left alone is the safe side.
            let (netns, given) = (self.netns.cookie(), config.skip_subnets.len());
            tracing::error!(
                netns,
                given,
                most = MAX_SUBNETS,
                "config.linkerd.io/skip-subnets has too many subnets; the last ones are not skipped"
            );
        }
        self.set(Workload::SKIP_SUBNETS, !subnets.is_empty());
        self.capture.maps.lock().set_subnets(self.netns.cookie(), subnets)
    }

    fn set(&mut self, flag: u32, on: bool) {
        if on { self.workload.flags |= flag } else { self.workload.flags &= !flag }
    }

    fn write(&self) -> Result<(), CaptureError> {
        self.capture.maps.lock().set_workload(self.netns.cookie(), self.workload)
    }
}

impl Capture {
    /// Forgets the workloads that a predecessor left and that are not (any more) this node's.
    pub fn forget_others(&self, is_known: impl Fn(u64) -> bool) {
        // The kernel's list first: who joins after that is not on it.
        let listed = self.maps.lock().workloads();
        for netns in listed.into_iter().filter(|netns| !is_known(*netns)) {
            self.programs.lock().detach_lookup(netns);
            let mut maps = self.maps.lock();
            let ips = maps.addresses_of(netns);
            let result = self
                .splice
                .set_source(netns, &[])
                .and_then(|()| self.direct.forget(netns))
                .and_then(|()| maps.forget(netns, &ips));
            tracing::info!(netns, ?result, "removed a workload that a previous proxy left");
        }
    }
}

//! The workloads that this proxy serves now, by address.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use arc_swap::ArcSwap;

use super::Workload;

#[derive(Default)]
pub struct Registry {
    by_ip: ArcSwap<HashMap<IpAddr, Arc<Workload>>>,
}

impl Registry {
    /// The workload with this address, if this proxy serves it.
    pub fn at(&self, addr: SocketAddr) -> Option<Arc<Workload>> {
        self.by_ip.load().get(&addr.ip()).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Workload>> {
        let mut all: Vec<_> = self.by_ip.load().values().cloned().collect();
        all.sort_by_key(|workload| workload.netns.cookie());
        all.dedup_by_key(|workload| workload.netns.cookie());
        all
    }

    pub fn add(&self, workload: &Arc<Workload>) {
        self.by_ip.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.extend(workload.ips.iter().map(|ip| (*ip, workload.clone())));
            map
        });
    }

    pub fn remove(&self, workload: &Arc<Workload>) {
        self.by_ip.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.retain(|_, served| !Arc::ptr_eq(served, workload));
            map
        });
    }
}

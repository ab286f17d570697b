//! The content of the admin page `/config`.

use std::{fs, path::Path, sync::Arc, time::UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::{config::Config, identity::Store, lifecycle::StatusReporter, splice::Splicing};

/// What the page shows. It holds no secrets.
pub(super) struct Description {
    pub(super) config: Config,
    pub(super) reporter: Arc<StatusReporter>,
    pub(super) store: Arc<Store>,
    pub(super) splicing: Arc<Splicing>,
}

impl Description {
    pub(super) fn json(&self) -> Value {
        let workloads: Map<_, _> = self
            .reporter
            .all()
            .into_iter()
            .map(|(key, status)| {
                let status = json!({ "state": status.state.as_str_name(), "reason": status.reason });
                (key.to_string(), status)
            })
            .collect();
        let certificates: Map<_, _> = self
            .store
            .expiries()
            .into_iter()
            .map(|(identity, expires)| {
                let since_epoch = expires.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
                (identity.to_string(), json!({ "expires": since_epoch.map(|since| since.as_secs()) }))
            })
            .collect();
        let off = self.splicing.off();
        json!({
            "config": self.config,
            "workloads": workloads,
            "certificates": certificates,
            "kernel": { "btf": Path::new(BTF).exists(), "cgroup_v2": has_cgroup_v2() },
            "splice": { "available": off.is_none(), "reason": off },
        })
    }
}

/// The kernel's description of its own types.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Whether a cgroup v2 hierarchy is mounted where this process sees it.
fn has_cgroup_v2() -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(2) == Some("cgroup2"))
}

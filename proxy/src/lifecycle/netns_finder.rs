//! Finds a pod's network namespace.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::Spec;
use crate::{capture::Netns, net::Backoff};

const MIN_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// A namespace that is not there after this time is worth a log line.
const REPORT_AFTER: Duration = Duration::from_millis(500);

/// Finds namespaces: as the control plane says (a path, or `pid:N`), else `<folder>/<namespace>_<name>`.
#[derive(Clone, Debug)]
pub struct NetnsFinder {
    /// Where namespaces are bind-mounted, if anywhere.
    pub folder: Option<PathBuf>,
}

impl NetnsFinder {
    /// Waits until the namespace exists. `on_failure` gets each reason why it was not found, once.
    pub(super) async fn find(&self, spec: &Spec, mut on_failure: impl FnMut(&str)) -> Netns {
        let started = Instant::now();
        let mut backoff = Backoff::new(MIN_PAUSE, MAX_PAUSE);
        let mut reported = String::new();
        loop {
            let reason = match self.path(spec) {
                Some(path) => match tokio::task::spawn_blocking(move || Netns::open(&path)).await {
                    Ok(Ok(netns)) => return netns,
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                },
                None => {
                    "the pod has no annotation config.weft.dev/netns and --netns-dir is not given".to_owned()
                }
            };
            if reported != reason && started.elapsed() > REPORT_AFTER {
                on_failure(&reason);
                reported = reason;
            }
            backoff.pause().await;
        }
    }

    fn path(&self, spec: &Spec) -> Option<PathBuf> {
        if let Some(pid) = spec.netns.strip_prefix("pid:") {
            return Some(PathBuf::from(format!("/proc/{pid}/ns/net")));
        }
        if !spec.netns.is_empty() {
            return Some(PathBuf::from(&spec.netns));
        }
        Some(self.folder.as_ref()?.join(format!("{}_{}", spec.key.namespace, spec.key.name)))
    }
}

//! Where is a pod's network namespace?

use std::{path::PathBuf, time::Duration};

use super::spec::Spec;
use crate::capture::Netns;

const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Finds namespaces: as the control plane says (a path, or `pid:N`), else `<folder>/<namespace>_<name>`.
#[derive(Clone, Debug)]
pub struct NetnsFinder {
    /// Where namespaces are bind-mounted, if anywhere.
    pub folder: Option<PathBuf>,
}

impl NetnsFinder {
    /// Waits until the namespace is there. `trouble` is told what stands in the way, once for each reason.
    pub(super) async fn find(&self, spec: &Spec, mut trouble: impl FnMut(&str)) -> Netns {
        let mut wait = FIRST_WAIT;
        let mut told = String::new();
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
            if told != reason && wait > Duration::from_millis(500) {
                trouble(&reason);
                told = reason;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
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

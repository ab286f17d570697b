//! Reports the state of each pod to the control plane.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tonic::transport::Channel;
use tracing::debug;
use weft_api::node::{self as api, node_client::NodeClient};

use super::node_api::{WatchConfig, authorized};
use crate::workload::Key;

const RETRY_INTERVAL: Duration = Duration::from_millis(500);
const REPEAT_INTERVAL: Duration = Duration::from_secs(30);

/// The state of every pod that the control plane has named.
#[derive(Default)]
pub struct StatusReporter {
    statuses: Mutex<HashMap<Key, Status>>,
    changed: Notify,
    /// For those who wait for a state.
    changes: watch::Sender<()>,
}

/// How far the enrollment of a pod is.
#[derive(Clone, Debug)]
pub struct Status {
    pub uid: String,
    pub state: api::State,
    /// Why it is not served.
    pub reason: String,
}

impl StatusReporter {
    pub(super) fn set(&self, key: &Key, uid: &str, state: api::State, reason: &str) {
        let status = Status { uid: uid.to_owned(), state, reason: reason.to_owned() };
        self.statuses.lock().insert(key.clone(), status);
        self.changed.notify_one();
        self.changes.send_replace(());
    }

    pub(super) fn forget(&self, key: &Key) {
        self.statuses.lock().remove(key);
        self.changed.notify_one();
    }

    /// Reports again although nothing has changed: a control plane that was restarted does not know.
    pub(super) fn repeat(&self) {
        self.changed.notify_one();
    }

    pub(super) fn status(&self, key: &Key) -> Option<Status> {
        self.statuses.lock().get(key).cloned()
    }

    /// Resolves when a state has changed.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub fn all(&self) -> HashMap<Key, Status> {
        self.statuses.lock().clone()
    }

    /// Reports until dropped.
    pub async fn report(self: Arc<Self>, config: WatchConfig, control: Channel) {
        loop {
            let _ = tokio::time::timeout(REPEAT_INTERVAL, self.changed.notified()).await;
            while let Err(status) = self.send(&config, &control).await {
                debug!(code = ?status.code(), reason = status.message(), "failed to report the workloads' states");
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }

    async fn send(&self, config: &WatchConfig, control: &Channel) -> Result<(), tonic::Status> {
        let workloads = self
            .all()
            .into_iter()
            .map(|(key, state)| api::WorkloadState {
                r#ref: Some(api::WorkloadRef { namespace: key.namespace, name: key.name, uid: state.uid }),
                state: state.state.into(),
                reason: state.reason,
            })
            .collect();
        let message = api::ReportRequest { node: config.node.clone(), workloads };
        NodeClient::new(control.clone()).report(authorized(config, message).await?).await.map(drop)
    }
}

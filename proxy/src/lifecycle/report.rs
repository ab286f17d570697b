//! Reports the state of each pod to the control plane.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use parking_lot::Mutex;
use tokio::sync::watch;
use tonic::transport::Channel;
use tracing::debug;
use weft_api::node::{self as api, node_client::NodeClient};

use super::node_api::{WatchConfig, authorized};
use crate::workload::Key;

const RETRY_INTERVAL: Duration = Duration::from_millis(500);
const REPEAT_INTERVAL: Duration = Duration::from_secs(30);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The state of every pod that the control plane has named.
#[derive(Default)]
pub struct StatusReporter {
    statuses: Mutex<HashMap<Key, Status>>,
    /// For the sessions with the control plane, and for those who wait for a state.
    changed: watch::Sender<()>,
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
        self.changed.send_replace(());
    }

    pub(super) fn forget(&self, key: &Key) {
        self.statuses.lock().remove(key);
        self.changed.send_replace(());
    }

    /// Reports again although nothing has changed.
    pub(super) fn repeat(&self) {
        self.changed.send_replace(());
    }

    pub(super) fn status(&self, key: &Key) -> Option<Status> {
        self.statuses.lock().get(key).cloned()
    }

    /// Resolves when a state has changed.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub fn all(&self) -> HashMap<Key, Status> {
        self.statuses.lock().clone()
    }

    /// Reports to one replica of the control plane until dropped: at once, then all changes.
    pub(super) async fn report(&self, config: &WatchConfig, replica: &Channel) -> Infallible {
        let mut changed = self.changed.subscribe();
        loop {
            while let Err(status) = self.send(config, replica).await {
                debug!(code = ?status.code(), reason = status.message(), "failed to report the workloads' states");
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            // The sender is in `self`, so it cannot be dropped.
            let _ = tokio::time::timeout(REPEAT_INTERVAL, changed.changed()).await;
        }
    }

    async fn send(&self, config: &WatchConfig, replica: &Channel) -> Result<(), tonic::Status> {
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
        let request = authorized(config, message).await?;
        let mut client = NodeClient::new(replica.clone());
        match tokio::time::timeout(ANSWER_TIMEOUT, client.report(request)).await {
            Ok(answer) => answer.map(drop),
            Err(_) => Err(tonic::Status::deadline_exceeded("no answer in time")),
        }
    }
}

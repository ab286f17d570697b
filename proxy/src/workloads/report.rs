//! How does the control plane learn what became of the workloads?

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tonic::transport::Channel;
use tracing::debug;
use weft_api::node::{self as api, node_client::NodeClient};

use super::{Key, WatchConfig, watch::authorized};

const RETRY: Duration = Duration::from_millis(500);
const REPEAT: Duration = Duration::from_secs(30);

/// The state of every pod that the proxy was told of.
#[derive(Default)]
pub struct States {
    states: Mutex<HashMap<Key, State>>,
    changed: Notify,
}

/// How far a pod is.
#[derive(Clone, Debug)]
pub struct State {
    /// Which pod of that name.
    pub uid: String,
    /// How far.
    pub state: api::State,
    /// Why not further.
    pub reason: String,
}

impl States {
    pub(super) fn set(&self, key: &Key, uid: &str, state: api::State, reason: &str) {
        let state = State { uid: uid.to_owned(), state, reason: reason.to_owned() };
        self.states.lock().insert(key.clone(), state);
        self.changed.notify_one();
    }

    pub(super) fn forget(&self, key: &Key) {
        self.states.lock().remove(key);
        self.changed.notify_one();
    }

    /// To be reported again although nothing has changed: the control plane may have forgotten.
    pub(super) fn repeat(&self) {
        self.changed.notify_one();
    }

    /// All of them.
    pub fn all(&self) -> HashMap<Key, State> {
        self.states.lock().clone()
    }

    /// Reports until dropped.
    pub async fn report(self: Arc<Self>, config: WatchConfig, control: Channel) {
        loop {
            let _ = tokio::time::timeout(REPEAT, self.changed.notified()).await;
            while let Err(status) = self.send(&config, &control).await {
                debug!(code = ?status.code(), reason = status.message(), "the workloads' states were not reported");
                tokio::time::sleep(RETRY).await;
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

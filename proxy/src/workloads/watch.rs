//! Which pods does the control plane want served?

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch as channel;
use tonic::{Request, Streaming, metadata::MetadataValue, transport::Channel};
use tracing::{info, warn};
use weft_api::node::{self as api, node_client::NodeClient, update::Kind};

use super::{Key, Spec, keeper::Keeper, serve::turned};
use crate::splice::Splicing;

pub(super) const FIRST_RETRY: Duration = Duration::from_millis(100);
pub(super) const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// How the control plane is reached.
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// This node.
    pub node: String,
    /// The file with the node's token.
    pub token_file: PathBuf,
}

/// Follows the stream of workloads and starts and tells the keepers.
pub struct Watch {
    config: WatchConfig,
    control: Channel,
    keeper: Arc<Keeper>,
    splicing: Arc<Splicing>,
    kept: HashMap<Key, Kept>,
}

struct Kept {
    uid: String,
    wanted: channel::Sender<Option<Spec>>,
    /// Its keeper has nothing to do any more.
    idle: Arc<AtomicBool>,
}

impl Kept {
    fn is_over(&self) -> bool {
        self.wanted.borrow().is_none() && self.idle.load(Ordering::Acquire)
    }
}

impl Watch {
    /// Ready to [`Watch::run`].
    pub(crate) fn new(
        config: WatchConfig,
        control: Channel,
        keeper: Arc<Keeper>,
        splicing: Arc<Splicing>,
    ) -> Self {
        Watch { config, control, keeper, splicing, kept: HashMap::new() }
    }

    /// Follows until dropped. While the control plane is away, the last known state holds. When `leaving` turns true,
    /// the control plane is left, and by that told that nobody serves the node any more; the last known state holds.
    pub async fn run(mut self, mut leaving: channel::Receiver<bool>) {
        let mut wait = FIRST_RETRY;
        loop {
            let ended = tokio::select! {
                biased;
                () = turned(&mut leaving) => break,
                ended = self.follow(&mut wait) => ended,
            };
            match ended {
                Ok(()) => info!("the control plane ended the stream of workloads; connecting again"),
                Err(status) => {
                    warn!(code = ?status.code(), reason = status.message(), "no word of workloads from the control plane; the last known ones are served on");
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_RETRY);
        }
        // The keepers go with this.
        std::future::pending().await
    }

    async fn follow(&mut self, wait: &mut Duration) -> Result<(), tonic::Status> {
        let mut updates = updates(&self.config, &self.control, false).await?;
        while let Some(update) = updates.message().await? {
            *wait = FIRST_RETRY;
            match update.kind {
                Some(Kind::Snapshot(snapshot)) => {
                    self.splicing.set_targets(snapshot.splice.unwrap_or_default());
                    self.replace(snapshot.workloads);
                }
                Some(Kind::Splice(splice)) => self.splicing.set_targets(splice),
                Some(Kind::Upsert(workload)) => self.upsert(workload),
                Some(Kind::Remove(gone)) => {
                    self.remove(&Key { namespace: gone.namespace, name: gone.name }, Some(&gone.uid));
                }
                None => warn!("the control plane sent an update without content; is it of another version?"),
            }
            self.kept.retain(|_, kept| !kept.is_over());
        }
        Ok(())
    }

    fn replace(&mut self, workloads: Vec<api::Workload>) {
        let named = |workload: &api::Workload| {
            workload.r#ref.as_ref().map(|r| Key { namespace: r.namespace.clone(), name: r.name.clone() })
        };
        let wanted: Vec<Key> = workloads.iter().filter_map(named).collect();
        let gone: Vec<Key> = self.kept.keys().filter(|key| !wanted.contains(key)).cloned().collect();
        for key in gone {
            self.remove(&key, None);
        }
        for workload in workloads {
            self.upsert(workload);
        }
        // Keepers still have to join their pods; what none of them claims by then is a leftover.
        self.keeper.snapshot_seen();
    }

    fn upsert(&mut self, workload: api::Workload) {
        let spec = match Spec::try_from(workload) {
            Ok(spec) => spec,
            Err(error) => {
                warn!(%error, "a workload is left as it was");
                return;
            }
        };
        if let Some(kept) = self.kept.get_mut(&spec.key) {
            kept.uid.clone_from(&spec.uid);
            kept.wanted.send_replace(Some(spec));
            return;
        }
        let (wanted, specs) = channel::channel(Some(spec.clone()));
        let idle = Arc::<AtomicBool>::default();
        tokio::spawn(self.keeper.clone().keep(specs, idle.clone()));
        self.kept.insert(spec.key, Kept { uid: spec.uid, wanted, idle });
    }

    /// `uid`: only if it is still that pod; its successor may have the name already.
    fn remove(&mut self, key: &Key, uid: Option<&str>) {
        if let Some(kept) = self.kept.get(key)
            && uid.is_none_or(|uid| uid.is_empty() || uid == kept.uid)
        {
            kept.wanted.send_replace(None);
        }
    }
}

/// The node's workloads; `draining`: for one that serves them no more.
pub(super) async fn updates(
    config: &WatchConfig,
    control: &Channel,
    draining: bool,
) -> Result<Streaming<api::Update>, tonic::Status> {
    let mut client = NodeClient::new(control.clone()).max_decoding_message_size(64 << 20);
    let request = authorized(config, api::WatchRequest { node: config.node.clone(), draining }).await?;
    Ok(client.watch(request).await?.into_inner())
}

/// Adds the node's token, read anew for each call.
pub(super) async fn authorized<T>(config: &WatchConfig, message: T) -> Result<Request<T>, tonic::Status> {
    let token = tokio::fs::read_to_string(&config.token_file).await.map_err(|error| {
        tonic::Status::unauthenticated(format!("token file {}: {error}", config.token_file.display()))
    })?;
    let mut value = MetadataValue::try_from(format!("Bearer {}", token.trim()))
        .map_err(|_| tonic::Status::unauthenticated("the token file holds no token"))?;
    value.set_sensitive(true);
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}

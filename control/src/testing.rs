//! Helpers for tests: clusters from YAML, and a control plane on a loopback socket.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{Request, transport::Channel};
use weft_api::{
    linkerd::{
        destination::destination_client::DestinationClient, identity::identity_client::IdentityClient,
        inbound::inbound_server_policies_client::InboundServerPoliciesClient,
        outbound::outbound_policies_client::OutboundPoliciesClient,
    },
    node::node_client::NodeClient,
    secure,
};

use crate::{
    AuthorityConfig, Config, Control, Error, SourceConfig,
    index::{Cluster, Index, Instance, Served},
    manifests,
    mesh::Mesh,
    model::{Event, Object},
};

/// The objects of a text as sources pass them on.
pub(crate) fn objects(yaml: &str) -> Vec<Arc<Object>> {
    raw_objects(yaml).into_iter().map(|object| Arc::new(object.trimmed())).collect()
}

/// The objects of a text as they are written.
pub(crate) fn raw_objects(yaml: &str) -> Vec<Object> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("all.yaml"), yaml).unwrap();
    let loaded = manifests::load(&[dir.path().to_owned()]);
    assert_eq!(loaded.problems, []);
    loaded.documents.iter().map(|document| (*document.object).clone()).collect()
}

/// Events that apply all objects of a text.
pub(crate) fn applied(yaml: &str) -> impl Iterator<Item = Event> {
    objects(yaml).into_iter().map(Event::Applied)
}

/// The cluster of a text. All meshed pods are served.
pub(crate) fn cluster(yaml: &str) -> Arc<Cluster> {
    let index = Index::new(Served::new());
    index.apply(applied(yaml));
    serve_all(&index);
    index.snapshot()
}

/// Reports all meshed pods as served.
pub(crate) fn serve_all(index: &Index) {
    let cluster = index.snapshot();
    for node in cluster.nodes() {
        let pods: BTreeSet<Instance> =
            cluster.pods_on(node).iter().filter(|pod| pod.is_meshed()).map(|pod| pod.instance()).collect();
        index.report(node, pods, &BTreeSet::new());
    }
}

pub(crate) fn mesh() -> Mesh {
    Mesh {
        trust_domain: "cluster.local".into(),
        control_plane_namespace: "linkerd".into(),
        cluster_domain: "cluster.local".into(),
        cluster_networks: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
    }
}

/// A control plane on a loopback socket.
pub(crate) struct Running {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) index: Arc<Index>,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) admin: std::net::SocketAddr,
    channel: Channel,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), Error>>,
}

impl Running {
    pub(crate) async fn start(yaml: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), yaml).await
    }

    pub(crate) async fn start_in(dir: tempfile::TempDir, yaml: &str) -> Self {
        let manifests = dir.path().join("manifests");
        fs::create_dir_all(&manifests).unwrap();
        fs::write(manifests.join("all.yaml"), yaml).unwrap();
        let control = Control::start(config(&dir)).await.unwrap();
        let channel = connect(&control, &dir.path().join("state/anchors.pem")).await.unwrap();
        let (index, admin) = (control.index().clone(), control.admin_address());
        let address = control.address();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(control.run_until(async move {
            let _ = stopped.await;
        }));
        Self { dir, index, address, admin, channel, stop: Some(stop), ended }
    }

    pub(crate) fn manifest(&self, yaml: &str) {
        fs::write(self.dir.path().join("manifests/all.yaml"), yaml).unwrap();
    }

    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.dir.path().join("state").join(name)
    }

    pub(crate) fn token(&self, node: &str) -> String {
        fs::read_to_string(self.state("tokens").join(node)).unwrap()
    }

    pub(crate) fn destination(&self) -> DestinationClient<Channel> {
        DestinationClient::new(self.channel.clone())
    }

    pub(crate) fn identity(&self) -> IdentityClient<Channel> {
        IdentityClient::new(self.channel.clone())
    }

    pub(crate) fn outbound(&self) -> OutboundPoliciesClient<Channel> {
        OutboundPoliciesClient::new(self.channel.clone())
    }

    pub(crate) fn policy(&self) -> InboundServerPoliciesClient<Channel> {
        InboundServerPoliciesClient::new(self.channel.clone())
    }

    pub(crate) fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.channel.clone())
    }

    /// Stops it and returns its folder.
    pub(crate) async fn stop(mut self) -> tempfile::TempDir {
        self.stop.take().unwrap().send(()).unwrap();
        within(&mut self.ended).await.unwrap().unwrap();
        self.dir
    }
}

/// Connects to a control plane as its clients do.
pub(crate) async fn connect(control: &Control, anchors: &Path) -> Result<Channel, secure::Error> {
    let anchors = fs::read(anchors).unwrap();
    secure::connect(control.address(), &anchors, &mesh().own_identity()).await
}

pub(crate) fn config(dir: &tempfile::TempDir) -> Config {
    let loopback = "127.0.0.1:0".parse().unwrap();
    Config {
        source: SourceConfig::Manifests(vec![dir.path().join("manifests")]),
        state: dir.path().join("state"),
        listen: loopback,
        admin: loopback,
        nodes: vec!["one".into()],
        identity: AuthorityConfig {
            issuer_dir: None,
            trust_anchors_file: None,
            lifetime: Duration::from_secs(3600),
            clock_skew: Duration::from_secs(20),
        },
        mesh: mesh(),
        defaults: crate::settings::Annotations::default(),
    }
}

/// A request with a node's token.
pub(crate) fn bearer<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// Fails the test if `future` takes too long.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(5), future).await.expect("happens within five seconds")
}

//! A weft-control that runs in the test.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{oneshot, watch},
    task::JoinHandle,
};
use weft_control::{
    AuthorityConfig, Config, Control, Error, KubernetesConfig, Mesh, SourceConfig,
    index::{Cluster, Index, Pod},
    model::Name,
    settings::Annotations,
};

use crate::api_server::free_address;

/// How long the test waits for something that has to happen. Two cores may have much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Running {
    folder: tempfile::TempDir,
    admin: SocketAddr,
    index: watch::Receiver<Option<Arc<Index>>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), Error>>,
}

impl Running {
    /// Starts weft-control, and does not wait.
    pub(crate) fn spawn(kubeconfig: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = free_address();
        let config = config(&folder, kubeconfig, admin);
        let (sender, index) = watch::channel(None);
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let control = tokio::select! {
                control = Control::start(config) => control?,
                _ = &mut stopped => return Ok(()),
            };
            sender.send_replace(Some(control.index().clone()));
            control
                .run_until(async {
                    let _ = stopped.await;
                })
                .await
        });
        Self { folder, admin, index, stop: Some(stop), task }
    }

    /// Starts weft-control, and waits until it is ready.
    pub(crate) async fn start(kubeconfig: PathBuf) -> Self {
        let running = Self::spawn(kubeconfig);
        eventually("weft-control is ready", async || running.get("/ready").await == (200, "ready\n".into()))
            .await;
        running
    }

    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }

    pub(crate) fn cluster(&self) -> Arc<Cluster> {
        self.index.borrow().as_ref().expect("weft-control has started").snapshot()
    }

    pub(crate) fn pod(&self, name: &str) -> Option<Arc<Pod>> {
        self.cluster().pod(&demo(name)).cloned()
    }

    /// The number of endpoints of a service.
    pub(crate) fn endpoints(&self, service: &str) -> Option<usize> {
        self.cluster().service(&demo(service)).map(|service| service.endpoint_count())
    }

    /// The address in a file of the state folder.
    pub(crate) fn address(&self, file: &str) -> SocketAddr {
        std::fs::read_to_string(self.folder.path().join("state").join(file)).unwrap().parse().unwrap()
    }

    /// Status and body of a page of the admin server; 0 if it does not answer.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let answer = async {
            let mut stream = TcpStream::connect(self.admin).await.ok()?;
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await.ok()?;
            let (head, body) = text.split_once("\r\n\r\n")?;
            Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
        };
        answer.await.unwrap_or_default()
    }

    /// The value of a metric; 0 if it does not exist.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.get("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("weft_control_{series} ")));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// A metric of the watch of a kind.
    pub(crate) async fn watch_metric(&self, name: &str, kind: &str) -> f64 {
        self.metric(&format!("watch_{name}{{kind=\"{kind}\"}}")).await
    }
}

/// Fails the test if `condition` does not become true.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = std::time::Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "{what}: this did not happen within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn demo(name: &str) -> Name {
    Name { namespace: "demo".into(), name: name.into() }
}

fn config(folder: &tempfile::TempDir, kubeconfig: PathBuf, admin: SocketAddr) -> Config {
    let any = "127.0.0.1:0".parse().unwrap();
    Config {
        source: SourceConfig::Kubernetes(KubernetesConfig { kubeconfig: Some(kubeconfig), webhook: any }),
        state: folder.path().join("state"),
        listen: any,
        admin,
        nodes: Vec::new(),
        identity: AuthorityConfig {
            issuer_dir: None,
            trust_anchors_file: None,
            lifetime: Duration::from_secs(3600),
            clock_skew: Duration::from_secs(20),
        },
        mesh: Mesh {
            trust_domain: "cluster.local".into(),
            control_plane_namespace: "weft".into(),
            cluster_domain: "cluster.local".into(),
            cluster_networks: vec!["10.0.0.0/8".parse().unwrap()],
        },
        defaults: Annotations::default(),
    }
}

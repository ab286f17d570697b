//! A weft-control that reads the lab's API server and has the installation's certificates.

use std::{
    fs,
    net::SocketAddr,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;
use weft_control::{
    AuthorityConfig, Config, Control, KubernetesConfig, Mesh, SourceConfig, settings::Annotations,
};

use crate::lab::Lab;

/// Dropping it ends it.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _folder: TempDir,
}

const START: Duration = Duration::from_secs(60);

impl Running {
    pub(crate) fn start(lab: &Lab) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config(lab, &folder);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let control = Control::start(config).await.unwrap();
                let stopped = async {
                    let _ = stopped.await;
                };
                control.run_until(stopped).await.unwrap();
            });
        });
        // The address is written when the index has everything.
        let file = folder.path().join("state/address");
        let started = Instant::now();
        let address = loop {
            if let Ok(text) = fs::read_to_string(&file) {
                break text.trim().parse().unwrap();
            }
            assert!(started.elapsed() < START && !thread.is_finished(), "weft-control does not start");
            thread::sleep(Duration::from_millis(50));
        };
        Self { address, stop: Some(stop), thread: Some(thread), _folder: folder }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn config(lab: &Lab, folder: &TempDir) -> Config {
    let issuer = folder.path().join("issuer");
    fs::create_dir(&issuer).unwrap();
    let secret = lab.kubectl(&["-n", "weft", "get", "secret", "weft-identity-issuer", "-o", "json"], "");
    let secret: Value = serde_json::from_str(&secret).unwrap();
    for name in ["crt.pem", "key.pem"] {
        fs::write(issuer.join(name), crate::helm::decode(&secret["data"][name])).unwrap();
    }
    let anchors = folder.path().join("anchors.pem");
    let name = "configmap/weft-identity-trust-roots";
    let pem = lab.kubectl(&["-n", "weft", "get", name, "-o", r"jsonpath={.data.ca-bundle\.crt}"], "");
    fs::write(&anchors, pem).unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    Config {
        source: SourceConfig::Kubernetes(KubernetesConfig {
            kubeconfig: Some(lab.path("kubeconfig").into()),
            webhook: any,
        }),
        state: folder.path().join("state"),
        listen: any,
        admin: any,
        nodes: Vec::new(),
        identity: AuthorityConfig {
            issuer_dir: Some(issuer),
            trust_anchors_file: Some(anchors),
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

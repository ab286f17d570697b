//! Runs etcd and kube-apiserver on loopback.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::programs::Programs;

pub(crate) const URL: &str = "https://127.0.0.1:6443";

/// Both programs; they end with the process namespace of the tests.
pub(crate) struct ApiServer {
    _etcd: Child,
    _api_server: Child,
    pub(crate) kubeconfig: PathBuf,
}

impl ApiServer {
    pub(crate) fn start(programs: &Programs, folder: &Path) -> Self {
        ip(&["link", "set", "lo", "up"]);
        // The API server's own address, and those of two nodes: it forwards nothing to 127.0.0.0/8.
        for address in ["10.77.0.100/32", "10.77.0.1/32", "10.77.0.2/32"] {
            ip(&["addr", "add", address, "dev", "lo"]);
        }
        let path = |name: &str| folder.join(name).display().to_string();
        let etcd = spawn(
            Command::new(&programs.etcd).args(["--data-dir", &path("etcd"), "--unsafe-no-fsync"]).args([
                "--listen-peer-urls",
                "http://127.0.0.1:2380",
                "--log-level",
                "error",
            ]),
            &folder.join("etcd.log"),
        );
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(folder.join("sa.key"), key.serialize_pem()).unwrap();
        fs::write(folder.join("sa.pub"), key.public_key_pem()).unwrap();
        let tokens = "admin,admin,1,system:masters\nnobody,nobody,2\n";
        fs::write(folder.join("tokens"), tokens).unwrap();
        let api_server = spawn(
            Command::new(&programs.api_server)
                .args(["--etcd-servers", "http://127.0.0.1:2379", "--bind-address", "127.0.0.1"])
                .args(["--advertise-address", "10.77.0.100", "--cert-dir", &path("certs")])
                .args(["--service-account-issuer", "https://kubernetes.default.svc"])
                .args(["--service-account-key-file", &path("sa.pub")])
                .args(["--service-account-signing-key-file", &path("sa.key")])
                .args(["--token-auth-file", &path("tokens"), "--authorization-mode", "RBAC"])
                .args(["--service-cluster-ip-range", "10.96.0.0/16"])
                // Controllers that would make default service accounts do not run.
                .args(["--disable-admission-plugins", "ServiceAccount,TaintNodesByCondition"]),
            &folder.join("api-server.log"),
        );
        let kubeconfig = folder.join("kubeconfig");
        fs::write(&kubeconfig, kubeconfig_text(URL, "admin")).unwrap();
        fs::write(folder.join("kubeconfig-nobody"), kubeconfig_text(URL, "nobody")).unwrap();
        let server = Self { _etcd: etcd, _api_server: api_server, kubeconfig };
        server.wait(programs, folder);
        server
    }

    fn wait(&self, programs: &Programs, folder: &Path) {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let ready = Command::new(&programs.kubectl)
                .arg("--kubeconfig")
                .arg(&self.kubeconfig)
                .args(["get", "--raw", "/readyz"])
                .output()
                .unwrap();
            let namespaces = Command::new(&programs.kubectl)
                .arg("--kubeconfig")
                .arg(&self.kubeconfig)
                .args(["get", "namespace", "kube-node-lease"])
                .output()
                .unwrap();
            if ready.status.success() && namespaces.status.success() {
                return;
            }
            if Instant::now() > deadline {
                let log = fs::read_to_string(folder.join("api-server.log")).unwrap_or_default();
                let end: Vec<_> = log.lines().rev().take(20).collect();
                panic!("the API server does not get ready: {end:#?}");
            }
            thread::sleep(Duration::from_millis(200));
        }
    }
}

pub(crate) fn kubeconfig_text(url: &str, token: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters: [{{name: test, cluster: {{server: '{url}', insecure-skip-tls-verify: true}}}}]\n\
         users: [{{name: test, user: {{token: {token}}}}}]\n\
         contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n"
    )
}

fn spawn(command: &mut Command, log: &Path) -> Child {
    let file = File::create(log).unwrap();
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap()
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().unwrap();
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

//! An etcd and a kube-apiserver on loopback, in a temporary folder.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::programs::Programs;

/// The name that the webhook's certificate has.
pub(crate) const WEBHOOK_NAME: &str = "weft-policy-validator.weft.svc";
pub(crate) const ADMIN_TOKEN: &str = "admin-token";
/// Two cores may have much else to do.
const START: Duration = Duration::from_secs(90);

pub(crate) struct ApiServer {
    programs: Programs,
    folder: tempfile::TempDir,
    address: SocketAddr,
    etcd_address: SocketAddr,
    etcd: Child,
    server: Option<Child>,
}

impl ApiServer {
    pub(crate) async fn start(programs: Programs) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_certificates(folder.path());
        let token = format!("{ADMIN_TOKEN},admin,admin,system:masters\n");
        fs::write(folder.path().join("tokens.csv"), token).unwrap();
        // The API server looks its webhook up in this file.
        fs::write(folder.path().join("hosts"), format!("127.0.0.1 localhost\n127.0.0.1 {WEBHOOK_NAME}\n"))
            .unwrap();
        let (etcd_address, peers) = (free_address(), free_address());
        let etcd = Command::new(&programs.etcd)
            .arg("--data-dir")
            .arg(folder.path().join("etcd"))
            .args(["--listen-client-urls", &format!("http://{etcd_address}")])
            .args(["--advertise-client-urls", &format!("http://{etcd_address}")])
            .args(["--listen-peer-urls", &format!("http://{peers}")])
            .args(["--initial-advertise-peer-urls", &format!("http://{peers}")])
            .args(["--initial-cluster", &format!("default=http://{peers}")])
            .arg("--unsafe-no-fsync")
            .stdout(log(folder.path(), "etcd"))
            .stderr(log(folder.path(), "etcd"))
            .spawn()
            .unwrap();
        let address = free_address();
        let mut server = Self { programs, folder, address, etcd_address, etcd, server: None };
        server.start_again().await;
        server
    }

    /// Starts the API server, and waits until it is ready.
    pub(crate) async fn start_again(&mut self) {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        // In a mount namespace of its own, so that only this process reads the file of hosts.
        let script = format!("mount --bind {} /etc/hosts && exec \"$0\" \"$@\"", file("hosts"));
        let server = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", &script])
            .arg(&self.programs.api_server)
            .arg(format!("--etcd-servers=http://{}", self.etcd_address))
            .arg(format!("--secure-port={}", self.address.port()))
            .args(["--bind-address=127.0.0.1", "--advertise-address=192.0.2.1"])
            .arg(format!("--cert-dir={}", file("certificates")))
            .arg(format!("--tls-cert-file={}", file("server.pem")))
            .arg(format!("--tls-private-key-file={}", file("server-key.pem")))
            .arg(format!("--token-auth-file={}", file("tokens.csv")))
            .arg(format!("--service-account-key-file={}", file("accounts.pem")))
            .arg(format!("--service-account-signing-key-file={}", file("accounts-key.pem")))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .args(["--service-cluster-ip-range=10.0.0.0/16", "--authorization-mode=RBAC"])
            // No controllers run that would make service accounts.
            .arg("--disable-admission-plugins=ServiceAccount")
            .stdout(log(self.folder.path(), "apiserver"))
            .stderr(log(self.folder.path(), "apiserver"))
            .spawn()
            .unwrap();
        self.server = Some(server);
        let client = self.client().await;
        let started = std::time::Instant::now();
        loop {
            let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
            if client.request_text(request).await.is_ok_and(|text| text == "ok") {
                return;
            }
            let has_ended = self.server.as_mut().is_some_and(|server| server.try_wait().unwrap().is_some());
            assert!(
                !has_ended && started.elapsed() < START,
                "the API server did not start:\n{}",
                self.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Removes the history from etcd: nobody can watch from an earlier version any more.
    pub(crate) async fn forget_history(&self) {
        let range = self.etcd("range", json!({"key": "AA=="})).await;
        let revision = range["header"]["revision"].as_str().unwrap();
        self.etcd("compaction", json!({"revision": revision, "physical": true})).await;
    }

    /// Calls etcd over its JSON gateway.
    async fn etcd(&self, method: &str, body: Value) -> Value {
        let body = body.to_string();
        let head = format!("POST /v3/kv/{method} HTTP/1.0\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut stream = TcpStream::connect(self.etcd_address).await.unwrap();
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{answer}");
        serde_json::from_str(body).unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client that may do everything.
    pub(crate) async fn client(&self) -> Client {
        let config = Kubeconfig::read_from(self.kubeconfig("admin", self.address, ADMIN_TOKEN)).unwrap();
        let mut config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        config.default_retry = false;
        Client::try_from(config).unwrap()
    }

    /// A file with which `token` is used at `address`.
    pub(crate) fn kubeconfig(&self, name: &str, address: SocketAddr, token: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.kubeconfig"));
        let authority = self.folder.path().join("authority.pem");
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {
                "server": format!("https://{address}"),
                "certificate-authority": authority,
            }}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        });
        fs::write(&path, text.to_string()).unwrap();
        path
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Output {
        let output = Command::new(&self.programs.kubectl)
            .arg("--kubeconfig")
            .arg(self.kubeconfig("admin", self.address, ADMIN_TOKEN))
            .env("HOME", self.folder.path())
            .args(arguments)
            .output();
        output.unwrap()
    }

    /// Applies a file or folder with kubectl.
    pub(crate) fn apply(&self, path: &Path) {
        let output = self.kubectl(&["apply", "-f", &path.display().to_string()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Applies a text with kubectl, and returns what kubectl says.
    pub(crate) fn try_apply(&self, yaml: &str) -> Result<(), String> {
        let path = self.folder.path().join("object.yaml");
        fs::write(&path, yaml).unwrap();
        let output = self.kubectl(&["apply", "-f", &path.display().to_string()]);
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("apiserver.log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        for child in self.server.iter_mut().chain([&mut self.etcd]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A loopback address that nobody uses at the moment.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn log(folder: &Path, name: &str) -> File {
    File::options().create(true).append(true).open(folder.join(format!("{name}.log"))).unwrap()
}

fn write_certificates(folder: &Path) {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    root.distinguished_name.push(rcgen::DnType::CommonName, "authority of the test");
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut server = CertificateParams::default();
    server.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
    server.distinguished_name.push(rcgen::DnType::CommonName, "API server of the test");
    let server = server.signed_by(&key, &root).unwrap();
    let accounts = KeyPair::generate().unwrap();
    for (name, pem) in [
        ("authority.pem", root.pem()),
        ("server.pem", server.pem()),
        ("server-key.pem", key.serialize_pem()),
        ("accounts.pem", accounts.public_key_pem()),
        ("accounts-key.pem", accounts.serialize_pem()),
    ] {
        fs::write(folder.join(name), pem).unwrap();
    }
}

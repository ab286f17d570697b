//! An etcd and a kube-apiserver on loopback that forwards requests to extensions, in a temporary folder.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use serde_json::{Value, json};

use crate::programs::Programs;

/// Two cores may have much else to do.
const START: Duration = Duration::from_secs(120);

pub(crate) struct ApiServer {
    programs: Programs,
    folder: tempfile::TempDir,
    address: SocketAddr,
    children: Vec<Child>,
}

impl ApiServer {
    pub(crate) async fn start(programs: Programs) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_certificates(folder.path());
        let users = ["admin", "alice", "bob", "carol", "tap"];
        let groups = |user: &str| if user == "admin" { ",system:masters" } else { "" };
        let tokens: String =
            users.map(|user| format!("{user}-token,{user},{user}{}\n", groups(user))).concat();
        fs::write(folder.path().join("tokens.csv"), tokens).unwrap();
        let (etcd_address, peers, address) = (free_address(), free_address(), free_address());
        let log = |name: &str| {
            File::options().create(true).append(true).open(folder.path().join(format!("{name}.log"))).unwrap()
        };
        let file = |name: &str| folder.path().join(name).display().to_string();
        let etcd = Command::new(&programs.etcd)
            .args(["--data-dir", &file("etcd")])
            .args(["--listen-client-urls", &format!("http://{etcd_address}")])
            .args(["--advertise-client-urls", &format!("http://{etcd_address}")])
            .args(["--listen-peer-urls", &format!("http://{peers}")])
            .args(["--initial-advertise-peer-urls", &format!("http://{peers}")])
            .args(["--initial-cluster", &format!("default=http://{peers}")])
            .stdout(log("etcd"))
            .stderr(log("etcd"))
            .spawn()
            .unwrap();
        let server = Command::new(&programs.api_server)
            .arg(format!("--etcd-servers=http://{etcd_address}"))
            .arg(format!("--secure-port={}", address.port()))
            .args(["--bind-address=127.0.0.1", "--advertise-address=192.0.2.1"])
            .arg(format!("--cert-dir={}", file("certificates")))
            .arg(format!("--tls-cert-file={}", file("server.pem")))
            .arg(format!("--tls-private-key-file={}", file("server-key.pem")))
            .arg(format!("--token-auth-file={}", file("tokens.csv")))
            .arg(format!("--service-account-key-file={}", file("accounts.pem")))
            .arg(format!("--service-account-signing-key-file={}", file("accounts-key.pem")))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .args(["--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=RBAC"])
            .arg("--disable-admission-plugins=ServiceAccount")
            .arg(format!("--requestheader-client-ca-file={}", file("front-proxy-ca.pem")))
            .arg("--requestheader-allowed-names=front-proxy-client")
            .arg("--requestheader-username-headers=X-Remote-User")
            .arg("--requestheader-group-headers=X-Remote-Group")
            .arg("--requestheader-extra-headers-prefix=X-Remote-Extra-")
            .arg(format!("--proxy-client-cert-file={}", file("front-proxy.pem")))
            .arg(format!("--proxy-client-key-file={}", file("front-proxy-key.pem")))
            .stdout(log("apiserver"))
            .stderr(log("apiserver"))
            .spawn()
            .unwrap();
        let this = Self { programs, folder, address, children: vec![server, etcd] };
        this.until_ready().await;
        this
    }

    async fn until_ready(&self) {
        let client = self.client("admin").await;
        let begun = Instant::now();
        loop {
            let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
            if client.request_text(request).await.is_ok_and(|text| text == "ok") {
                return;
            }
            let log = fs::read_to_string(self.folder.path().join("apiserver.log")).unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(10).collect();
            assert!(begun.elapsed() < START, "the API server did not start: {tail:#?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn client(&self, user: &str) -> Client {
        let config = Kubeconfig::read_from(self.kubeconfig(user)).unwrap();
        let mut config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        config.default_retry = false;
        Client::try_from(config).unwrap()
    }

    fn kubeconfig(&self, user: &str) -> PathBuf {
        let path = self.file(&format!("{user}.kubeconfig"));
        let cluster = json!({"server": format!("https://{}", self.address), "certificate-authority": self.file("authority.pem")});
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": format!("{user}-token")}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        });
        fs::write(&path, text.to_string()).unwrap();
        path
    }

    fn command(&self, user: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.kubectl);
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig(user))
            .env("HOME", self.folder.path())
            .args(arguments);
        command
    }

    /// What kubectl prints, or its error.
    pub(crate) fn kubectl(&self, user: &str, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(user, arguments).output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// The first line of an answer that does not end.
    pub(crate) fn first_line(&self, user: &str, path: &str) -> String {
        let mut command = self.command(user, &["get", "--raw", path]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        line
    }

    pub(crate) fn apply(&self, object: &Value) {
        let path = self.file("object.json");
        fs::write(&path, object.to_string()).unwrap();
        self.kubectl("admin", &["apply", "-f", &path.display().to_string()]).unwrap();
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A loopback address that nobody uses at the moment.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn write_certificates(folder: &Path) {
    let authority = |name: &str| {
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = key.serialize_pem();
        (CertifiedIssuer::self_signed(root, key).unwrap(), pem)
    };
    let (root, _) = authority("authority of the test");
    let key = KeyPair::generate().unwrap();
    let mut server = CertificateParams::default();
    server.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
    server.distinguished_name.push(DnType::CommonName, "API server of the test");
    let server = server.signed_by(&key, &root).unwrap();
    let (front, front_key) = authority("front-proxy-ca");
    let client_key = KeyPair::generate().unwrap();
    let mut client = CertificateParams::default();
    client.distinguished_name.push(DnType::CommonName, "front-proxy-client");
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client = client.signed_by(&client_key, &front).unwrap();
    let accounts = KeyPair::generate().unwrap();
    for (name, pem) in [
        ("authority.pem", root.pem()),
        ("server.pem", server.pem()),
        ("server-key.pem", key.serialize_pem()),
        ("accounts.pem", accounts.public_key_pem()),
        ("accounts-key.pem", accounts.serialize_pem()),
        ("front-proxy-ca.pem", front.pem()),
        ("front-proxy-ca-key.pem", front_key),
        ("front-proxy.pem", client.pem()),
        ("front-proxy-key.pem", client_key.serialize_pem()),
    ] {
        fs::write(folder.join(name), pem).unwrap();
    }
}

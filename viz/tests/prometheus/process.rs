//! Starts Prometheus and weft-viz. Both end with the value that stands for them.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{Answer, get};

/// Debian's.
const PROMETHEUS: &str = "/usr/bin/prometheus";
const START: Duration = Duration::from_secs(60);

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct Prometheus {
    pub(crate) address: SocketAddr,
    process: Option<Ended>,
    dir: TempDir,
    /// With TLS.
    secure: bool,
}

impl Prometheus {
    /// Scrapes `target`, the proxy of node `n`, every second.
    pub(crate) fn start(target: SocketAddr) -> Self {
        assert!(
            Path::new(PROMETHEUS).exists(),
            "install Debian's package prometheus: {PROMETHEUS} is missing"
        );
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: weft-proxy\n  \
             honor_labels: true\n  static_configs: [{{targets: ['{target}'], labels: {{node: n}}}}]\n"
        );
        fs::write(dir.path().join("prometheus.yml"), config).unwrap();
        fs::write(dir.path().join("web.yml"), "").unwrap();
        let mut prometheus = Self { address: free_address(), process: None, dir, secure: false };
        prometheus.start_again();
        prometheus
    }

    /// The same with TLS, with a certificate and its key as PEM.
    pub(crate) fn start_with_tls(target: SocketAddr, certificate: &str, key: &str) -> Self {
        let mut prometheus = Self::start(target);
        prometheus.stop();
        let path = |name: &str| prometheus.dir.path().join(name);
        fs::write(path("cert.pem"), certificate).unwrap();
        fs::write(path("key.pem"), key).unwrap();
        fs::write(path("web.yml"), "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n").unwrap();
        prometheus.secure = true;
        prometheus.start_again();
        prometheus
    }

    /// With the same address and data as before.
    pub(crate) fn start_again(&mut self) {
        let Self { address, dir, secure, .. } = self;
        let (address, secure) = (*address, *secure);
        let child = Command::new(PROMETHEUS)
            .arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.config.file={}", dir.path().join("web.yml").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(Ended(child));
        wait_for("Prometheus", || {
            std::net::TcpStream::connect(address).is_ok()
                && (secure || get(address, "/-/ready").status == 200)
        });
    }

    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// Sends a signal, such as `STOP`: the kernel still accepts connections, and nobody answers them.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.process.as_ref().unwrap().0.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

pub(crate) struct Viz {
    pub(crate) address: SocketAddr,
    _process: Ended,
    _dir: TempDir,
}

/// What weft-viz is started with.
#[derive(Default)]
pub(crate) struct Options<'a> {
    pub(crate) manifests: &'a str,
    pub(crate) prometheus: Option<String>,
    /// The admin server of the proxy of node `n`.
    pub(crate) proxy: Option<SocketAddr>,
    /// One second, unless it is given.
    pub(crate) scrape_interval: Option<&'a str>,
    pub(crate) more: Vec<String>,
}

impl Viz {
    pub(crate) fn start(options: Options<'_>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let manifests = dir.path().join("manifests");
        fs::create_dir(&manifests).unwrap();
        fs::write(manifests.join("all.yaml"), options.manifests).unwrap();
        let address_file = dir.path().join("address");
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft-viz"));
        command
            .args(["web", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-level", "error"])
            .args(["--scrape-interval", options.scrape_interval.unwrap_or("1s")])
            .arg("--manifests")
            .arg(&manifests)
            .arg("--address-file")
            .arg(&address_file);
        if let Some(url) = &options.prometheus {
            command.args(["--prometheus-url", url]);
        }
        if let Some(address) = options.proxy {
            command.arg(format!("--proxy=n={address}"));
        }
        let process = Ended(command.args(&options.more).spawn().unwrap());
        wait_for("weft-viz", || fs::read_to_string(&address_file).is_ok_and(|text| !text.is_empty()));
        let address = fs::read_to_string(&address_file).unwrap().parse().unwrap();
        let viz = Self { address, _process: process, _dir: dir };
        wait_for("the objects", || viz.get("/api/gateways").status != 503);
        viz
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        get(self.address, path)
    }

    /// The data of a successful answer.
    pub(crate) fn data(&self, path: &str) -> Value {
        let answer = self.get(path);
        let mut json = answer.json();
        assert_eq!(answer.status, 200, "{path}: {json}");
        json["data"].take()
    }

    /// The error of a failed answer: status, code and hint.
    pub(crate) fn error(&self, path: &str) -> (u16, String, bool) {
        let answer = self.get(path);
        let json = answer.json();
        let code = json["error"]["code"].as_str().unwrap_or_else(|| panic!("{path}: {json}")).to_owned();
        (answer.status, code, json["error"]["hint"].is_string())
    }
}

/// Waits until `is_true`; a test that fails says what it waited for.
pub(crate) fn wait_for(what: &str, is_true: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < START, "{what}: not within {START:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

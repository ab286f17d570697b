//! The tap service of a dev VM: `weft-viz local` in front of both proxies.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_tests::{
    mesh::{Mesh, NODES, artefacts},
    wait,
};

use crate::http_mesh::{
    ask,
    ways::{each_way, status},
};

/// A running weft-viz, which ends with this.
struct Viz {
    child: Child,
    tap: SocketAddr,
    token: String,
    _folder: tempfile::TempDir,
}

/// The lines of a tap so far.
struct Lines(Arc<Mutex<Vec<Value>>>);

impl Viz {
    fn start(mesh: &Mesh) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let free = || anyhow::Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?);
        let (web, admin, tap) = (free()?, free()?, free()?);
        let token = folder.path().join("tap-token");
        let log = fs::File::create(folder.path().join("viz.log"))?;
        let control = fs::read_to_string(mesh.control().state("address"))?;
        let mut command = Command::new(artefacts::target_directory()?.join("debug/weft-viz"));
        command.arg("local").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let path = |path: std::path::PathBuf| path.display().to_string();
        for (name, value) in [
            ("--manifests", path(mesh.manifests().to_owned())),
            ("--manifests", path(mesh.folder()?.join("manifests"))),
            ("--listen", web.to_string()),
            ("--admin", admin.to_string()),
            ("--control", control.trim().to_owned()),
            ("--token-file", path(mesh.control().state("tokens/viz"))),
            ("--trust-anchors", path(mesh.control().state("anchors.pem"))),
            ("--tap-listen", tap.to_string()),
            ("--tap-token-file", path(token.clone())),
        ] {
            command.arg(format!("{name}={value}"));
        }
        for node in NODES {
            let file = mesh.folder()?.join(format!("proxy-{node}/tap-address"));
            command.arg(format!("--tap-proxy={node}={}", file.display()));
        }
        let child = command.spawn().context("weft-viz")?;
        let mut this = Self { child, tap, token: String::new(), _folder: folder };
        wait::until("weft-viz serves taps", || TcpStream::connect(tap).is_ok())?;
        ensure!(fs::metadata(&token)?.permissions().mode() & 0o777 == 0o600, "others can read the token");
        this.token = fs::read_to_string(token)?;
        Ok(this)
    }

    /// The status of the answer, and its lines.
    fn tap(&self, token: &str, path: &str) -> Result<(u16, Lines)> {
        let mut stream = TcpStream::connect(self.tap)?;
        let base = "/apis/tap.linkerd.io/v1alpha1/watch/namespaces/test";
        write!(stream, "GET {base}/{path} HTTP/1.1\r\nhost: tap\r\nauthorization: Bearer {token}\r\n\r\n")?;
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        reader.read_line(&mut head)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status")?;
        let lines = Arc::<Mutex<Vec<Value>>>::default();
        let noted = lines.clone();
        // Ends with weft-viz. Chunk sizes and headers are no JSON objects.
        thread::spawn(move || {
            for line in reader.lines().map_while(|line| line.ok()) {
                if let Ok(value @ Value::Object(_)) = serde_json::from_str(&line) {
                    noted.lock().unwrap_or_else(PoisonError::into_inner).push(value);
                }
            }
        });
        Ok((status, Lines(lines)))
    }
}

impl Drop for Viz {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lines {
    fn all(&self) -> Vec<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last message that says which pods are tapped.
    fn started(&self) -> Option<Value> {
        self.all().into_iter().rfind(|message| message["type"] == "started")
    }

    fn until_pods(&self, pods: u64) -> Result<Value> {
        wait::until_ok(&format!("{pods} pods are tapped"), || {
            let started = self.started().context("nothing is said")?;
            ensure!(started["pods"] == pods, "{started}");
            Ok(started)
        })
    }

    /// The events of a kind and direction.
    fn events(&self, kind: &str, direction: &str) -> Vec<Value> {
        let messages = self.all();
        let events = messages.iter().filter_map(|message| message["events"].as_array()).flatten();
        events.filter(|event| event["event"] == kind && event["direction"] == direction).cloned().collect()
    }
}

pub(super) fn through_viz(mesh: &Mesh) -> Result<()> {
    let viz = Viz::start(mesh)?;
    wait::until("weft-viz has read the manifests", || {
        viz.tap(&viz.token, "pods/client/tap").is_ok_and(|(status, _)| status == 200)
    })?;
    ensure!(viz.tap("wrong", "tap")?.0 == 403, "a wrong token is accepted");
    ensure!(viz.tap(&viz.token, "pods/absent/tap")?.0 == 404, "a pod that does not exist");
    ensure!(viz.tap(&viz.token, "pods/plain-client/tap")?.0 == 409, "a pod that is not meshed");
    let (status_code, namespace) = viz.tap(&viz.token, "tap?path=/viz")?;
    ensure!(status_code == 200, "{status_code}");
    // client, near, far, hidden; plain-client is not meshed.
    let started = namespace.until_pods(4)?;
    let skipped = started["skipped"].as_array().context("skipped")?;
    ensure!(skipped.len() == 1 && skipped[0]["pod"] == "test/plain-client", "{started}");
    let (_, outbound) = viz.tap(&viz.token, "pods/client/tap?to_type=service&to_name=far")?;
    outbound.until_pods(1)?;

    each_way(mesh, |way| {
        let before = namespace.events("end", "inbound").len();
        let origin = way.answering(|_| status(200, b"twelve bytes"))?;
        let mut wire = way.connect(origin.port())?;
        for _ in 0..10 {
            ask(&mut wire, "/viz", "Authorization: secret\r\n")?;
            ask(&mut wire, "/other", "")?;
        }
        for direction in ["inbound", "outbound"] {
            wait::until_ok("ten requests of each direction are shown", || {
                let count = |kind| namespace.events(kind, direction).len() - before;
                let counts = (count("request"), count("response"), count("end"));
                ensure!(counts == (10, 10, 10), "{direction}: {counts:?}");
                Ok(())
            })?;
            let request = namespace.events("request", direction).pop().context("none")?;
            ensure!(request["source"]["pod"] == "client" && request["path"] == "/viz", "{request}");
            ensure!(
                request["destination"]["pod"] == way.server.name() && request["tls"] == way.tls,
                "{request}"
            );
            ensure!(!request["headers"].to_string().contains("secret"), "{request}");
        }
        Ok(())
    })?;
    wait::until_ok("only requests to the service far are shown", || {
        let shown = outbound.events("request", "outbound");
        ensure!(
            shown.len() == 20 && shown.iter().all(|event| event["destination"]["pod"] == "far"),
            "{shown:?}"
        );
        ensure!(outbound.events("request", "inbound").is_empty());
        Ok(())
    })?;

    // A proxy that is replaced is tapped again.
    mesh.proxy("b").take_over()?;
    let origin =
        weft_tests::http::Origin::answering(&mesh.pod("far"), mesh.unused_port(), |_| status(200, b"x"))?;
    let before = namespace.events("end", "inbound").len();
    wait::until_ok("requests at the successor are shown", || {
        let address = mesh.service("far").at(origin.port());
        let mut wire = weft_tests::http::Wire::new(mesh.pod("client").connect(address)?);
        ask(&mut wire, "/viz", "")?;
        ensure!(namespace.events("end", "inbound").len() > before);
        Ok(())
    })?;
    namespace.until_pods(4).map(drop)
}

//! A cluster without weft is what its manifests say, and leaves nothing behind. (As root only.)
#![allow(clippy::unwrap_used, reason = "to panic is how a test fails")]

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, mpsc::channel};
use std::time::{Duration, Instant};

use weft_vm::{Cluster, ClusterConfig, Forward, Report, netns};

const MANIFESTS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports:
    - {name: http, port: 80, targetPort: http}
    - {name: dns, port: 53, targetPort: 5353, protocol: UDP}
---
apiVersion: v1
kind: Service
metadata: {name: none, namespace: shop}
spec: {selector: {app: none}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: direct, namespace: shop}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {nodeName: a, containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-b, namespace: shop, labels: {app: web}}
spec:
  nodeName: b
  containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: far, namespace: outside}
spec: {containers: [{name: c}]}
status: {podIP: 192.0.2.10}
"#;

struct Fixture {
    cluster: Cluster,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn start(name: &str, manifests: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("all.yaml"), manifests).unwrap();
        let mut config = ClusterConfig::new(format!("vm{}-{name}", std::process::id()), folder.path());
        config.mesh = false;
        Self { cluster: Cluster::start(config).unwrap(), folder }
    }

    fn change(&self, manifests: &str) -> Report {
        fs::write(self.folder.path().join("all.yaml"), manifests).unwrap();
        self.cluster.reconcile().unwrap()
    }

    fn inside<T: Send>(&self, pod: &str, work: impl FnOnce() -> T + Send) -> T {
        netns::run(&self.cluster.pod_netns(pod).unwrap(), work).unwrap()
    }

    fn output(&self, pod: &str, program: &str, args: &[&str]) -> String {
        let output = self.cluster.command(pod, program).unwrap().args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Accepts one connection on every address of the pod and answers with the peer's address.
    fn answer(&self, pod: &str, port: u16) -> std::thread::JoinHandle<()> {
        let listener = self.inside(pod, move || TcpListener::bind(("::", port)).unwrap());
        std::thread::spawn(move || {
            let (mut stream, peer) = listener.accept().unwrap();
            stream.write_all(peer.ip().to_canonical().to_string().as_bytes()).unwrap();
        })
    }

    fn ask(&self, pod: &str, ip: IpAddr, port: u16) -> std::io::Result<String> {
        self.inside(pod, move || {
            let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip, port), Duration::from_secs(2))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })
    }
}

fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: not root");
    }
    root
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn pods_reach_each_other_by_address_service_and_name() {
    if !root() {
        return;
    }
    let fixture = Fixture::start("net", MANIFESTS);
    let cluster = &fixture.cluster;
    let client = cluster.pod_ips("shop/client").unwrap();
    let services = cluster.cluster_ips("shop/web");
    assert_eq!(services.len(), 2);
    for (own, service) in client.iter().zip(&services) {
        let answer = fixture.answer("shop/web-b", 8080);
        assert_eq!(fixture.ask("shop/client", *service, 80).unwrap(), own.to_string());
        answer.join().unwrap();
    }
    // No endpoints, and a port that the service has not: refused at once.
    for (ip, port) in [(cluster.cluster_ips("shop/none")[0], 80), (services[0], 81), (services[1], 81)] {
        let error = fixture.ask("shop/client", ip, port).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{ip}:{port}");
    }
    let socket = fixture.inside("shop/web-b", || UdpSocket::bind("[::]:5353").unwrap());
    for ip in services.clone() {
        fixture.inside("shop/client", move || {
            let any = if ip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            UdpSocket::bind(any).unwrap().send_to(b"hello", (ip, 53)).unwrap()
        });
        let mut buffer = [0; 16];
        assert_eq!(socket.recv_from(&mut buffer).unwrap().0, 5);
    }
    // An address from elsewhere, both ways.
    let far: IpAddr = "192.0.2.10".parse().unwrap();
    assert_eq!(cluster.pod_ips("outside/far").unwrap()[0], far);
    let answer = fixture.answer("outside/far", 7);
    assert_eq!(fixture.ask("shop/client", far, 7).unwrap(), client[0].to_string());
    answer.join().unwrap();
    let answer = fixture.answer("shop/client", 7);
    assert_eq!(fixture.ask("outside/far", client[0], 7).unwrap(), far.to_string());
    answer.join().unwrap();

    assert_eq!(fixture.output("shop/client", "hostname", &[]).trim(), "client");
    let hosts = fixture.output("shop/client", "cat", &["/etc/hosts"]);
    assert!(
        hosts.contains(&format!("{} web.shop.svc.cluster.local web.shop.svc web.shop web\n", services[0]))
    );
    let headless = format!("{} direct.shop.svc.cluster.local", cluster.pod_ips("shop/web-b").unwrap()[0]);
    assert!(hosts.contains(&headless), "{hosts}");
    let resolved = fixture.output("outside/far", "getent", &["ahostsv4", "web.shop"]);
    assert!(resolved.starts_with(&services[0].to_string()), "{resolved}");
}

#[test]
fn a_service_is_reachable_from_this_machine_while_it_is_forwarded() {
    if !root() {
        return;
    }
    let Fixture { cluster, folder: _folder } = Fixture::start("forward", MANIFESTS);
    let cluster = Arc::new(cluster);
    let (complain, complaints) = channel();
    let forward = |service: &str| {
        let complain = complain.clone();
        let service = service.parse().unwrap();
        Forward::start(cluster.clone(), service, move |error| complain.send(error.to_string()).unwrap())
            .unwrap()
    };
    let ask = |forward: &Forward| {
        let mut text = String::new();
        TcpStream::connect(forward.address()).unwrap().read_to_string(&mut text).map(|_| text)
    };
    let web = forward("shop/web:80");
    let listener = netns::run(&cluster.pod_netns("shop/web-b").unwrap(), || TcpListener::bind("[::]:8080"));
    let listener = listener.unwrap().unwrap();
    let answering = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"hello").unwrap());
    assert_eq!(ask(&web).unwrap(), "hello");
    answering.join().unwrap();

    // An end or a reset, and the reason.
    let _ = ask(&forward("shop/none:80"));
    let complaint = complaints.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(complaint.contains("shop/none:80 has no endpoints"), "{complaint}");

    let address = web.address();
    drop(web);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn changes_take_effect_and_annotations_restart_nothing() {
    if !root() {
        return;
    }
    let sleeper = |annotation: &str, seconds: u32| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, annotations: {{x.example/y: '{annotation}'}}}}\n\
             spec: {{containers: [{{name: c, command: [sleep, '{seconds}']}}]}}\n"
        )
    };
    let fixture = Fixture::start("change", &sleeper("1", 1000));
    let cluster = &fixture.cluster;
    let pids = || cluster.pod_cgroup("p").unwrap().pids();
    until("the start", || pids().len() == 1);
    let (before, ip) = (pids(), cluster.pod_ips("p").unwrap());
    assert_eq!(cluster.reconcile().unwrap().added.len(), 1, "the first report tells what the start did");

    assert_eq!(fixture.change(&sleeper("2", 1000)), Report::default());
    assert_eq!(pids(), before);

    let report = fixture.change(&sleeper("2", 1001));
    assert_eq!((report.added.len(), report.removed.len()), (1, 0));
    until("the restart", || pids().len() == 1 && pids() != before);
    assert_ne!(cluster.pod_ips("p").unwrap(), ip);

    let report = fixture.change("apiVersion: v1\nkind: Pod\nmetadata: {name: [}\n");
    assert!(report.problems[0].contains("all.yaml:3"), "{report:?}");
    assert_eq!(pids().len(), 1);

    let path = cluster.pod_netns("p").unwrap();
    assert_eq!(fixture.change("").removed.len(), 1);
    assert!(!path.exists());
    let error = cluster.pod_netns("p").unwrap_err().to_string();
    assert_eq!(error, "no pod `p`; there are: none");
}

#[test]
fn containers_are_restarted_as_their_policy_says() {
    if !root() {
        return;
    }
    let pod = |name: &str, policy: &str, script: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n\
             spec: {{restartPolicy: {policy}, containers: [{{name: c, command: [sh, -c, '{script}'], \
             env: [{{name: IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}]}}]}}\n"
        )
    };
    let manifests = pod("always", "Always", "echo $(IP) $HOSTNAME")
        + &pod("failing", "OnFailure", "exit 3")
        + &pod("done", "OnFailure", "exit 0")
        + &pod("never", "Never", "exit 1");
    let fixture = Fixture::start("policy", &manifests);
    let cluster = &fixture.cluster;
    let restarts = |pod: &str| cluster.pod_restarts(pod).unwrap();
    until("two restarts", || restarts("always") >= 2 && restarts("failing") >= 2);
    assert_eq!((restarts("done"), restarts("never")), (0, 0));
    let log = fs::read_to_string(cluster.pod_log("always")).unwrap();
    assert!(log.starts_with(&format!("{} always\n", cluster.pod_ips("always").unwrap()[0])), "{log}");
    let log = fs::read_to_string(cluster.pod_log("failing")).unwrap();
    assert!(log.contains("container c: ended: exit status: 3"), "{log}");
}

#[test]
fn exec_passes_everything_through_and_nothing_is_left() {
    if !root() {
        return;
    }
    let fixture = Fixture::start("exec", MANIFESTS);
    let id = fixture.cluster.config().id.clone();
    let exec = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_weft-vm"))
            .args(["exec", "--cluster", &id])
            .args(args)
            .output()
            .unwrap()
    };
    let output = exec(&["shop/client", "--", "sh", "-c", "hostname; exit 7"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(7), &b"client\n"[..]), "{output:?}");
    let output = exec(&["shop/client", "--netns"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("/run/weft/{id}/netns/shop_client"));
    let error = String::from_utf8(exec(&["shop/nobody", "--", "true"]).stderr).unwrap();
    assert!(
        error.contains("no pod `shop/nobody`; there are: outside/far, shop/client, shop/web-b"),
        "{error}"
    );

    let again = Cluster::start(fixture.cluster.config().clone()).unwrap_err().to_string();
    assert!(again.contains("already running"), "{again}");
    let cgroup = weft_vm::cgroup::root().unwrap().join("weft").join(&id);
    assert!(cgroup.exists());
    drop(fixture);
    assert!(!cgroup.exists() && !Path::new("/run/weft").join(&id).exists());
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&id));
    let error = String::from_utf8(exec(&["shop/client", "--", "true"]).stderr).unwrap();
    assert!(error.contains("is running: start one with"), "{error}");
}

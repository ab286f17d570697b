//! The description of a cluster.
//!
//! ```ignore
//! mesh("shop")
//!     .pod("client", |pod| pod.node("a").meshed())
//!     .pod("web", |pod| pod.node("b").meshed().policy("all-authenticated"))
//!     .service("web", |service| service.port(80, 8080))
//! ```
//! All objects are in the namespace [`NAMESPACE`]; by default, the service account and the label `app` of a pod
//! have its name.

use std::{collections::BTreeMap, net::Ipv4Addr};

use anyhow::Result;
use weft_vm::link::Links;

use super::Mesh;

/// The namespace of all pods and services.
pub const NAMESPACE: &str = "test";

#[derive(Clone, Debug)]
pub struct Description {
    pub(super) name: String,
    pub(super) pods: Vec<PodSpec>,
    pub(super) services: Vec<ServiceSpec>,
    pub(super) files: BTreeMap<String, String>,
    pub(super) control_args: Vec<String>,
    pub(super) proxy_args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) taps: bool,
    pub(super) links: Links,
}

#[derive(Clone, Debug)]
pub struct PodSpec {
    pub(super) name: String,
    pub(super) app: String,
    pub(super) account: String,
    pub(super) node: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) host_network: bool,
    pub(super) ports: Vec<u16>,
    pub(super) ip: Option<Ipv4Addr>,
    /// Kinds and YAML of health checks.
    pub(super) probes: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub struct ServiceSpec {
    pub(super) name: String,
    pub(super) app: String,
    /// Port and target port.
    pub(super) ports: Vec<(u16, u16)>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) headless: bool,
}

/// Begins a description; the name appears in errors.
pub fn mesh(name: &str) -> Description {
    Description {
        name: name.to_owned(),
        pods: Vec::new(),
        services: Vec::new(),
        files: BTreeMap::new(),
        control_args: Vec::new(),
        proxy_args: Vec::new(),
        env: Vec::new(),
        taps: false,
        links: Links::Own,
    }
}

impl Description {
    /// Adds a pod; by default it is unmeshed and on node `a`.
    pub fn pod(mut self, name: &str, specify: impl FnOnce(PodSpec) -> PodSpec) -> Self {
        self.pods.push(specify(PodSpec::new(name)));
        self
    }

    /// Adds a service; by default it selects the pods whose `app` is its name.
    pub fn service(mut self, name: &str, specify: impl FnOnce(ServiceSpec) -> ServiceSpec) -> Self {
        self.services.push(specify(ServiceSpec::new(name)));
        self
    }

    /// Adds a manifest as text.
    pub fn file(mut self, name: &str, yaml: &str) -> Self {
        self.files.insert(name.to_owned(), yaml.to_owned());
        self
    }

    /// Adds a command-line argument of weft-control.
    pub fn control_arg(mut self, argument: &str) -> Self {
        self.control_args.push(argument.to_owned());
        self
    }

    /// Adds a command-line argument of every weft-proxy.
    pub fn proxy_arg(mut self, argument: &str) -> Self {
        self.proxy_args.push(argument.to_owned());
        self
    }

    /// Sets a variable in the environment of weft-control and every weft-proxy.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets weft-viz tap the proxies.
    pub fn taps(mut self) -> Self {
        self.taps = true;
        self
    }

    /// Connects all pods to a bridge, on which they can intercept each other's packets.
    pub fn bridged(mut self) -> Self {
        self.links = Links::Bridge;
        self
    }

    /// Starts the cluster; returns when every proxy is ready and every meshed pod is served.
    pub fn start(self) -> Result<Mesh> {
        Mesh::start(self)
    }
}

impl PodSpec {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            app: name.to_owned(),
            account: name.to_owned(),
            node: "a".to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            host_network: false,
            ports: Vec::new(),
            ip: None,
            probes: Vec::new(),
        }
    }

    /// An IPv4 address outside its node's range.
    pub fn ip(mut self, ip: Ipv4Addr) -> Self {
        self.ip = Some(ip);
        self
    }

    pub fn node(mut self, node: &str) -> Self {
        self.node = node.to_owned();
        self
    }

    /// The label `app`, by which services select it.
    pub fn app(mut self, app: &str) -> Self {
        self.app = app.to_owned();
        self
    }

    /// The service account, of which another pod has the name.
    pub fn account(mut self, name: &str) -> Self {
        self.account = name.to_owned();
        self
    }

    /// The workload that it belongs to: its kind (`deployment`) and name.
    pub fn owner(mut self, kind: &str, name: &str) -> Self {
        self.labels.insert(format!("linkerd.io/proxy-{kind}"), name.to_owned());
        self
    }

    pub fn meshed(self) -> Self {
        self.annotate("linkerd.io/inject", "enabled")
    }

    pub fn unmeshed(self) -> Self {
        self.annotate("linkerd.io/inject", "disabled")
    }

    pub fn policy(self, policy: &str) -> Self {
        self.annotate("config.linkerd.io/default-inbound-policy", policy)
    }

    /// `open` or `closed`: whether new connections are allowed while no proxy serves the pod.
    pub fn fail_mode(self, mode: &str) -> Self {
        self.annotate("config.weft.dev/fail-mode", mode)
    }

    pub fn annotate(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Uses the node's network namespace.
    pub fn host_network(mut self) -> Self {
        self.host_network = true;
        self
    }

    /// Declares a health check: its kind (`readinessProbe`), and what it does as YAML.
    pub fn probe(mut self, kind: &str, check: &str) -> Self {
        self.probes.push((kind.to_owned(), check.to_owned()));
        self
    }

    /// Declares a container port, named `p<port>`.
    pub fn port(mut self, port: u16) -> Self {
        self.ports.push(port);
        self
    }
}

impl ServiceSpec {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            app: name.to_owned(),
            ports: Vec::new(),
            annotations: BTreeMap::new(),
            headless: false,
        }
    }

    /// Selects the pods with this `app`.
    pub fn selects(mut self, app: &str) -> Self {
        self.app = app.to_owned();
        self
    }

    /// A port and its target port.
    pub fn port(mut self, port: u16, target: u16) -> Self {
        self.ports.push((port, target));
        self
    }

    pub fn headless(mut self) -> Self {
        self.headless = true;
        self
    }

    pub fn annotate(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }
}

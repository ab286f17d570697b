//! Reaches the pod of weft-viz's dashboard in a cluster, by port forwarding.

use anyhow::{Result, anyhow, bail};
use k8s_openapi::{
    api::core::v1::{Namespace, Pod, Service},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{Api, Client, api::ListParams};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::kubernetes::{explain, forward};

/// The Service of the dashboard, and its port.
const SERVICE: &str = "web";
const PORT: i32 = 8084;

/// Where the dashboard is served in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebPod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) port: u16,
}

impl WebPod {
    /// A ready pod of the Service, or why there is none.
    pub(crate) async fn find(client: &Client, namespace: &str) -> Result<Self> {
        let service = Api::<Service>::namespaced(client.clone(), namespace).get_opt(SERVICE).await;
        let Some(service) = service.map_err(|error| explain(error, "look for weft-viz"))? else {
            return Err(not_installed(client, namespace).await);
        };
        let spec = service.spec.unwrap_or_default();
        let selector: Vec<_> =
            spec.selector.iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
        if selector.is_empty() {
            bail!(
                "the Service {SERVICE} in the namespace {namespace} selects no pods; install weft-viz again"
            );
        }
        let query = ListParams::default().labels(&selector.join(","));
        let pods = Api::<Pod>::namespaced(client.clone(), namespace).list(&query).await;
        let pods = pods.map_err(|error| explain(error, "list the pods of weft-viz"))?.items;
        let port = spec
            .ports
            .iter()
            .flatten()
            .find(|port| port.port == PORT)
            .and_then(|port| port.target_port.clone())
            .unwrap_or(IntOrString::Int(PORT));
        let Some(pod) = pods.iter().find(|pod| is_ready(pod)) else {
            let phases: Vec<_> = pods.iter().map(describe).collect();
            bail!(
                "weft-viz does not run: {}; `weft viz check` tells why",
                if phases.is_empty() {
                    format!("the Deployment {SERVICE} in the namespace {namespace} has no pod")
                } else {
                    phases.join(", ")
                }
            );
        };
        let number = match port {
            IntOrString::Int(number) => u16::try_from(number).ok(),
            IntOrString::String(name) => named_port(pod, &name),
        };
        Ok(Self {
            namespace: namespace.to_owned(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            port: number.ok_or_else(|| anyhow!("the pods of weft-viz have no port for {PORT}"))?,
        })
    }

    pub(crate) async fn connect(
        &self,
        client: &Client,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>> {
        forward(client, &self.namespace, &self.name, self.port).await
    }
}

async fn not_installed(client: &Client, namespace: &str) -> anyhow::Error {
    let found = Api::<Namespace>::all(client.clone()).get_metadata_opt(namespace).await;
    let what = match found {
        Ok(None) => format!("there is no namespace {namespace}"),
        _ => format!("the namespace {namespace} has no Service {SERVICE}"),
    };
    anyhow!(
        "weft-viz is not installed: {what}. Install it:\n\n  weft viz install | kubectl apply -f -\n\n\
         If it is in another namespace, choose that with --viz-namespace"
    )
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn describe(pod: &Pod) -> String {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Unknown");
    format!("the pod {} is {phase}, and not ready", pod.metadata.name.as_deref().unwrap_or_default())
}

fn named_port(pod: &Pod, name: &str) -> Option<u16> {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
    let port = ports.find(|port| port.name.as_deref() == Some(name))?;
    u16::try_from(port.container_port).ok()
}

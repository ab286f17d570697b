//! Connects to weft-control: through a forwarded port of one of its pods, or directly.

use std::net::SocketAddr;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, Client};
use tonic::transport::Channel;
use weft_api::secure;

use crate::{
    chart::{parse_values, value_at},
    global::Global,
    kubernetes::{CONFIG, CONTROL, CONTROL_SELECTOR, TRUST_ROOTS, explain, forward, names, own_pods},
};

/// How weft-control is reached.
#[derive(Debug, Default, Args)]
pub(crate) struct ControlFlags {
    /// The pod of weft-control to ask; otherwise the first one that is ready
    #[arg(long, value_name = "POD", help_heading = "Control plane")]
    destination_pod: Option<String>,
    /// Ask weft-control at this address rather than by forwarding a port of its pod; the cluster's API is
    /// asked for the trust anchors all the same
    #[arg(long, value_name = "IP:PORT", conflicts_with = "destination_pod", help_heading = "Control plane")]
    api_addr: Option<SocketAddr>,
}

/// A connection to weft-control, which has proven its identity.
pub(crate) struct Control {
    pub(crate) channel: Channel,
    /// The last part of every service's DNS name.
    pub(crate) cluster_domain: String,
}

impl Control {
    pub(crate) async fn connect(global: &Global, client: &Client, flags: &ControlFlags) -> Result<Self> {
        let namespace = &global.control_plane_namespace;
        let anchors = text(client, namespace, TRUST_ROOTS, "ca-bundle.crt").await?;
        let values = text(client, namespace, CONFIG, "values").await?;
        let values =
            parse_values(&values).with_context(|| format!("the values in the ConfigMap {CONFIG}"))?;
        let value = |name| value_at(&values, name).and_then(|v| v.as_str()).filter(|text| !text.is_empty());
        let cluster_domain = value("clusterDomain").unwrap_or("cluster.local").to_owned();
        let trust_domain = value("identityTrustDomain").unwrap_or(&cluster_domain);
        let identity = format!("{CONTROL}.{namespace}.serviceaccount.identity.{namespace}.{trust_domain}");
        let anchors = anchors.as_bytes();
        let channel = match flags.api_addr {
            Some(address) => secure::connect(address, anchors, &identity)
                .await
                .with_context(|| format!("cannot connect to weft-control at {address}"))?,
            None => {
                let pod = choose(global, client, flags.destination_pod.as_deref()).await?;
                let (_, name) = names(&pod)?;
                let stream = forward(client, namespace, name, grpc_port(&pod)?).await?;
                secure::over(stream, anchors, &identity)
                    .await
                    .with_context(|| format!("cannot talk to weft-control in the pod {namespace}/{name}"))?
            }
        };
        Ok(Self { channel, cluster_domain })
    }
}

async fn choose(global: &Global, client: &Client, wanted: Option<&str>) -> Result<Pod> {
    let namespace = &global.control_plane_namespace;
    let pods = own_pods(global, client, CONTROL_SELECTOR).await?;
    let name = |pod: &Pod| pod.metadata.name.clone().unwrap_or_default();
    if let Some(wanted) = wanted {
        let all: Vec<_> = pods.iter().map(name).collect();
        return pods.into_iter().find(|pod| name(pod) == wanted).ok_or_else(|| {
            anyhow!(
                "weft-control has no pod {wanted:?} in the namespace {namespace}; it has {}",
                all.join(", ")
            )
        });
    }
    if pods.is_empty() {
        bail!("weft-control has no pods in the namespace {namespace}; choose another with -L");
    }
    let first = pods.into_iter().find(is_ready);
    first.ok_or_else(|| {
        anyhow!("no pod of weft-control is ready in the namespace {namespace}; `weft check` tells why")
    })
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn grpc_port(pod: &Pod) -> Result<u16> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    let port = ports.find(|port| port.name.as_deref() == Some("grpc")).map(|port| port.container_port);
    port.and_then(|port| u16::try_from(port).ok()).ok_or_else(|| {
        anyhow!("the pod {} has no port named grpc", pod.metadata.name.as_deref().unwrap_or_default())
    })
}

async fn text(client: &Client, namespace: &str, name: &str, key: &str) -> Result<String> {
    let config = Api::<ConfigMap>::namespaced(client.clone(), namespace)
        .get_opt(name)
        .await
        .map_err(|error| explain(error, &format!("read the ConfigMap {name}")))?
        .ok_or_else(|| {
            anyhow!(
                "weft is not installed in the namespace {namespace}: there is no ConfigMap {name}; choose another \
                 namespace with -L"
            )
        })?;
    let text = config.data.and_then(|mut data| data.remove(key));
    text.ok_or_else(|| anyhow!("the ConfigMap {namespace}/{name} has no {key}"))
}

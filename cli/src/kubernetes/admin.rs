//! Reads the admin pages of weft's pods: through the API server, or else by port forwarding.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};

use super::{COMPONENT_LABEL, errors::explain};

const MAX_PAGE: usize = 256 << 20;
const TIMEOUT: Duration = Duration::from_secs(15);
const PROXY_ADMIN: u16 = 4191;

/// The text of an admin page of a pod.
pub(crate) async fn admin_page(client: &Client, pod: &Pod, path: &str) -> Result<String> {
    let (namespace, name) = names(pod)?;
    let port = admin_port(pod)?;
    let request = Request::get(format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy{path}"));
    let request = request.body(Vec::new()).context("the pod's name cannot be part of a URL")?;
    let direct = match tokio::time::timeout(TIMEOUT, client.request_text(request)).await {
        Ok(Ok(text)) => return Ok(text),
        Ok(Err(error)) => explain(error, &format!("read {path} of the pod {namespace}/{name}")),
        Err(_) => {
            anyhow!("cannot read {path} of the pod {namespace}/{name}: no answer in {} s", TIMEOUT.as_secs())
        }
    };
    // The API server may not reach the pod, or the user may not use its proxy.
    match tokio::time::timeout(TIMEOUT, forwarded(client, namespace, name, port, path)).await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(anyhow!("{direct:#}; port forwarding fails, too: {error:#}")),
        Err(_) => Err(direct),
    }
}

/// A connection to a port of a pod, through the API server and the kubelet.
pub(crate) async fn forward(
    client: &Client,
    namespace: &str,
    name: &str,
    port: u16,
) -> Result<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + use<>> {
    let doing = format!("forward port {port} of the pod {namespace}/{name}");
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let mut forwarder = api.portforward(name, &[port]).await.map_err(|error| explain(error, &doing))?;
    forwarder.take_stream(port).ok_or_else(|| anyhow!("cannot {doing}"))
}

async fn forwarded(client: &Client, namespace: &str, name: &str, port: u16, path: &str) -> Result<String> {
    let stream = forward(client, namespace, name, port).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header("host", name).body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_PAGE).collect().await;
        let body = body.map_err(|error| anyhow!("{error}"))?.to_bytes();
        if !status.is_success() {
            bail!("{status}");
        }
        String::from_utf8(body.to_vec()).context("the page is no text")
    };
    tokio::select! {
        answer = answer => answer,
        Err(error) = connection => Err(error.into()),
    }
}

pub(crate) fn names(pod: &Pod) -> Result<(&str, &str)> {
    match (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref()) {
        (Some(namespace), Some(name)) => Ok((namespace, name)),
        _ => bail!("a pod has no name"),
    }
}

/// The port that the pod's specification calls `admin`. Node proxies declare none, because it would be a port of the host.
fn admin_port(pod: &Pod) -> Result<u16> {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
    let declared = ports.find(|port| port.name.as_deref() == Some("admin")).map(|port| port.container_port);
    let component = pod.metadata.labels.as_ref().and_then(|labels| labels.get(COMPONENT_LABEL));
    match declared.and_then(|port| u16::try_from(port).ok()) {
        Some(port) => Ok(port),
        None if component.is_some_and(|component| component == "proxy") => Ok(PROXY_ADMIN),
        None => bail!("the pod {} has no port named admin", pod.metadata.name.as_deref().unwrap_or_default()),
    }
}

//! Looks at the objects of weft-viz.

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Namespace, Pod, Service},
        rbac::v1::{ClusterRole, ClusterRoleBinding},
    },
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{Api, Resource, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{
    certificates::{Certificate, format_time, read},
    chart::{Release, VIZ},
    check::{
        categories::existence::why_not_ready,
        cluster::{Cluster, full_name, is_ready, none},
        owners::Owners,
    },
    kubernetes::{EXTENSION_LABEL, VERSION_LABEL, explain},
};

const TAP_API: &str = "v1alpha1.tap.linkerd.io";
/// Says that figures come from another Prometheus (its address), or from none.
const EXTERNAL_PROMETHEUS: &str = "viz.linkerd.io/external-prometheus";

async fn existing_namespace(cluster: &Cluster) -> Result<Namespace> {
    let name = cluster.viz_namespace().await?;
    cluster.get_global::<Namespace>(&name).await?.ok_or_else(|| {
        anyhow!("The \"{name}\" namespace does not exist; run `weft viz install | kubectl apply -f -`")
    })
}

pub(super) async fn namespace(cluster: &Cluster) -> Result<()> {
    let namespace = existing_namespace(cluster).await?;
    let labels = namespace.metadata.labels.unwrap_or_default();
    if labels.get(EXTENSION_LABEL).map(String::as_str) != Some("viz") {
        bail!(
            "the namespace \"{}\" has no label {EXTENSION_LABEL}=viz, so `weft check` does not find weft-viz",
            namespace.metadata.name.unwrap_or_default()
        );
    }
    Ok(())
}

/// Whether the chart's own Prometheus should be there.
async fn own_prometheus(cluster: &Cluster) -> Result<bool> {
    let annotations = existing_namespace(cluster).await?.metadata.annotations.unwrap_or_default();
    Ok(!annotations.contains_key(EXTERNAL_PROMETHEUS))
}

/// The names of the chart's objects of a kind, without those that a value can remove.
async fn expected(cluster: &Cluster, kind: &str) -> Result<Vec<String>> {
    let values = json!({
        "prometheus": { "enabled": own_prometheus(cluster).await? },
        "dashboard": { "restrictPrivileges": true },
    });
    let release = Release { namespace: cluster.viz_namespace().await?, upgrade: false };
    let documents = VIZ.render(&values, &release)?;
    let objects = documents.iter().map(|document| &document.object).filter(|object| object["kind"] == kind);
    Ok(objects.filter_map(|object: &Value| object["metadata"]["name"].as_str().map(str::to_owned)).collect())
}

pub(super) async fn roles(cluster: &Cluster) -> Result<()> {
    let mut missing = Vec::new();
    for name in expected(cluster, "ClusterRole").await? {
        if cluster.get_global::<ClusterRole>(&name).await?.is_none() {
            missing.push(name);
        }
    }
    none(&missing, "missing ClusterRoles:")
}

pub(super) async fn bindings(cluster: &Cluster) -> Result<()> {
    let mut missing = Vec::new();
    for name in expected(cluster, "ClusterRoleBinding").await? {
        if cluster.get_global::<ClusterRoleBinding>(&name).await?.is_none() {
            missing.push(name);
        }
    }
    none(&missing, "missing ClusterRoleBindings:")
}

/// The pods of weft-viz.
async fn own_pods(cluster: &Cluster) -> Result<Vec<&Pod>> {
    let namespace = cluster.viz_namespace().await?;
    let pods = cluster.pods().await?.iter().filter(|pod| {
        let labels = pod.metadata.labels.as_ref();
        pod.metadata.namespace.as_deref() == Some(namespace.as_str())
            && labels.and_then(|labels| labels.get(EXTENSION_LABEL)).is_some_and(|name| name == "viz")
    });
    Ok(pods.collect())
}

fn component(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get("component")).map(String::as_str)
}

/// Every component has a ready pod, and no pod is not ready.
pub(super) async fn pods(cluster: &Cluster) -> Result<()> {
    let pods = own_pods(cluster).await?;
    let mut problems = Vec::new();
    for name in expected(cluster, "Deployment").await? {
        let of_component: Vec<_> = pods.iter().filter(|pod| component(pod) == Some(name.as_str())).collect();
        if of_component.is_empty() {
            problems.push(format!("no pod of the Deployment \"{name}\" exists"));
        }
        problems.extend(of_component.into_iter().filter(|pod| !is_ready(pod)).map(|pod| why_not_ready(pod)));
    }
    none(&problems, "not all of weft-viz runs:")
}

/// The proxies serve the pods. Otherwise only web can read Prometheus by luck, and nothing of it is encrypted.
pub(super) async fn meshed(cluster: &Cluster) -> Result<()> {
    let owners = Owners::read(cluster).await?;
    let proxies = cluster.proxies().await?;
    let mut problems = Vec::new();
    for pod in own_pods(cluster).await?.into_iter().filter(|pod| is_ready(pod)) {
        let name = full_name(&pod.metadata);
        if !owners.meshes(pod) {
            problems.push(format!("{name} is not annotated for the mesh"));
            continue;
        }
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        match proxies.get(node).map(|proxy| proxy.config()) {
            None => problems.push(format!("{name}: its node \"{node}\" has no ready proxy")),
            Some(Err(error)) => problems.push(format!("{name}: {error:#}")),
            Some(Ok(page)) if page["workloads"][&name]["state"].as_str() != Some("SERVED") => {
                problems.push(format!("{name}: the proxy of its node \"{node}\" does not serve it"));
            }
            Some(Ok(_)) => {}
        }
    }
    none(&problems, "these pods of weft-viz are not in the mesh:")
}

pub(super) async fn versions(cluster: &Cluster) -> Result<()> {
    let expected = cluster.expected_version();
    let mut problems = Vec::new();
    for pod in own_pods(cluster).await? {
        let version = pod.metadata.labels.as_ref().and_then(|labels| labels.get(VERSION_LABEL));
        let version = version.map_or("an unknown version", String::as_str);
        if version != expected {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            problems.push(format!("{name} runs {version}, but {expected} is expected"));
        }
    }
    none(&problems, "run `weft viz install --upgrade | kubectl apply -f -`:")
}

async fn tap_service(cluster: &Cluster) -> Result<APIService> {
    let found = Api::<APIService>::all(cluster.client().await?.clone()).get_opt(TAP_API).await;
    let found = found.map_err(|error| explain(error, &format!("read the APIService {TAP_API}")))?;
    found.ok_or_else(|| anyhow!("the APIService \"{TAP_API}\" does not exist"))
}

/// The API server knows by which certificates it recognizes tap.
pub(super) async fn tap_certificate(cluster: &Cluster) -> Result<()> {
    let spec = tap_service(cluster).await?.spec.unwrap_or_default();
    if spec.insecure_skip_tls_verify == Some(true) {
        bail!(
            "the APIService \"{TAP_API}\" has insecureSkipTLSVerify, so the API server trusts anybody as tap"
        );
    }
    let bundle = spec.ca_bundle.filter(|bundle| !bundle.0.is_empty()).ok_or_else(|| {
        anyhow!("the APIService \"{TAP_API}\" has no caBundle; tap writes it, so look at its log")
    })?;
    let text = String::from_utf8(bundle.0).context("the caBundle is no text")?;
    let certificates =
        read(&text).with_context(|| format!("the caBundle of the APIService \"{TAP_API}\""))?;
    // Each replica of tap adds its own, and those of replicas that are gone stay until they expire.
    if let Some(problem) = validity(&certificates, OffsetDateTime::now_utc()) {
        bail!("the caBundle of the APIService \"{TAP_API}\" {problem}; tap replaces it, so look at its log");
    }
    Ok(())
}

/// Why none of the certificates is valid now.
fn validity(certificates: &[Certificate], now: OffsetDateTime) -> Option<String> {
    let latest = certificates.iter().max_by_key(|certificate| certificate.not_after())?;
    if certificates.iter().any(|one| one.not_before() <= now && now <= one.not_after()) {
        return None;
    }
    Some(if latest.not_after() < now {
        format!("has no valid certificate: the last one expired on {}", format_time(latest.not_after()))
    } else {
        format!("has no valid certificate yet: one is valid from {} on", format_time(latest.not_before()))
    })
}

/// The API server reaches tap.
pub(super) async fn tap_api(cluster: &Cluster) -> Result<()> {
    let conditions = tap_service(cluster).await?.status.and_then(|status| status.conditions);
    let available = conditions.unwrap_or_default().into_iter().find(|c| c.type_ == "Available");
    match available {
        Some(condition) if condition.status == "True" => Ok(()),
        Some(condition) => bail!(
            "the API server says about the APIService \"{TAP_API}\": {}",
            condition.message.or(condition.reason).unwrap_or_else(|| "it is not available".to_owned())
        ),
        None => bail!("the API server has not tried the APIService \"{TAP_API}\" yet"),
    }
}

async fn own<K>(cluster: &Cluster, name: &str) -> Result<Option<K>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api = Api::<K>::namespaced(cluster.client().await?.clone(), &cluster.viz_namespace().await?);
    let found = api.get_opt(name).await;
    found.map_err(|error| explain(error, &format!("read the {} {name}", K::kind(&()))))
}

/// The chart's Prometheus, if it should be there.
pub(super) async fn prometheus(cluster: &Cluster) -> Result<()> {
    if !own_prometheus(cluster).await? {
        return Ok(());
    }
    let mut problems = Vec::new();
    match own::<ConfigMap>(cluster, "prometheus-config").await? {
        None => problems.push("the ConfigMap \"prometheus-config\" does not exist".to_owned()),
        Some(config) => {
            let text = config.data.and_then(|mut data| data.remove("prometheus.yml")).unwrap_or_default();
            if !text.contains("job_name: weft-proxy") {
                problems.push("the ConfigMap \"prometheus-config\" has no job weft-proxy".to_owned());
            }
        }
    }
    if own::<Service>(cluster, "prometheus").await?.is_none() {
        problems.push("the Service \"prometheus\" does not exist".to_owned());
    }
    match own::<Deployment>(cluster, "prometheus").await? {
        None => problems.push("the Deployment \"prometheus\" does not exist".to_owned()),
        Some(deployment) => {
            let available = deployment.status.and_then(|status| status.available_replicas).unwrap_or(0);
            if available < 1 {
                problems.push("no pod of the Deployment \"prometheus\" is available".to_owned());
            }
        }
    }
    none(&problems, "figures are missing, or will soon be:")
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use time::Duration;

    use super::*;

    #[test]
    fn one_certificate_has_to_be_valid_now() {
        let now = OffsetDateTime::now_utc();
        let certificate = |from: i64, to: i64| {
            let mut params = CertificateParams::new(vec!["tap.weft-viz.svc".to_owned()]).unwrap();
            params.not_before = now + Duration::days(from);
            params.not_after = now + Duration::days(to);
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
        };
        let of = |pem: String| validity(&read(&pem).unwrap(), now);
        let (expired, valid, later) = (certificate(-90, -1), certificate(-1, 90), certificate(1, 90));
        assert!(of(expired.clone()).unwrap().contains("expired on"));
        assert!(of(later.clone()).unwrap().contains("valid from"));
        assert_eq!(of(expired + &valid + &later), None);
    }
}

//! Whether services and their pods agree about opaque ports.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use k8s_openapi::{
    api::core::v1::{ContainerPort, Pod, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::Value;

use super::pods;
use crate::check::{
    cluster::{Cluster, full_name, none},
    model::{Category, Check},
    owners::Owners,
};

const ANNOTATION: &str = "config.linkerd.io/opaque-ports";

pub(super) fn category() -> Category {
    Category {
        name: "weft-opaque-ports-definition",
        checks: vec![Check::warning(
            "opaque ports are properly annotated",
            "weft-opaque-ports-definition",
            |c| Box::pin(annotated(c)),
        )],
    }
}

/// A port that is opaque for the service but not for its pods, or the other way round, is treated differently by
/// clients that use the service's address and by those that use a pod's.
async fn annotated(cluster: &Cluster) -> Result<()> {
    let owners = Owners::read(cluster).await?;
    let pods = pods::running(cluster, &owners).await?;
    let default = default_ports(&cluster.values().await?)?;
    let mut problems = Vec::new();
    for service in cluster.services().await? {
        let selector =
            service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|all| !all.is_empty());
        let Some(selector) = selector else { continue };
        let selected = pods.iter().find(|pod| {
            pod.metadata.namespace == service.metadata.namespace
                && selects(selector, pod.metadata.labels.as_ref())
        });
        let Some(pod) = selected else { continue };
        let of_service = owners.annotation_of(&service.metadata, ANNOTATION);
        let of_pod = owners.annotation(pod, ANNOTATION);
        if of_service.is_none() && of_pod.is_none() {
            // Nobody has chosen anything.
            continue;
        }
        let (of_service, of_pod) = (of_service.unwrap_or(&default), of_pod.unwrap_or(&default));
        for port in service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
            problems.extend(difference(service, port, of_service, pod, of_pod));
        }
    }
    none(&problems, "the annotation config.linkerd.io/opaque-ports differs:")
}

/// The opaque ports of what has no annotation.
fn default_ports(values: &Value) -> Result<String> {
    match &values["proxy"]["opaquePorts"] {
        Value::String(ports) => Ok(ports.clone()),
        Value::Number(port) => Ok(port.to_string()),
        _ => bail!("the installation's values have no list of ports `proxy.opaquePorts`; run `weft upgrade`"),
    }
}

fn difference(
    service: &Service,
    port: &ServicePort,
    of_service: &str,
    pod: &Pod,
    of_pod: &str,
) -> Option<String> {
    let target = target(port, pod)?;
    let in_service = contains(of_service, port.port, port.name.as_deref().unwrap_or_default());
    let in_pod = contains(of_pod, target, name_of(target, pod).unwrap_or_default());
    let (service, pod) = (full_name(&service.metadata), full_name(&pod.metadata));
    match (in_service, in_pod) {
        (true, false) => Some(format!(
            "service {service} has the opaque port {}, which is {target} of pod {pod}: add {target} to the annotation of \
             the pod's workload",
            port.port
        )),
        // Its own protocol says so, too.
        (false, true) if port.app_protocol.is_some() => None,
        (false, true) => Some(format!(
            "pod {pod} has the opaque port {target}, which is {} of service {service}: add {} to the annotation of the \
             service",
            port.port, port.port
        )),
        _ => None,
    }
}

fn selects(selector: &BTreeMap<String, String>, labels: Option<&BTreeMap<String, String>>) -> bool {
    selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// The port of the pod.
fn target(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            container_ports(pod).find(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port)
        }
    }
}

/// What the pod calls its port.
fn name_of(port: i32, pod: &Pod) -> Option<&str> {
    container_ports(pod).find(|declared| declared.container_port == port)?.name.as_deref()
}

fn container_ports(pod: &Pod) -> impl Iterator<Item = &ContainerPort> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.flat_map(|container| container.ports.iter().flatten())
}

/// Whether ports such as `3306,8000-8099,mysql` contain one.
pub(super) fn contains(ports: &str, port: i32, name: &str) -> bool {
    ports.split(',').map(str::trim).any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.trim().parse::<i32>(), last.trim().parse::<i32>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&port),
            _ => !name.is_empty() && part == name,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_ranges_and_names_are_understood() {
        assert!(
            contains("3306, 8000-8099", 8050, "")
                && contains("3306", 3306, "")
                && contains("mysql", 1, "mysql")
        );
        assert!(!contains("3306", 330, "") && !contains("", 80, "") && !contains("mysql", 3306, ""));
    }
}

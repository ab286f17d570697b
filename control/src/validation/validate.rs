//! Finds values in an object that can be read but make no sense.

use k8s_openapi::api::{
    core::v1::{Container, Pod, Service},
    discovery::v1::EndpointSlice,
};

use super::{checks::Check, finding::Finding, path::field, policies};
use crate::{model::Object, settings::Annotations};

/// Everything that is wrong with `object`. Overlays are partial, so an absent value is never wrong.
pub(super) fn findings(object: &Object) -> Vec<Finding> {
    let mut check = Check::default();
    metadata(&mut check, object);
    match object {
        Object::Namespace(_) | Object::ServiceAccount(_) | Object::MetadataOnly(..) => {}
        Object::Service(object) => service(&mut check, object),
        Object::EndpointSlice(object) => slice(&mut check, object),
        Object::Pod(object) => pod(&mut check, object),
        Object::Server(object) => policies::server(&mut check, object),
        Object::ServerAuthorization(object) => policies::server_authorization(&mut check, object),
        Object::AuthorizationPolicy(object) => policies::authorization_policy(&mut check, object),
        Object::MeshTLSAuthentication(object) => policies::mesh_tls_authentication(&mut check, object),
        Object::NetworkAuthentication(object) => policies::network_authentication(&mut check, object),
    }
    check.findings
}

fn metadata(check: &mut Check, object: &Object) {
    let metadata = object.metadata();
    let name = metadata.name.as_deref().unwrap_or_default();
    match object {
        Object::Namespace(_) | Object::Service(_) => check.label(field!("metadata", "name"), name),
        _ => check.subdomain(field!("metadata", "name"), name),
    }
    if let Some(namespace) = &metadata.namespace {
        check.label(field!("metadata", "namespace"), namespace);
    }
    let (_, bad) = Annotations::parse(metadata.annotations.as_ref());
    for bad in bad {
        let field = field!("metadata", "annotations", bad.name.as_str());
        check.findings.push(Finding::new(field, bad.reason, bad.advice));
    }
}

fn service(check: &mut Check, service: &Service) {
    let Some(spec) = &service.spec else { return };
    if let Some(ip) = &spec.cluster_ip {
        check.cluster_ip(field!("spec", "clusterIP"), ip);
    }
    for (index, ip) in spec.cluster_ips.iter().flatten().enumerate() {
        check.cluster_ip(field!("spec", "clusterIPs", index), ip);
    }
    for (index, port) in spec.ports.iter().flatten().enumerate() {
        check.port(field!("spec", "ports", index, "port"), port.port);
        if let Some(target) = &port.target_port {
            check.port_or_name(field!("spec", "ports", index, "targetPort"), target);
        }
        if let Some(name) = &port.name {
            check.label(field!("spec", "ports", index, "name"), name);
        }
    }
}

fn slice(check: &mut Check, slice: &EndpointSlice) {
    let wants_v6 = match slice.address_type.as_str() {
        "IPv4" => Some(false),
        "IPv6" => Some(true),
        "" | "FQDN" => None,
        other => {
            let reason = format!("{other:?} is not an address type");
            check.add(field!("addressType"), reason, "write IPv4 or IPv6");
            None
        }
    };
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        for (position, address) in endpoint.addresses.iter().enumerate() {
            let field = field!("endpoints", index, "addresses", position);
            match (check.ip(&field, address, slice.address_type != "FQDN"), wants_v6) {
                (Some(ip), Some(wants_v6)) if ip.is_ipv6() != wants_v6 => {
                    let reason = format!("{address} does not fit addressType {}", slice.address_type);
                    check.add(field, reason, "give each address family a slice of its own");
                }
                _ => {}
            }
        }
    }
    for (index, port) in slice.ports.iter().flatten().enumerate() {
        if let Some(number) = port.port {
            check.port(field!("ports", index, "port"), number);
        }
    }
}

fn pod(check: &mut Check, pod: &Pod) {
    if let Some(spec) = &pod.spec {
        let names = [("serviceAccountName", &spec.service_account_name), ("nodeName", &spec.node_name)];
        for (name, value) in names {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                check.subdomain(field!("spec", name), value);
            }
        }
        for (name, value) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                check.label(field!("spec", name), value);
            }
        }
        containers(check, "containers", &spec.containers);
        containers(check, "initContainers", spec.init_containers.as_deref().unwrap_or_default());
    }
    let Some(status) = &pod.status else { return };
    if let Some(ip) = &status.pod_ip {
        check.ip(&field!("status", "podIP"), ip, true);
    }
    for (index, ip) in status.pod_ips.iter().flatten().enumerate() {
        check.ip(&field!("status", "podIPs", index, "ip"), &ip.ip, true);
    }
}

fn containers(check: &mut Check, list: &str, containers: &[Container]) {
    for (index, container) in containers.iter().enumerate() {
        for (position, port) in container.ports.iter().flatten().enumerate() {
            check.port(field!("spec", list, index, "ports", position, "containerPort"), port.container_port);
            if let Some(name) = &port.name {
                check.port_name(field!("spec", list, index, "ports", position, "name"), name);
            }
        }
    }
}

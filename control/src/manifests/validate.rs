//! What in an object can be read but makes no sense?

use std::net::IpAddr;

use k8s_openapi::{
    api::{
        core::v1::{Container, Pod, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{
    object::Object,
    path::{FieldPath, field},
    problem::Finding,
    server::Server,
};
use crate::{
    names,
    settings::{self, Annotations, Policy},
};

/// Everything that is wrong with `object`; overlays are partial, so what is absent is never wrong.
pub(crate) fn findings(object: &Object) -> Vec<Finding> {
    let mut check = Check::default();
    check.metadata(object);
    match object {
        Object::Namespace(_) | Object::ServiceAccount(_) => {}
        Object::Service(service) => check.service(service),
        Object::EndpointSlice(slice) => check.slice(slice),
        Object::Pod(pod) => check.pod(pod),
        Object::Server(server) => check.server(server),
    }
    check.findings
}

#[derive(Default)]
struct Check {
    findings: Vec<Finding>,
}

impl Check {
    fn metadata(&mut self, object: &Object) {
        let metadata = object.metadata();
        let name = metadata.name.as_deref().unwrap_or_default();
        match object {
            Object::Namespace(_) | Object::Service(_) => self.label(field!("metadata", "name"), name),
            _ => self.subdomain(field!("metadata", "name"), name),
        }
        if let Some(namespace) = &metadata.namespace {
            self.label(field!("metadata", "namespace"), namespace);
        }
        let (_, bad) = Annotations::parse(metadata.annotations.as_ref());
        for bad in bad {
            let field = field!("metadata", "annotations", bad.name.as_str());
            self.findings.push(Finding::new(field, bad.reason, bad.advice));
        }
    }

    fn service(&mut self, service: &Service) {
        let Some(spec) = &service.spec else { return };
        if let Some(ip) = &spec.cluster_ip {
            self.cluster_ip(field!("spec", "clusterIP"), ip);
        }
        for (index, ip) in spec.cluster_ips.iter().flatten().enumerate() {
            self.cluster_ip(field!("spec", "clusterIPs", index), ip);
        }
        for (index, port) in spec.ports.iter().flatten().enumerate() {
            self.port(field!("spec", "ports", index, "port"), port.port);
            if let Some(target) = &port.target_port {
                self.port_or_name(field!("spec", "ports", index, "targetPort"), target);
            }
            if let Some(name) = &port.name {
                self.label(field!("spec", "ports", index, "name"), name);
            }
        }
    }

    fn slice(&mut self, slice: &EndpointSlice) {
        let wants_v6 = match slice.address_type.as_str() {
            "IPv4" => Some(false),
            "IPv6" => Some(true),
            "" | "FQDN" => None,
            other => {
                let reason = format!("{other:?} is not an address type");
                self.add(field!("addressType"), reason, "write IPv4 or IPv6");
                None
            }
        };
        for (index, endpoint) in slice.endpoints.iter().enumerate() {
            for (position, address) in endpoint.addresses.iter().enumerate() {
                let field = field!("endpoints", index, "addresses", position);
                match (self.ip(&field, address, slice.address_type != "FQDN"), wants_v6) {
                    (Some(ip), Some(wants_v6)) if ip.is_ipv6() != wants_v6 => {
                        let reason = format!("{address} does not fit addressType {}", slice.address_type);
                        self.add(field, reason, "give each address family a slice of its own");
                    }
                    _ => {}
                }
            }
        }
        for (index, port) in slice.ports.iter().flatten().enumerate() {
            if let Some(number) = port.port {
                self.port(field!("ports", index, "port"), number);
            }
        }
    }

    fn pod(&mut self, pod: &Pod) {
        if let Some(spec) = &pod.spec {
            let names = [("serviceAccountName", &spec.service_account_name), ("nodeName", &spec.node_name)];
            for (name, value) in names {
                if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                    self.subdomain(field!("spec", name), value);
                }
            }
            for (name, value) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
                if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                    self.label(field!("spec", name), value);
                }
            }
            self.containers("containers", &spec.containers);
            self.containers("initContainers", spec.init_containers.as_deref().unwrap_or_default());
        }
        let Some(status) = &pod.status else { return };
        if let Some(ip) = &status.pod_ip {
            self.ip(&field!("status", "podIP"), ip, true);
        }
        for (index, ip) in status.pod_ips.iter().flatten().enumerate() {
            self.ip(&field!("status", "podIPs", index, "ip"), &ip.ip, true);
        }
    }

    fn containers(&mut self, list: &str, containers: &[Container]) {
        for (index, container) in containers.iter().enumerate() {
            for (position, port) in container.ports.iter().flatten().enumerate() {
                self.port(
                    field!("spec", list, index, "ports", position, "containerPort"),
                    port.container_port,
                );
                if let Some(name) = &port.name {
                    self.port_name(field!("spec", list, index, "ports", position, "name"), name);
                }
            }
        }
    }

    fn server(&mut self, server: &Server) {
        if let Some(port) = &server.spec.port {
            self.port_or_name(field!("spec", "port"), port);
        }
        if let Some(policy) = &server.spec.access_policy
            && policy.parse::<Policy>().is_err()
        {
            let advice = format!("write one of {}", Policy::names());
            self.add(field!("spec", "accessPolicy"), format!("{policy:?} is not a policy"), advice);
        }
        if let Some(protocol) = &server.spec.proxy_protocol
            && !["unknown", "opaque", "TLS", "HTTP/1", "HTTP/2", "gRPC"].contains(&protocol.as_str())
        {
            let advice = "write one of unknown, opaque, TLS, HTTP/1, HTTP/2, gRPC";
            self.add(field!("spec", "proxyProtocol"), format!("{protocol:?} is not a protocol"), advice);
        }
        if let Some(selector) = &server.spec.pod_selector {
            self.selector(selector);
        }
    }

    fn selector(&mut self, selector: &LabelSelector) {
        for (index, rule) in selector.match_expressions.iter().flatten().enumerate() {
            if !["In", "NotIn", "Exists", "DoesNotExist"].contains(&rule.operator.as_str()) {
                let field = field!("spec", "podSelector", "matchExpressions", index, "operator");
                let reason = format!("{:?} is not an operator", rule.operator);
                self.add(field, reason, "write In, NotIn, Exists or DoesNotExist");
            }
        }
    }

    fn cluster_ip(&mut self, field: FieldPath, ip: &str) {
        if !ip.is_empty() && ip != "None" {
            self.ip(&field, ip, true);
        }
    }

    fn ip(&mut self, field: &FieldPath, text: &str, required: bool) -> Option<IpAddr> {
        let advice = "write an IPv4 or IPv6 address that one host can have, as in 10.244.1.5 or fd00::5";
        match text.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() => {
                self.add(field.clone(), format!("{ip} is not the address of a pod or service"), advice);
                None
            }
            Ok(ip) => Some(ip),
            Err(_) if required => {
                self.add(field.clone(), format!("{text:?} is not an IP address"), advice);
                None
            }
            Err(_) => None,
        }
    }

    fn port(&mut self, field: FieldPath, port: i32) {
        if !(1..=65535).contains(&port) {
            self.add(field, format!("{port} is not a port"), "write a number between 1 and 65535");
        }
    }

    fn port_or_name(&mut self, field: FieldPath, port: &IntOrString) {
        match port {
            IntOrString::Int(number) => self.port(field, *number),
            IntOrString::String(name) => self.port_name(field, name),
        }
    }

    fn port_name(&mut self, field: FieldPath, name: &str) {
        if !settings::is_port_name(name) {
            let advice = "write lower-case letters, digits and -, at least one letter, as in \"http\"";
            self.add(field, format!("{name:?} is not a port's name"), advice);
        }
    }

    fn label(&mut self, field: FieldPath, name: &str) {
        if !names::is_label(name) {
            let advice =
                "write at most 63 lower-case letters, digits and -, with a letter or digit at both ends";
            self.add(field, format!("{name:?} is not a DNS label"), advice);
        }
    }

    fn subdomain(&mut self, field: FieldPath, name: &str) {
        if !names::is_subdomain(name) {
            let advice =
                "write lower-case letters, digits, - and ., with a letter or digit at both ends of each part";
            self.add(field, format!("{name:?} is not a DNS name"), advice);
        }
    }

    fn add(&mut self, field: FieldPath, reason: impl Into<String>, advice: impl Into<String>) {
        self.findings.push(Finding::new(field, reason, advice));
    }
}

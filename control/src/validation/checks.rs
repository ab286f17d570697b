//! Checks of single values, which collect what is wrong.

use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{finding::Finding, path::FieldPath};
use crate::{names, settings};

#[derive(Default)]
pub(super) struct Check {
    pub(super) findings: Vec<Finding>,
}

impl Check {
    pub(super) fn cluster_ip(&mut self, field: FieldPath, ip: &str) {
        if !ip.is_empty() && ip != "None" {
            self.ip(&field, ip, true);
        }
    }

    pub(super) fn ip(&mut self, field: &FieldPath, text: &str, required: bool) -> Option<IpAddr> {
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

    pub(super) fn port(&mut self, field: FieldPath, port: i32) {
        if !(1..=65535).contains(&port) {
            self.add(field, format!("{port} is not a port"), "write a number between 1 and 65535");
        }
    }

    pub(super) fn port_or_name(&mut self, field: FieldPath, port: &IntOrString) {
        match port {
            IntOrString::Int(number) => self.port(field, *number),
            IntOrString::String(name) => self.port_name(field, name),
        }
    }

    pub(super) fn port_name(&mut self, field: FieldPath, name: &str) {
        if !settings::is_port_name(name) {
            let advice = "write lower-case letters, digits and -, at least one letter, as in \"http\"";
            self.add(field, format!("{name:?} is not a port's name"), advice);
        }
    }

    pub(super) fn label(&mut self, field: FieldPath, name: &str) {
        if !names::is_label(name) {
            let advice =
                "write at most 63 lower-case letters, digits and -, with a letter or digit at both ends";
            self.add(field, format!("{name:?} is not a DNS label"), advice);
        }
    }

    pub(super) fn subdomain(&mut self, field: FieldPath, name: &str) {
        if !names::is_subdomain(name) {
            let advice =
                "write lower-case letters, digits, - and ., with a letter or digit at both ends of each part";
            self.add(field, format!("{name:?} is not a DNS name"), advice);
        }
    }

    pub(super) fn add(&mut self, field: FieldPath, reason: impl Into<String>, advice: impl Into<String>) {
        self.findings.push(Finding::new(field, reason, advice));
    }
}

//! Whatever the control plane sends about a workload is understood, or is an error that says what is wrong.

use proptest::prelude::*;
use weft_api::node as api;

use super::{
    Spec,
    tests::{authorization, guarded, workload},
};
use crate::fuzz::{fuzz, protobuf::messages};

#[test]
fn any_workload_is_understood_or_a_clear_error() {
    let mut full = workload();
    let range = || vec![api::PortRange { start: 1, end: 65_535 }];
    full.port_policies = vec![api::PortPolicy {
        port: 80,
        policy: api::InboundPolicy::Deny.into(),
        server: "closed".into(),
        protocol: api::Protocol::Http2.into(),
        authorizations: vec![authorization()],
    }];
    let mut open = guarded(api::Authorization {
        client: Some(api::authorization::Client::Unauthenticated(api::Unauthenticated {})),
        ..authorization()
    });
    open.port = 81;
    open.authorizations.push(api::Authorization {
        client: Some(api::authorization::Client::Authenticated(api::Authenticated {})),
        ..authorization()
    });
    full.port_policies.push(open);
    full.probes = vec![
        api::Probe { port: 80, path: "/ready".into(), tls: false },
        api::Probe { port: 81, path: String::new(), tls: true },
    ];
    full.access_log = api::AccessLog::Json.into();
    full.skip_inbound_ports = range();
    full.skip_outbound_ports = range();
    full.opaque_ports = range();
    full.splice_ports = range();
    full.skip_subnets = vec!["192.168.0.0/16".into()];
    full.outbound_connect_timeout_ms = 250;
    full.labels = [("app".to_owned(), "web".to_owned())].into();
    fuzz("workload", &messages(vec![workload(), full]), |message| {
        match Spec::try_from(message.clone()) {
            Ok(spec) => {
                prop_assert_eq!(spec.identity.as_str(), message.identity.to_ascii_lowercase());
                prop_assert_eq!(spec.kernel.ips.len(), message.ips.len());
                prop_assert_eq!(spec.kernel.skip_subnets.len(), message.skip_subnets.len());
                for authorization in message.port_policies.iter().flat_map(|port| &port.authorizations) {
                    prop_assert!(authorization.client.is_some());
                    if let Some(api::authorization::Client::Identities(identities)) = &authorization.client {
                        prop_assert!(identities.suffixes.iter().all(|suffix| suffix.starts_with('.')));
                    }
                }
                prop_assert_eq!(spec.config.fail_open, message.fail_mode() == api::FailMode::Open);
            }
            Err(error) => prop_assert!(!error.mistake.field.is_empty() && !error.mistake.reason.is_empty()),
        }
        Ok(())
    });
}

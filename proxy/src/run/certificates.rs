//! The content of the admin page `/certificates.json`: what peers of this node's workloads are shown, and what their
//! certificates are verified with.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::{
    identity::Store,
    workload::{Registry, Workload},
};

/// For each served workload its identity and its current certificates as PEM, its own first; and the trust anchors. There
/// are no private keys on the page, and each connection shows these certificates to its peer anyway.
pub(super) fn json(registry: &Registry, store: &Store) -> Value {
    let of_workload = |workload: &Arc<Workload>| {
        let credential = workload.lease.current();
        let chain = credential.iter().flat_map(|credential| &credential.chain);
        let chain: Vec<_> = chain.map(|certificate| pem(certificate)).collect();
        let value = json!({ "identity": workload.identity.as_str(), "certificates": chain });
        (workload.key.to_string(), value)
    };
    let workloads: Map<_, _> = registry.all().iter().map(of_workload).collect();
    let anchors = store.anchors();
    let anchors = anchors.iter().flat_map(|anchors| anchors.certificates());
    let anchors: Vec<_> = anchors.map(|certificate| pem(certificate)).collect();
    json!({ "workloads": workloads, "trust_anchors": anchors })
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::{CertificateDer, pem::PemObject};

    use super::*;

    #[test]
    fn certificates_are_written_as_pem() {
        for length in [1, 48, 96, 1000] {
            let der = vec![7; length];
            let read = CertificateDer::from_pem_slice(pem(&der).as_bytes()).unwrap();
            assert_eq!(&*read, der.as_slice());
        }
        assert!(pem(&[0; 1000]).lines().all(|line| line.len() <= 64));
    }
}

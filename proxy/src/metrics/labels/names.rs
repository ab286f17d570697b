//! The names of labels: which are valid, and which the proxy writes itself.

use std::collections::BTreeMap;

/// Adds a prefix to keys and makes them valid label names (`app.kubernetes.io/name` becomes `app_kubernetes_io_name`).
/// If two keys result in the same name, the first is kept.
pub fn sanitize<'a, I>(prefix: &str, labels: I) -> BTreeMap<String, String>
where
    I: IntoIterator<Item = (&'a String, &'a String)>,
{
    let mut clean = BTreeMap::new();
    for (key, value) in labels {
        let mut name = String::with_capacity(prefix.len() + key.len() + 1);
        name.push_str(prefix);
        if prefix.is_empty() && key.starts_with(|c: char| c.is_ascii_digit()) {
            name.push('_');
        }
        name.extend(key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
        if is_label_name(&name) {
            clean.entry(name).or_insert_with(|| value.clone());
        }
    }
    clean
}

/// Whether Prometheus accepts the name of a label.
pub(super) fn is_label_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with("__")
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether the proxy writes a label of this name itself.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// Label names that the proxy writes itself.
const RESERVED: [&str; 29] = [
    "direction",
    "peer",
    "namespace",
    "pod",
    "target_addr",
    "target_ip",
    "target_port",
    "tls",
    "no_tls_reason",
    "client_id",
    "server_id",
    "sni",
    "srv_group",
    "srv_kind",
    "srv_name",
    "srv_port",
    "authz_group",
    "authz_kind",
    "authz_name",
    "errno",
    "error",
    "le",
    "status_code",
    "classification",
    "grpc_status",
    "http_status",
    "result",
    "overflow",
    "protocol",
];

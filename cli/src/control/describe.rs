//! Describes endpoints and profiles of Linkerd's API as JSON.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value, json};
use weft_api::linkerd::{
    destination::{
        DestinationProfile, ProtocolHint, RetryBudget, TlsIdentity, WeightedAddr, protocol_hint::Protocol,
        tls_identity::Strategy,
    },
    meta::{Metadata, metadata},
    net::{IpAddress, TcpAddress},
};

/// The address of an endpoint; `None` if the message has none that is valid.
pub(crate) fn address(address: Option<&TcpAddress>) -> Option<SocketAddr> {
    address.cloned()?.try_into().ok()
}

pub(super) fn ip(ip: &IpAddress) -> Value {
    IpAddr::try_from(*ip).map_or(Value::Null, |ip| json!(ip.to_string()))
}

/// Everything that a client is told about an endpoint.
pub(crate) fn endpoint(endpoint: &WeightedAddr) -> Value {
    without_nulls([
        ("address", address(endpoint.addr.as_ref()).map(|address| json!(address.to_string()))),
        ("weight", Some(json!(endpoint.weight))),
        ("identity", endpoint.tls_identity.as_ref().and_then(identity)),
        ("protocolHint", endpoint.protocol_hint.as_ref().map(hint)),
        ("resource", endpoint.resource_ref.as_ref().map(metadata)),
        ("labels", (!endpoint.metric_labels.is_empty()).then(|| json!(endpoint.metric_labels))),
    ])
}

/// What a client is told about a destination.
pub(crate) fn profile(profile: &DestinationProfile) -> Value {
    without_nulls([
        (
            "fullyQualifiedName",
            (!profile.fully_qualified_name.is_empty()).then(|| json!(profile.fully_qualified_name)),
        ),
        ("opaqueProtocol", Some(json!(profile.opaque_protocol))),
        ("parentRef", profile.parent_ref.as_ref().map(metadata)),
        ("profileRef", profile.profile_ref.as_ref().map(metadata)),
        ("endpoint", profile.endpoint.as_ref().map(endpoint)),
        ("retryBudget", profile.retry_budget.as_ref().map(retry_budget)),
        ("routes", (!profile.routes.is_empty()).then(|| json!(profile.routes.len()))),
    ])
}

pub(super) fn metadata(metadata: &Metadata) -> Value {
    match &metadata.kind {
        Some(metadata::Kind::Default(name)) => json!({ "default": name }),
        Some(metadata::Kind::Resource(resource)) => without_nulls([
            ("group", text(&resource.group)),
            ("kind", text(&resource.kind)),
            ("namespace", text(&resource.namespace)),
            ("name", text(&resource.name)),
            ("section", text(&resource.section)),
            ("port", (resource.port > 0).then(|| json!(resource.port))),
        ]),
        None => Value::Null,
    }
}

/// A duration of whole seconds and nanoseconds, as in `0.3s`.
pub(super) fn duration((seconds, nanos): (i64, i32)) -> Value {
    json!(format!("{}s", seconds as f64 + f64::from(nanos) / 1e9))
}

/// An object of the fields that have a value, in this order.
pub(super) fn without_nulls<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| json!(text))
}

fn identity(identity: &TlsIdentity) -> Option<Value> {
    match identity.strategy.as_ref()? {
        Strategy::DnsLikeIdentity(name) => Some(json!(name.name)),
        Strategy::UriLikeIdentity(uri) => Some(json!(uri.uri)),
    }
}

fn hint(hint: &ProtocolHint) -> Value {
    let protocol = match &hint.protocol {
        Some(Protocol::H2(_)) => Some(json!("h2")),
        Some(Protocol::Opaque(_)) => Some(json!("opaque")),
        None => None,
    };
    let transport = hint.opaque_transport.as_ref().map(|transport| json!(transport.inbound_port));
    without_nulls([("protocol", protocol), ("opaqueTransportPort", transport)])
}

fn retry_budget(budget: &RetryBudget) -> Value {
    without_nulls([
        // As it is written: 0.2, and not the nearest number with fewer bits.
        ("retryRatio", budget.retry_ratio.to_string().parse::<f64>().ok().map(|ratio| json!(ratio))),
        ("minRetriesPerSecond", Some(json!(budget.min_retries_per_second))),
        ("ttl", budget.ttl.as_ref().map(|ttl| duration((ttl.seconds, ttl.nanos)))),
    ])
}

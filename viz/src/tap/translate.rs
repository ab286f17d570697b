//! Translates the proxies' events into those of the API.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use weft_api::{
    linkerd::{
        http_types::{self, HttpMethod, http_method, scheme},
        net::TcpAddress,
        tap::{
            TapEvent as ProxyEvent, eos,
            tap_event::{Event, ProxyDirection, http::Event as HttpEvent, http::StreamId},
        },
    },
    tap,
    viz::{Direction, TapEnd, TapEvent, TapEventKind, Tls},
};
use weft_control::{index::Cluster, model::Name};

use super::{names, select::resource_of};

/// What a proxy sent.
#[derive(Debug, PartialEq)]
pub(super) enum Told {
    Event(Box<TapEvent>),
    /// So many events were kept back.
    Dropped(u64),
    /// Nothing that this version understands.
    Nothing,
}

/// The label of a request's route, as in Linkerd.
const ROUTE: &str = "route";

type Labels = HashMap<String, String>;

pub(super) fn translate(event: ProxyEvent, cluster: &Cluster) -> Told {
    let direction = match event.proxy_direction() {
        ProxyDirection::Outbound => Direction::Outbound,
        ProxyDirection::Inbound | ProxyDirection::Unknown => Direction::Inbound,
    };
    let ProxyEvent { source, source_meta, destination, destination_meta, route_meta, event, .. } = event;
    let Some(Event::Http(http)) = event else {
        let dropped = route_meta.and_then(|meta| meta.labels.get(tap::DROPPED)?.parse().ok());
        return dropped.map_or(Told::Nothing, Told::Dropped);
    };
    let labels = |labels: Option<Labels>| labels.unwrap_or_default();
    let source_labels = labels(source_meta.map(|meta| meta.labels));
    let destination_labels = labels(destination_meta.map(|meta| meta.labels));
    let (id, kind) = match http.event {
        Some(HttpEvent::RequestInit(init)) => {
            let peer = match direction {
                Direction::Inbound => &source_labels,
                Direction::Outbound => &destination_labels,
            };
            let kind = TapEventKind::Request {
                tls: tls(peer),
                source: end(source, &source_labels, cluster),
                destination: end(destination, &destination_labels, cluster),
                method: init.method.map(method).unwrap_or_default(),
                scheme: init.scheme.and_then(scheme_name),
                authority: init.authority,
                path: init.path,
                route: route_meta
                    .and_then(|mut meta| meta.labels.remove(ROUTE))
                    .filter(|name| !name.is_empty()),
                headers: headers(init.headers),
            };
            (init.id, kind)
        }
        Some(HttpEvent::ResponseInit(init)) => {
            let kind = TapEventKind::Response {
                status: u16::try_from(init.http_status).unwrap_or_default(),
                latency_ms: milliseconds(init.since_request_init.map(|d| (d.seconds, d.nanos))),
                headers: headers(init.headers),
            };
            (init.id, kind)
        }
        Some(HttpEvent::ResponseEnd(finish)) => {
            let (grpc_status, reset) = match finish.eos.and_then(|eos| eos.end) {
                Some(eos::End::GrpcStatusCode(code)) => (Some(names::grpc(code)), None),
                Some(eos::End::ResetErrorCode(code)) => (None, Some(names::reset(code))),
                None => (None, None),
            };
            let kind = TapEventKind::End {
                duration_ms: milliseconds(finish.since_request_init.map(|d| (d.seconds, d.nanos))),
                response_bytes: finish.response_bytes,
                grpc_status,
                reset,
            };
            (finish.id, kind)
        }
        None => return Told::Nothing,
    };
    let Some(StreamId { base, stream }) = id else { return Told::Nothing };
    Told::Event(Box::new(TapEvent { id: format!("{base}:{stream}"), at: now(), direction, event: kind }))
}

/// One end of a request: a pod that the proxy or the cluster knows, or an address.
fn end(address: Option<TcpAddress>, labels: &Labels, cluster: &Cluster) -> TapEnd {
    let socket = address.and_then(socket);
    let named = labels.get("namespace").zip(labels.get("pod"));
    let named = named.map(|(namespace, name)| Name { namespace: namespace.clone(), name: name.clone() });
    let pod = match (&named, socket) {
        (Some(name), _) => cluster.pod(name),
        (None, Some(socket)) => cluster.pod_at(socket.ip(), socket.port()),
        (None, None) => None,
    };
    TapEnd {
        resource: pod.map(|pod| resource_of(pod)),
        pod: pod.map(|pod| pod.name.name.clone()).or(named.map(|name| name.name)),
        address: socket.map(|socket| socket.to_string()).unwrap_or_default(),
    }
}

fn socket(address: TcpAddress) -> Option<SocketAddr> {
    let ip = IpAddr::try_from(address.ip?).ok()?;
    Some(SocketAddr::new(ip, u16::try_from(address.port).ok()?))
}

fn tls(labels: &Labels) -> Tls {
    match labels.get("tls").map(String::as_str) {
        Some("true") => Tls::True,
        Some("local") => Tls::Local,
        Some("opaque") => Tls::Opaque,
        _ => Tls::NoIdentity,
    }
}

fn method(method: HttpMethod) -> String {
    let text = match &method.r#type {
        Some(http_method::Type::Unregistered(name)) => name.clone(),
        _ => String::new(),
    };
    http::Method::try_from(method).map_or(text, |method| method.to_string())
}

fn scheme_name(scheme: http_types::Scheme) -> Option<String> {
    match scheme.r#type? {
        scheme::Type::Registered(known) if known == scheme::Registered::Https as i32 => {
            Some("https".to_owned())
        }
        scheme::Type::Registered(_) => Some("http".to_owned()),
        scheme::Type::Unregistered(name) => Some(name),
    }
}

/// Values that are no text are written in Base64.
fn headers(headers: Option<http_types::Headers>) -> Vec<(String, String)> {
    let headers = headers.map(|headers| headers.headers).unwrap_or_default();
    let text = |value: &[u8]| match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("base64:{}", BASE64_STANDARD.encode(value)),
    };
    headers.into_iter().map(|header| (header.name, text(&header.value))).collect()
}

fn milliseconds(duration: Option<(i64, i32)>) -> f64 {
    duration.map_or(0.0, |(seconds, nanos)| seconds as f64 * 1e3 + f64::from(nanos) / 1e6)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

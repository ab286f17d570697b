//! A request that taps show: makes the three events of its life.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, StatusCode};
use weft_api::linkerd::{
    http_types::{Headers, headers::Header},
    net::TcpAddress,
    tap::{
        Eos, TapEvent, eos,
        tap_event::{
            EndpointMeta, Event, Http, ProxyDirection,
            http::{Event as HttpEvent, RequestInit, ResponseEnd, ResponseInit, StreamId},
        },
    },
};

use super::{
    matching::{Call, Head, tap_labels},
    open_tap::{EVENTS_PER_REQUEST, Tap},
};
use crate::{metrics::Tls, net::Direction};

/// Longer texts are cut: clients choose them.
const MAX_TEXT: usize = 2_048;
/// Header lists are cut after this many bytes of values.
const MAX_HEADERS: usize = 16 << 10;

/// A request that at least one tap shows.
pub struct Observation {
    /// Everything of an event but what happened.
    frame: TapEvent,
    id: StreamId,
    taps: Vec<Arc<Tap>>,
    started: Instant,
    responded: Option<Instant>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// The status, if there was a response or the proxy answered itself.
    pub status: Option<StatusCode>,
    pub response_bytes: u64,
    pub grpc_status: Option<u32>,
    /// The HTTP/2 code with which the stream broke.
    pub reset: Option<u32>,
}

impl Observation {
    /// Shows the head of a request. `None` if no tap had room for it.
    pub(super) fn begin(
        call: &Call<'_>,
        head: &Head<'_>,
        headers: &HeaderMap,
        (base, stream): (u32, u64),
        started: Instant,
        taps: Vec<Arc<Tap>>,
    ) -> Option<Self> {
        let id = StreamId { base, stream };
        let mut this = Self { frame: frame(call), id, taps, started, responded: None };
        this.show(EVENTS_PER_REQUEST, |this, tap| {
            HttpEvent::RequestInit(RequestInit {
                id: Some(this.id),
                method: Some(head.method.clone().into()),
                scheme: Some(head.scheme.into()),
                authority: cut(head.authority),
                path: cut(head.path),
                headers: extract(tap, headers),
            })
        });
        (!this.taps.is_empty()).then_some(this)
    }

    /// Shows the head of the response.
    pub fn responded(&mut self, status: StatusCode, headers: &HeaderMap) {
        let now = Instant::now();
        self.responded = Some(now);
        let since = now.saturating_duration_since(self.started);
        self.show(EVENTS_PER_REQUEST - 1, |this, tap| {
            HttpEvent::ResponseInit(ResponseInit {
                id: Some(this.id),
                since_request_init: duration(since),
                http_status: status.as_u16().into(),
                headers: extract(tap, headers),
            })
        });
    }

    /// Shows the end of the response, or why there is none.
    pub fn ended(&mut self, end: &End) {
        if let (None, Some(status)) = (self.responded, end.status) {
            self.responded(status, &HeaderMap::new());
        }
        let now = Instant::now();
        let since_request = now.saturating_duration_since(self.started);
        let since_response = self.responded.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let eos = match (end.reset, end.grpc_status) {
            (Some(code), _) => Some(eos::End::ResetErrorCode(code)),
            (None, Some(code)) => Some(eos::End::GrpcStatusCode(code)),
            (None, None) => None,
        };
        self.show(1, |this, _| {
            HttpEvent::ResponseEnd(ResponseEnd {
                id: Some(this.id),
                since_request_init: duration(since_request),
                since_response_init: duration(since_response),
                response_bytes: end.response_bytes,
                eos: eos.map(|end| Eos { end: Some(end) }),
                trailers: None,
            })
        });
    }

    /// Sends an event to each tap. One that has no room sees nothing more of this request: `left` events are lost to it.
    fn show(&mut self, left: u64, event: impl Fn(&Self, &Tap) -> HttpEvent) {
        let taps = std::mem::take(&mut self.taps);
        let shown = taps.into_iter().filter(|tap| {
            let http = Http { event: Some(event(self, tap)) };
            let sent = tap.send(TapEvent { event: Some(Event::Http(http)), ..self.frame.clone() });
            if !sent {
                tap.lose(left);
            }
            sent
        });
        let shown = shown.collect();
        self.taps = shown;
    }
}

/// An event of this request in which nothing happens.
fn frame(call: &Call<'_>) -> TapEvent {
    let own: HashMap<String, String> = call.workload.labels.to_map();
    let (mut source, mut destination, direction, id) = match call.direction {
        Direction::Inbound => (HashMap::new(), own, ProxyDirection::Inbound, "client_id"),
        Direction::Outbound => {
            let labels = tap_labels(call.labels).map(|(name, value)| (name.to_owned(), value.clone()));
            (own, labels.collect(), ProxyDirection::Outbound, "server_id")
        }
    };
    // The labels of TLS are those of the other end.
    let peer = match call.direction {
        Direction::Inbound => &mut source,
        Direction::Outbound => &mut destination,
    };
    peer.insert("tls".to_owned(), tls(call.tls).to_owned());
    if let Some(identity) = call.tls.identity() {
        peer.insert(id.to_owned(), identity.to_string());
    }
    if let Tls::NoIdentity(reason) = call.tls {
        peer.insert("no_tls_reason".to_owned(), (*reason).to_owned());
    }
    TapEvent {
        source: Some(address(call.source)),
        source_meta: Some(EndpointMeta { labels: source }),
        route_meta: None,
        destination: Some(address(call.destination)),
        destination_meta: Some(EndpointMeta { labels: destination }),
        proxy_direction: direction.into(),
        event: None,
    }
}

const fn tls(tls: &Tls) -> &'static str {
    match tls {
        Tls::Established(_) | Tls::Anonymous => "true",
        Tls::Local(_) => "local",
        Tls::NoIdentity(_) => "no_identity",
        Tls::Opaque { .. } => "opaque",
    }
}

fn address(address: SocketAddr) -> TcpAddress {
    TcpAddress { ip: Some(address.ip().to_canonical().into()), port: address.port().into() }
}

/// The headers that a tap wants to see.
fn extract(tap: &Tap, headers: &HeaderMap) -> Option<Headers> {
    let ignored = tap.ignored_headers.as_ref()?;
    let mut room = MAX_HEADERS;
    let shown = headers.iter().filter(|(name, _)| !ignored.contains(*name)).map_while(|(name, value)| {
        room = room.checked_sub(name.as_str().len() + value.len())?;
        Some(Header { name: name.as_str().to_owned(), value: value.as_bytes().to_vec() })
    });
    Some(Headers { headers: shown.collect() })
}

fn cut(text: &str) -> String {
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > MAX_TEXT) {
        Some((at, _)) => text[..at].to_owned(),
        None => text.to_owned(),
    }
}

fn duration(duration: Duration) -> Option<prost_types::Duration> {
    duration.try_into().ok()
}

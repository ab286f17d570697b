//! JSON of `weft viz tap`: one object per event, with Linkerd's fields.

use serde_json::{Map, Value, json};
use weft_api::viz::{Direction, TapEnd, TapEvent, TapEventKind};

use super::{lines::tls, requests::Requests};

/// Makes objects of events.
#[derive(Debug, Default)]
pub(super) struct Objects {
    requests: Requests,
}

impl Objects {
    pub(super) fn object(&mut self, event: &TapEvent) -> Value {
        let request = self.requests.of(event);
        let mut object = json!({
            "source": request.as_ref().map(|request| end(&request.source)),
            "destination": request.as_ref().map(|request| {
                let mut end = end(&request.destination);
                end["metadata"]["tls"] = json!(tls(request.tls));
                end
            }),
            "routeMeta": null,
            "proxyDirection": match event.direction {
                Direction::Inbound => "INBOUND",
                Direction::Outbound => "OUTBOUND",
            },
            "at": event.at,
        });
        let (name, value) = match &event.event {
            TapEventKind::Request { method, scheme, authority, path, headers, .. } => (
                "requestInitEvent",
                json!({
                    "id": event.id, "method": method, "scheme": scheme, "authority": authority, "path": path,
                    "headers": list(headers),
                }),
            ),
            TapEventKind::Response { status, latency_ms, headers } => (
                "responseInitEvent",
                json!({
                    "id": event.id, "sinceRequestInit": span(*latency_ms), "httpStatus": status,
                    "headers": list(headers),
                }),
            ),
            TapEventKind::End { duration_ms, response_bytes, grpc_status, reset } => (
                "responseEndEvent",
                json!({
                    "id": event.id, "sinceRequestInit": span(*duration_ms), "responseBytes": response_bytes,
                    "grpcStatus": grpc_status, "resetError": reset,
                }),
            ),
        };
        object[name] = value;
        object
    }
}

fn end(end: &TapEnd) -> Value {
    let (ip, port) = match end.address.rsplit_once(':') {
        Some((ip, port)) => (ip.trim_matches(['[', ']']), port.parse::<u16>().ok()),
        None => (end.address.as_str(), None),
    };
    let mut metadata = Map::new();
    if let Some(resource) = &end.resource {
        metadata.insert("namespace".to_owned(), json!(resource.namespace));
        metadata.insert(resource.kind.as_str().to_owned(), json!(resource.name));
    }
    if let Some(pod) = &end.pod {
        metadata.insert("pod".to_owned(), json!(pod));
    }
    json!({ "ip": ip, "port": port, "metadata": metadata })
}

fn list(headers: &[(String, String)]) -> Vec<Value> {
    headers.iter().map(|(name, value)| json!({ "name": name, "valueStr": value })).collect()
}

fn span(ms: f64) -> Value {
    let nanos = (ms * 1e6).max(0.0);
    json!({ "seconds": (nanos / 1e9).floor() as u64, "nanos": (nanos % 1e9) as u64 })
}

#[cfg(test)]
mod tests {
    use super::{super::tests::events, *};

    #[test]
    fn objects_have_the_fields_of_linkerd() {
        let mut objects = Objects::default();
        let all: Vec<_> = events().iter().map(|event| objects.object(event)).collect();
        assert_eq!(all[0]["requestInitEvent"]["path"], "/emojivoto.v1.VotingService/VoteDoughnut");
        assert_eq!(all[0]["source"]["ip"], "10.244.1.3");
        assert_eq!(all[0]["source"]["metadata"]["deployment"], "web");
        assert_eq!(all[1]["responseInitEvent"]["httpStatus"], 200);
        assert_eq!(all[1]["responseInitEvent"]["sinceRequestInit"]["nanos"], 123_000);
        assert_eq!(all[2]["responseEndEvent"]["grpcStatus"], "UNKNOWN");
        assert_eq!(all[2]["destination"]["metadata"]["tls"], "true");
    }

    #[test]
    fn an_ipv6_address_has_no_brackets() {
        let value = end(&TapEnd { resource: None, pod: None, address: "[fd00::1]:80".to_owned() });
        assert_eq!((value["ip"].as_str(), value["port"].as_u64()), (Some("fd00::1"), Some(80)));
    }
}

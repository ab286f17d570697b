//! Lines of `weft viz tap`, as Linkerd prints them.

use weft_api::viz::{Direction, TapEnd, TapEvent, TapEventKind, Tls};

use super::requests::Requests;
use crate::viz::{access::printable, format::duration, resource::short};

/// Makes lines of events.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) wide: bool,
    requests: Requests,
}

impl Lines {
    pub(super) fn new(wide: bool) -> Self {
        Self { wide, requests: Requests::default() }
    }

    /// The line of an event, without a line break.
    pub(super) fn line(&mut self, event: &TapEvent) -> String {
        let word = match &event.event {
            TapEventKind::Request { .. } => "req",
            TapEventKind::Response { .. } => "rsp",
            TapEventKind::End { .. } => "end",
        };
        let proxy = match event.direction {
            Direction::Inbound => "in",
            Direction::Outbound => "out",
        };
        let mut line = format!("{word} id={} proxy={proxy}", event.id);
        let request = self.requests.of(event);
        if let Some(request) = &request {
            line.push_str(&format!(
                " src={} dst={} tls={}",
                request.source.address,
                request.destination.address,
                tls(request.tls)
            ));
        }
        match &event.event {
            TapEventKind::Request { method, authority, path, .. } => {
                line.push_str(&format!(" :method={method} :authority={authority} :path={path}"));
            }
            TapEventKind::Response { status, latency_ms, .. } => {
                line.push_str(&format!(" :status={status} latency={}", duration(*latency_ms)));
            }
            TapEventKind::End { duration_ms, response_bytes, grpc_status, reset } => {
                if let Some(reset) = reset {
                    line.push_str(&format!(" reset-error={reset}"));
                } else if let Some(status) = grpc_status {
                    line.push_str(&format!(" grpc-status={status}"));
                }
                line.push_str(&format!(
                    " duration={} response-length={response_bytes}B",
                    duration(*duration_ms)
                ));
            }
        }
        if let (true, Some(request)) = (self.wide, &request) {
            line.push_str(&end("src", &request.source));
            line.push_str(&end("dst", &request.destination));
        }
        printable(&line)
    }
}

pub(super) fn tls(tls: Tls) -> &'static str {
    match tls {
        Tls::True => "true",
        Tls::Local => "local",
        Tls::Opaque => "opaque",
        Tls::NoIdentity => "no_identity",
    }
}

fn end(prefix: &str, end: &TapEnd) -> String {
    let mut text = String::new();
    if let Some(resource) = &end.resource {
        text.push_str(&format!(" {prefix}_res={}/{}", short(resource.kind), resource.name));
        text.push_str(&format!(" {prefix}_ns={}", resource.namespace));
    }
    if let Some(pod) = &end.pod {
        text.push_str(&format!(" {prefix}_pod={pod}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{super::tests::events, *};

    #[test]
    fn a_call_is_three_lines() {
        let mut lines = Lines::new(false);
        let text: Vec<_> = events().iter().map(|event| lines.line(event)).collect();
        assert_eq!(
            text,
            [
                "req id=0:1 proxy=in src=10.244.1.3:41234 dst=10.244.2.3:8080 tls=true :method=POST \
                 :authority=voting-svc.emojivoto:8080 :path=/emojivoto.v1.VotingService/VoteDoughnut",
                "rsp id=0:1 proxy=in src=10.244.1.3:41234 dst=10.244.2.3:8080 tls=true :status=200 latency=123µs",
                "end id=0:1 proxy=in src=10.244.1.3:41234 dst=10.244.2.3:8080 tls=true grpc-status=UNKNOWN \
                 duration=1.25ms response-length=2B",
            ]
        );
    }

    #[test]
    fn wide_lines_name_both_ends() {
        let line = Lines::new(true).line(&events()[0]);
        assert!(
            line.ends_with(
                " src_res=deploy/web src_ns=emojivoto src_pod=web-1 dst_res=deploy/voting dst_ns=emojivoto dst_pod=voting-1"
            ),
            "{line}"
        );
    }

    #[test]
    fn a_response_whose_request_was_not_seen_is_still_shown() {
        let line = Lines::new(true).line(&events()[1]);
        assert_eq!(line, "rsp id=0:1 proxy=in :status=200 latency=123µs");
    }

    #[test]
    fn a_path_cannot_write_to_the_terminal() {
        let mut event = events().remove(0);
        if let TapEventKind::Request { path, .. } = &mut event.event {
            *path = "/\x1b]0;title\x07\r\n".to_owned();
        }
        assert!(!Lines::new(false).line(&event).chars().any(char::is_control));
    }
}

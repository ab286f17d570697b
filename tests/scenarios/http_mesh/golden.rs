//! The golden metrics: what was asked, how it ended, and how long it took.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};
use h2::Reason;
use weft_tests::{
    attack::http2::{self as frames, Frames, kind},
    http2::{self, Answer, BreakOff},
    mesh::Mesh,
    suite::Area,
};

use super::ways::{ask, cluster, each_way, status};

pub(crate) fn area() -> Area {
    Area::new("http_golden", cluster)
        .scenario(
            "requests",
            "Every request and response is counted at its source and at its destination, with its status, its \
             classification, its latency and both workloads.",
            requests,
        )
        .scenario(
            "calls",
            "gRPC calls are classified by their own status: INTERNAL with HTTP 200 is a failure, NOT_FOUND is none.",
            calls,
        )
        .scenario(
            "by_route",
            "The families by server and by service count requests, statuses and durations, of HTTP and of gRPC.",
            by_route,
        )
        .scenario(
            "canceled",
            "A response that the client does not want any more is counted as canceled, and not as a failure.",
            canceled,
        )
        .scenario(
            "canceled_by_server",
            "A server that resets a stream with CANCEL, before or after its response's head, causes a failure, and the \
             client gets its code.",
            canceled_by_server,
        )
}

/// How long the slow response takes.
const SLOW: Duration = Duration::from_millis(150);

/// Statuses of responses, how often each, and their classification.
const STATUSES: [(u16, usize, &str); 4] =
    [(200, 5, "success"), (404, 2, "success"), (500, 1, "failure"), (503, 3, "failure")];

fn requests(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let origin = way.answering(|request| {
            if request.head.target() == "/slow" {
                thread::sleep(SLOW);
            }
            let code = request.head.values("x-status").first().and_then(|code| code.parse().ok());
            status(code.unwrap_or(200), "x")
        })?;
        let (source, destination) = (mesh.proxy("a").watch()?, mesh.proxy(way.node).watch()?);
        let mut client = way.connect(origin.port())?;
        for (code, count, _) in STATUSES {
            for _ in 0..count {
                let response = ask(&mut client, "/", &format!("X-Status: {code}\r\n"))?;
                ensure!(response.head.status() == code, "{response:?}");
            }
        }
        ask(&mut client, "/slow", "X-Status: 201\r\n")?;

        let (server, own) = (way.server.identity(), way.client.identity());
        // The pod may be reached by either of its addresses.
        let (pod, port) = (way.server.name(), origin.port().to_string());
        let outbound = [
            ("direction", "outbound"),
            ("pod", "client"),
            ("namespace", "test"),
            ("target_port", &port),
            ("tls", way.tls),
            ("server_id", &server),
            ("dst_pod", pod),
            ("dst_service", pod),
            ("dst_namespace", "test"),
            ("dst_serviceaccount", pod),
        ];
        let inbound = [
            ("direction", "inbound"),
            ("pod", pod),
            ("namespace", "test"),
            ("target_port", &port),
            ("tls", way.tls),
            ("client_id", &own),
            ("srv_kind", "default"),
            ("srv_name", "all-unauthenticated"),
        ];
        for (side, labels) in [(&source, &outbound[..]), (&destination, &inbound[..])] {
            let all: usize = STATUSES.iter().map(|(_, count, _)| count).sum();
            side.expect("request_total", labels, (all + 1) as f64)?;
            for (code, count, class) in STATUSES {
                let code = code.to_string();
                let by = |extra: &[(&'static str, &str)]| -> Result<()> {
                    let extra = extra.iter().map(|(name, value)| (*name, *value));
                    let labels: Vec<_> = labels.iter().copied().chain(extra).collect();
                    side.expect("response_total", &labels, count as f64)
                };
                by(&[("status_code", &code)])?;
                by(&[("status_code", &code), ("classification", class), ("grpc_status", ""), ("error", "")])?;
            }
            let bucket = |le: &'static str, expected: f64| {
                let own = [("status_code", "201"), ("le", le)];
                let labels: Vec<_> = labels.iter().copied().chain(own).collect();
                side.expect("response_latency_ms_bucket", &labels, expected)
            };
            bucket("100.0", 0.0)?;
            bucket("50000.0", 1.0)?;
            bucket("+Inf", 1.0)?;
            let of_slow: Vec<_> = labels.iter().copied().chain([("status_code", "201")]).collect();
            let sum = side.now()?.value("response_latency_ms_sum", &of_slow);
            ensure!((150.0..20_000.0).contains(&sum), "a response of {SLOW:?} took {sum} ms");
            side.expect("response_latency_ms_count", &of_slow, 1.0)?;
        }
        origin.no_failures()
    })
}

/// Codes of gRPC, how often each, and their classification.
const CODES: [(u16, usize, &str); 5] =
    [(0, 3, "success"), (5, 2, "success"), (13, 2, "failure"), (14, 1, "failure"), (2, 1, "failure")];

fn calls(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let server = way.http2(|request| {
            let code = request.header("x-code").parse().unwrap_or_default();
            let mut answer = Answer::grpc(code);
            if request.header("x-trailers-only") == "1" {
                answer.headers.extend(answer.trailers.take().unwrap_or_default());
                answer.body.clear();
            }
            answer
        })?;
        let (source, destination) = (mesh.proxy("a").watch()?, mesh.proxy(way.node).watch()?);
        let client = way.connect2(server.port())?;
        for (code, count, _) in CODES {
            // Half of them without a message: the status is among the headers then.
            for number in 0..count {
                let mut request = http2::grpc(&way.host(server.port()), "/test.Service/Call");
                request.headers_mut().insert("x-code", code.into());
                request.headers_mut().insert("x-trailers-only", (number as u16 % 2).into());
                let response = client.send(request)?;
                ensure!(response.status == 200 && response.grpc_status() == Some(code), "{response:?}");
            }
        }
        let outbound = [("direction", "outbound"), ("pod", "client"), ("dst_pod", way.server.name())];
        let inbound = [("direction", "inbound"), ("pod", way.server.name()), ("tls", way.tls)];
        for (side, labels) in [(source, outbound), (destination, inbound)] {
            for (code, count, class) in CODES {
                let code = code.to_string();
                let own = [("status_code", "200"), ("grpc_status", &code), ("classification", class)];
                let labels: Vec<_> = labels.into_iter().chain(own).collect();
                side.expect("response_total", &labels, count as f64)?;
            }
            let calls: usize = CODES.iter().map(|(_, count, _)| count).sum();
            side.expect("request_total", &labels, calls as f64)?;
            side.expect("response_latency_ms_count", &labels, calls as f64)?;
        }
        Ok(())
    })
}

fn by_route(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let pod = way.server.name();
        let origin = way.answering(|_| status(418, "x"))?;
        let server = way.http2(|_| Answer::grpc(13))?;
        let (source, destination) = (mesh.proxy("a").watch()?, mesh.proxy(way.node).watch()?);
        let mut client = way.connect(origin.port())?;
        for _ in 0..3 {
            ask(&mut client, "/", "")?;
        }
        let client = way.connect2(server.port())?;
        for _ in 0..2 {
            client.send(http2::grpc(&way.host(server.port()), "/test.Service/Call"))?;
        }
        for (kind, port, count, status) in [
            ("http", origin.port(), 3.0, ("http_status", "418")),
            ("grpc", server.port(), 2.0, ("grpc_status", "INTERNAL")),
        ] {
            let port = port.to_string();
            let service = [
                ("pod", "client"),
                ("parent_kind", "Service"),
                ("parent_namespace", "test"),
                ("parent_name", pod),
                ("parent_port", &port),
                ("route_kind", "default"),
                ("route_name", kind),
            ];
            let backend = [("backend_kind", "Service"), ("backend_name", pod)];
            let expect = |name: String, more: &[(&str, &str)]| {
                let labels: Vec<_> = service.iter().chain(more).copied().collect();
                source.expect(&name, &labels, count)
            };
            expect(format!("outbound_{kind}_route_request_statuses_total"), &[status, ("error", "")])?;
            expect(format!("outbound_{kind}_route_request_duration_seconds_count"), &[])?;
            expect(format!("outbound_{kind}_route_backend_requests_total"), &backend)?;
            expect(format!("outbound_{kind}_route_backend_response_statuses_total"), &[status])?;
            expect(format!("outbound_{kind}_route_backend_response_duration_seconds_count"), &backend)?;

            let server = [
                ("pod", pod),
                ("parent_kind", "default"),
                ("parent_name", "all-unauthenticated"),
                ("parent_port", &port),
                ("route_name", kind),
            ];
            let expect = |name: String, more: &[(&str, &str)]| {
                let labels: Vec<_> = server.iter().chain(more).copied().collect();
                destination.expect(&name, &labels, count)
            };
            expect(format!("inbound_{kind}_requests_total"), &[])?;
            expect(format!("inbound_{kind}_statuses_total"), &[status])?;
            expect(format!("inbound_{kind}_request_duration_seconds_count"), &[])?;
            expect(format!("inbound_{kind}_response_duration_seconds_count"), &[])?;
        }
        Ok(())
    })
}

fn canceled(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let server = way.http2(|_| Answer::never())?;
        let (source, destination) = (mesh.proxy("a").watch()?, mesh.proxy(way.node).watch()?);
        let client = way.connect2(server.port())?;
        let pending = client.start(http2::get(&way.host(server.port()), "/"));
        let inbound = [("direction", "inbound"), ("pod", way.server.name())];
        let outbound = [("direction", "outbound"), ("dst_pod", way.server.name())];
        destination.expect("request_total", &inbound, 1.0)?;
        drop(pending);
        for (side, labels) in [(source, outbound), (destination, inbound)] {
            let own = [("classification", "success"), ("error", "CANCEL"), ("status_code", "")];
            let labels: Vec<_> = labels.into_iter().chain(own).collect();
            side.expect("response_total", &labels, 1.0).context("the canceled request")?;
        }
        Ok(())
    })
}

fn canceled_by_server(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let server = way.http2(|_| Answer::broken(BreakOff::Stream(Reason::CANCEL)))?;
        let late = way.serve(frames::server(|stream| {
            // A response with status 200 that does not end, and CANCEL.
            Frames::default().block(0, stream, &[0x88]).frame(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8])
        }))?;
        for (port, status) in [(server.port(), ""), (late.port(), "200")] {
            let (source, destination) = (mesh.proxy("a").watch()?, mesh.proxy(way.node).watch()?);
            let error = match way.connect2(port)?.send(http2::get(&way.host(port), "/")) {
                Ok(response) => anyhow::bail!("{response:?}"),
                Err(error) => error,
            };
            let code = error.chain().find_map(|cause| cause.downcast_ref::<h2::Error>()?.reason());
            ensure!(code == Some(Reason::CANCEL), "the client got {error:#}");
            let inbound = [("direction", "inbound"), ("pod", way.server.name())];
            let outbound = [("direction", "outbound"), ("dst_pod", way.server.name())];
            for (side, labels) in [(source, outbound), (destination, inbound)] {
                let own = [("classification", "failure"), ("error", "CANCEL")];
                let labels: Vec<_> = labels.into_iter().chain(own).collect();
                side.expect("response_total", &labels, 1.0)
                    .with_context(|| format!("after the status {status:?}"))?;
            }
        }
        Ok(())
    })
}

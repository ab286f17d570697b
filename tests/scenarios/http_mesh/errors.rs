//! The answers that the proxy gives itself: Linkerd's status codes and headers, for HTTP and gRPC.

use std::{io::Read, thread, time::Duration};

use anyhow::{Result, ensure};
use weft_tests::{
    dial::RetryingReader,
    http::{Message, Origin, To, Wire},
    http2::{self, Answer},
    mesh::Mesh,
    suite::Area,
    wait,
};

use super::ways::{Way, ask, cluster, each_way, ok, only_l5d};

pub(crate) fn area() -> Area {
    Area::new("http_errors", cluster)
        .scenario(
            "broken_origin",
            "An application that closes without a response causes 502, or UNAVAILABLE for gRPC; a connection of HTTP/1 \
             ends after it; it is counted as i/o.",
            broken_origin,
        )
        .scenario(
            "nobody_listens",
            "A pod that is dialled by its own address and does not listen causes 502 at once, or UNAVAILABLE.",
            nobody_listens,
        )
        .scenario(
            "bad_request",
            "A request with two hosts gets 400 on HTTP/1, 400 or INTERNAL on HTTP/2, never reaches the application, and \
             is counted and logged.",
            bad_request,
        )
        .scenario(
            "endless_interims",
            "An application that sends informational responses without end causes 502, and both sides count a failure.",
            endless_interims,
        )
        .scenario(
            "own_errors_only",
            "An application's own 502, 503 and 504 pass unchanged and keep the connection; what it says in l5d-proxy-* \
             does not.",
            own_errors_only,
        )
        .scenario(
            "strangers",
            "A client outside the mesh gets the status of an error, and no header that tells what is inside the mesh.",
            strangers,
        )
}

/// The direction in which the error is counted: where the connection to the application broke.
fn errors(way: &Way<'_>) -> (&'static str, String) {
    match way.node {
        "a" => ("outbound_http_errors_total", "client".to_owned()),
        _ => ("inbound_http_errors_total", way.server.name().to_owned()),
    }
}

fn broken_origin(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let proxy = mesh.proxy(way.node).watch()?;
        let server = way.serve(std::sync::Arc::new(|accepted| {
            // Long enough for the whole request.
            accepted.stream.set_read_timeout(Some(Duration::from_millis(300)))?;
            let _ = RetryingReader(&accepted.stream).read(&mut [0; 4096]);
            thread::sleep(Duration::from_millis(300));
            Ok(())
        }))?;
        let mut client = way.connect(server.port())?;
        client.send("POST /once HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 4\r\n\r\nonce")?;
        let response = Message::response(&mut client, To::Other)?;
        ensure!(response.head.status() == 502, "{response:?}");
        ensure!(response.head.values("connection") == ["close"], "{:?}", response.head);
        ensure!(client.all()?.is_empty(), "the connection goes on after 502");
        if way.node == "a" {
            ensure!(!response.head.values("l5d-proxy-error").is_empty(), "{:?}", response.head);
        }
        let (name, pod) = errors(way);
        let counted = [("pod", pod.as_str()), ("error", "i/o")];
        proxy.expect(name, &counted, 1.0)?;

        let client = way.connect2(server.port())?;
        let call = client.send(http2::grpc("origin.test", "/test.Service/Call"))?;
        ensure!(call.status == 200 && call.grpc_status() == Some(14), "the call got {call:?}");
        proxy.expect(name, &counted, 2.0)?;
        ensure!(server.accepted() == 2, "the application saw {} connections", server.accepted());
        Ok(())
    })
}

fn nobody_listens(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let proxy = mesh.proxy("a").watch()?;
        let target = way.server.at(mesh.unused_port());
        let mut client = Wire::new(way.client.connect(target)?);
        let response = wait::promptly("the answer", || ask(&mut client, "/", ""))??;
        ensure!(response.head.status() == 502, "{response:?}");
        let error = response.head.values("l5d-proxy-error").join(",");
        ensure!(error.contains(&target.to_string()), "l5d-proxy-error is {error:?}");
        let client = http2::Client::over(way.client.connect(target)?)?;
        let call = client.send(http2::grpc("origin.test", "/test.Service/Call"))?;
        ensure!(call.status == 200 && call.grpc_status() == Some(14), "the call got {call:?}");
        proxy.expect(
            "outbound_http_errors_total",
            &[("pod", "client"), ("error", "refused by endpoint")],
            2.0,
        )
    })
}

fn bad_request(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let origin = way.answering(|request| ok(request.head.target()))?;
        let server = way.http2(|_| Answer::http(200, "x"))?;
        let proxy = mesh.proxy("a").watch()?;
        let mut client = way.connect(origin.port())?;
        ask(&mut client, "/good", "")?;
        let refused = ask(&mut client, "/bad", "Host: another.test\r\n")?;
        ensure!(refused.head.status() == 400, "{refused:?}");
        ensure!(client.all()?.is_empty(), "the connection goes on after 400");
        ensure!(origin.requests().len() == 1, "the application received {:?}", origin.requests());

        let client = way.connect2(server.port())?;
        let contradiction = |mut request: http::Request<Vec<u8>>| -> Result<http2::Response> {
            request.headers_mut().insert("host", "another.test".parse()?);
            client.send(request)
        };
        let refused = contradiction(http2::get("origin.test", "/"))?;
        ensure!(refused.status == 400 && !refused.header("l5d-proxy-error").is_empty(), "{refused:?}");
        let refused = contradiction(http2::grpc("origin.test", "/test.Service/Call"))?;
        ensure!(refused.status == 200 && refused.grpc_status() == Some(13), "{refused:?}");
        ensure!(server.requests() == 0, "the application received a bad request");
        proxy.expect("outbound_http_errors_total", &[("pod", "client"), ("error", "bad request")], 3.0)?;
        mesh.proxy("a").log().expect_line(&["request failed", "client", "more than one Host header"])?;
        origin.no_failures()
    })
}

fn strangers(mesh: &Mesh) -> Result<()> {
    let plain = mesh.pod("plain-client");
    each_way(mesh, |way| {
        let server = way.serve(std::sync::Arc::new(|accepted| {
            let _ = RetryingReader(&accepted.stream).read(&mut [0; 4096]);
            Ok(())
        }))?;
        let mut client = way.connect_from(&plain, server.port())?;
        let broken = ask(&mut client, "/", "")?;
        ensure!(broken.head.status() == 502, "{broken:?}");
        only_l5d(&broken.head, &[])?;
        ensure!(broken.head.values("connection") == ["close"], "{:?}", broken.head);

        let origin = way.answering(|request| ok(request.head.target()))?;
        let mut client = way.connect_from(&plain, origin.port())?;
        let bad = ask(&mut client, "/", "Host: another.test\r\n")?;
        ensure!(bad.head.status() == 400, "{bad:?}");
        only_l5d(&bad.head, &[])?;

        let target = mesh.service(way.server.name()).at(server.port());
        let client = http2::Client::over(plain.connect(target)?)?;
        let call = client.send(http2::grpc("origin.test", "/test.Service/Call"))?;
        ensure!(call.status == 200 && call.grpc_status() == Some(14), "the call got {call:?}");
        let named: Vec<_> = call.headers.keys().map(http::HeaderName::as_str).collect();
        let inside = named.iter().any(|name| name.starts_with("l5d-") || *name == "grpc-message");
        ensure!(!inside, "the call got {:?}", call.headers);
        Ok(())
    })
}

fn endless_interims(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let origin = Origin::start(&way.server, mesh.unused_port(), |session| {
            session.request()?;
            // Until the proxy has had enough.
            while session.wire.send("HTTP/1.1 103 Early Hints\r\n\r\n").is_ok() {}
            Ok(())
        })?;
        let (source, destination) = (mesh.proxy("a").watch()?, mesh.proxy(way.node).watch()?);
        let response = ask(&mut way.connect(origin.port())?, "/", "")?;
        ensure!(response.head.status() == 502, "{response:?}");
        let failed = [("classification", "failure"), ("status_code", "502")];
        let outbound = [&[("direction", "outbound"), ("dst_pod", way.server.name())][..], &failed].concat();
        let inbound = [&[("direction", "inbound"), ("pod", way.server.name())][..], &failed].concat();
        source.expect("response_total", &outbound, 1.0)?;
        destination.expect("response_total", &inbound, 1.0)
    })
}

fn own_errors_only(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let origin = way.answering(|request| {
            let code = request.head.target().trim_start_matches('/');
            format!(
                "HTTP/1.1 {code} Own\r\nl5d-proxy-error: forged\r\nX-Own: 1\r\nContent-Length: 3\r\n\r\nown"
            )
            .into()
        })?;
        let mut client = way.connect(origin.port())?;
        for code in [502, 503, 504, 403] {
            let response = ask(&mut client, &format!("/{code}"), "")?;
            ensure!(response.head.status() == code && response.text() == "own", "{response:?}");
            ensure!(response.head.values("x-own") == ["1"], "{:?}", response.head);
            ensure!(response.head.values("l5d-proxy-error").is_empty(), "{:?}", response.head);
            ensure!(response.head.values("connection").is_empty(), "{:?}", response.head);
        }
        origin.no_failures()
    })
}

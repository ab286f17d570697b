//! Who may ask the dashboard, and what every answer has.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::json;

use crate::{
    http::send,
    process::{Options, Viz},
    shop,
};

fn viz(more: &[&str]) -> Viz {
    let more = more.iter().map(|&text| text.to_owned()).collect();
    Viz::start(Options { manifests: shop::MANIFESTS, more, ..Options::default() })
}

#[test]
fn other_hosts_are_refused_with_an_explanation() {
    let viz = viz(&[]);
    for path in ["/", "/api/version", "/assets/x.js"] {
        let answer = send(viz.address, "GET", path, &[("host", "evil.example")]);
        assert_eq!(answer.status, 400, "{path}");
        let json = answer.json();
        assert_eq!(json["error"]["code"], "host_not_allowed");
        let message = json["error"]["message"].as_str().unwrap();
        assert!(message.contains("'evil.example'") && message.contains("localhost"), "{message}");
    }
    let two = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(send(viz.address, "GET", "/api/version", &two).status, 400);
    let host = viz.address.to_string();
    assert_eq!(send(viz.address, "GET", "/api/version", &[("host", &host)]).status, 200);
}

#[test]
fn a_host_of_ones_own_can_be_allowed() {
    let viz = viz(&["--enforced-host", "^dashboard\\.example\\.org$"]);
    // What starts it asks with the Host localhost.
    let ask = |host: &str| send(viz.address, "GET", "/api/gateways", &[("host", host)]).status;
    assert_eq!(
        (ask("dashboard.example.org"), ask("dashboardxexample.org"), ask("localhost")),
        (200, 400, 400)
    );
}

#[test]
fn every_answer_has_the_security_headers_and_nothing_but_get_is_allowed() {
    let viz = viz(&[]);
    for (method, path, status) in [
        ("GET", "/", 200),
        ("GET", "/namespaces/shop/pods/a.js", 200),
        ("GET", "/assets/missing.js", 404),
        ("GET", "/api/version", 200),
        ("GET", "/api/missing", 404),
        ("POST", "/api/version", 405),
        ("DELETE", "/", 405),
        ("OPTIONS", "/api/version", 405),
    ] {
        let answer = send(viz.address, method, path, &[]);
        assert_eq!(answer.status, status, "{method} {path}");
        let policy = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
        assert_eq!(answer.header("content-security-policy"), Some(policy), "{method} {path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{method} {path}");
        }
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[test]
fn large_answers_are_compressed_and_none_is_stored() {
    let viz = viz(&[]);
    let answer = send(viz.address, "GET", "/api/tps-reports?type=pod", &[("accept-encoding", "gzip")]);
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(answer.body.as_slice()).read_to_string(&mut text).unwrap();
    assert!(text.contains("web-1"), "{text}");
    assert_eq!(viz.get("/api/tps-reports?type=pod").header("content-encoding"), None);
}

/// The first message of a WebSocket, or the status of a refusal.
fn tap(viz: &Viz, query: &str, origin: &str) -> Result<serde_json::Value, u16> {
    let mut stream = TcpStream::connect(viz.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!(
        "GET /api/tap?{query} HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let status: u16 = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap().parse().unwrap();
    if status != 101 {
        return Err(status);
    }
    let mut start = [0; 2];
    stream.read_exact(&mut start).unwrap();
    let length = match start[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            usize::from(u16::from_be_bytes(length))
        }
        short => usize::from(short),
    };
    let mut text = vec![0; length];
    stream.read_exact(&mut text).unwrap();
    Ok(serde_json::from_slice(&text).unwrap())
}

#[test]
fn a_tap_of_another_site_is_refused_and_mistakes_are_told_in_a_message() {
    let viz = viz(&[]);
    let query = "namespace=shop&type=deployment&name=web";
    assert_eq!(tap(&viz, query, "http://evil.example"), Err(403));
    assert_eq!(tap(&viz, query, "null"), Err(403));
    let message = tap(&viz, "namespace=shop", "http://localhost").unwrap();
    assert_eq!(message["type"], "error");
    assert_eq!(message["error"]["code"], "bad_request");
    assert!(message["error"]["message"].as_str().unwrap().contains("type"), "{message}");
    // This weft-viz has no proxies to tap.
    assert_eq!(tap(&viz, query, "").unwrap()["error"]["code"], json!("tap_disabled"));
}

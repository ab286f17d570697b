//! Prometheus is down, slow, or answers nonsense: the API says which, and what to do.

use std::time::Duration;

use crate::{
    http::{Server, answer},
    process::{Options, Viz},
    shop,
};

const CALL: &str = "/api/tps-reports?type=deployment";

fn viz_with(prometheus: &Server) -> Viz {
    Viz::start(Options {
        manifests: shop::MANIFESTS,
        prometheus: Some(format!("http://{}", prometheus.address)),
        ..Options::default()
    })
}

fn assert_unavailable(viz: &Viz, what: &str) {
    let (status, code, has_hint) = viz.error(CALL);
    assert_eq!((status, code.as_str(), has_hint), (503, "prometheus_unavailable", true), "{what}");
    // What does not need Prometheus still works.
    assert!(!viz.data("/api/resources").as_array().unwrap().is_empty());
    assert_eq!(viz.data("/api/version")["prometheus"]["available"], false, "{what}");
}

#[test]
fn one_that_is_down() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let viz = Viz::start(Options {
        manifests: shop::MANIFESTS,
        prometheus: Some(format!("http://{address}")),
        ..Options::default()
    });
    assert_unavailable(&viz, "down");
}

#[test]
fn one_that_lies() {
    let json = |body: &str| answer("200 OK", "application/json", body);
    for (what, bytes) in [
        ("HTML", answer("200 OK", "text/html", "<html><script>alert(1)</script></html>")),
        ("no JSON", json("{\"status\":\"success\",\"data\":")),
        (
            "other JSON",
            json("{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":5}]}}"),
        ),
        (
            "an error",
            answer(
                "500 Internal Server Error",
                "application/json",
                "{\"status\":\"error\",\"error\":\"boom\"}",
            ),
        ),
        ("nothing", Vec::new()),
        ("no HTTP", b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()),
    ] {
        let prometheus = Server::start(move |_| bytes.clone());
        assert_unavailable(&viz_with(&prometheus), what);
    }
}

#[test]
fn one_whose_answer_does_not_end() {
    let prometheus = Server::start(|_| {
        let body = format!("{{\"status\":\"success\",\"data\":\"{}\"}}", "x".repeat(33 * 1024 * 1024));
        answer("200 OK", "application/json", &body)
    });
    assert_unavailable(&viz_with(&prometheus), "33 MiB");
}

#[test]
fn one_that_is_slow() {
    let prometheus = Server::start(|_| {
        std::thread::sleep(Duration::from_secs(30));
        Vec::new()
    });
    let (status, code, has_hint) = viz_with(&prometheus).error(CALL);
    assert_eq!((status, code.as_str(), has_hint), (504, "timeout", true));
}

#[test]
fn ten_who_ask_at_once_cost_what_one_does() {
    let prometheus = Server::start(|_| {
        // All ten ask while the first answer is awaited.
        std::thread::sleep(Duration::from_millis(1500));
        answer(
            "200 OK",
            "application/json",
            "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[]}}",
        )
    });
    let viz = viz_with(&prometheus);
    // In the middle of a second, so that all ask for the same one.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    std::thread::sleep(Duration::from_millis(u64::from(1100 - now.subsec_millis())));
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| viz.data(CALL));
        }
    });
    // Counts, three quantiles, connections, and two directions of bytes.
    assert_eq!(prometheus.asked(), 7);
}

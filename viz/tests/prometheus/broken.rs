//! Prometheus is down, slow, or answers nonsense: the API says which, and what to do.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
fn ten_dashboards_that_ask_at_different_times_cost_what_one_does() {
    let prometheus = Server::start(|_| {
        answer(
            "200 OK",
            "application/json",
            "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[]}}",
        )
    });
    let viz = Viz::start(Options {
        manifests: shop::MANIFESTS,
        prometheus: Some(format!("http://{}", prometheus.address)),
        scrape_interval: Some("10s"),
        ..Options::default()
    });
    // Dashboards ask every five seconds: this is one round of all of them.
    let round = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let begin = Duration::from_secs((now.as_secs() / 5 + 1) * 5) + Duration::from_millis(100);
        std::thread::sleep(begin - now);
        let before = prometheus.asked();
        std::thread::scope(|scope| {
            for number in [0, 7, 3, 9, 1, 4, 8, 2, 6, 5] {
                let viz = &viz;
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(450 * number));
                    viz.data(CALL);
                    viz.data("/api/version");
                });
            }
        });
        prometheus.asked() - before
    };
    // Counts, three quantiles, connections, two directions of bytes, what is known and when the proxies have started, the
    // last scrapes. Every five seconds, whether Prometheus answers. How long it keeps figures was asked when weft-viz
    // started, or in the first round.
    let first = round();
    assert!(first <= 12, "{first}");
    let second = round();
    assert!((10..=11).contains(&second), "{second}");
}

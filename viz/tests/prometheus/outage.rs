//! Prometheus goes away and comes back: the proxies answer in its place, and every answer says so.

use serde_json::Value;

use crate::{
    exporter::Exporter,
    http::{Server, answer},
    process::{Options, Prometheus, Viz, wait_for},
    shop,
};

const CALL: &str = "/api/tps-reports?type=deployment&window=1h";

fn proxy() -> Exporter {
    let exporter = Exporter::start();
    exporter.set_metrics(shop::page(0.0));
    exporter.set_config(shop::CONFIG);
    exporter.set_worst(shop::WORST);
    exporter
}

fn viz_with(prometheus: std::net::SocketAddr, proxy: &Exporter) -> Viz {
    Viz::start(Options {
        manifests: shop::MANIFESTS,
        prometheus: Some(format!("http://{prometheus}")),
        proxy: Some(proxy.address()),
        ..Options::default()
    })
}

/// A successful answer.
fn ask(viz: &Viz) -> Value {
    let answer = viz.get(CALL);
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()
}

fn source(answer: &Value) -> &str {
    answer["meta"]["source"].as_str().unwrap()
}

/// What the answer says of Prometheus.
fn warning(answer: &Value) -> Option<&str> {
    let mut all = answer["meta"]["warnings"].as_array().unwrap().iter();
    let found = all.find(|warning| warning["code"] == "prometheus_unavailable");
    found.map(|warning| warning["message"].as_str().unwrap())
}

fn success_rate(answer: &Value) -> Option<f64> {
    let rows = answer["data"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == "web").unwrap()["http"]["successRate"].as_f64()
}

#[test]
fn while_prometheus_is_down_the_proxies_answer_and_then_it_is_used_again() {
    let proxy = proxy();
    let mut prometheus = Prometheus::start(proxy.address());
    let viz = viz_with(prometheus.address, &proxy);
    let before = ask(&viz);
    assert_eq!((source(&before), &before["meta"]["window"]), ("prometheus", &Value::from("1h")));

    prometheus.stop();
    // For some seconds, what Prometheus said is still known. No answer fails meanwhile.
    wait_for("the proxies", || source(&ask(&viz)) == "proxies");
    let down = ask(&viz);
    assert_eq!(down["meta"]["window"], "1m");
    let text = warning(&down).unwrap();
    let name = format!("Prometheus at http://{} does not answer", prometheus.address);
    assert!(text.starts_with(&name) && text.contains("last minute, read from the proxies"), "{text}");
    assert_eq!(viz.data("/api/version")["prometheus"]["available"], false);
    let checks = viz.data("/api/check").to_string();
    assert!(checks.contains(&name), "{checks}");
    proxy.set_metrics(shop::page(1.0));
    wait_for("figures of the traffic", || success_rate(&ask(&viz)).is_some());
    assert!((success_rate(&ask(&viz)).unwrap() - shop::WEB_RATE).abs() < 1e-6);
    for call in ["overview", "topology", "edges", "nodes", "resource/shop/deployment/web"] {
        let answer = viz.get(&format!("/api/{call}"));
        assert_eq!((answer.status, source(&answer.json())), (200, "proxies"), "{call}");
        assert!(warning(&answer.json()).is_some(), "{call}");
    }

    prometheus.start_again();
    wait_for("Prometheus' figures", || source(&ask(&viz)) == "prometheus");
    let again = ask(&viz);
    assert_eq!((warning(&again), &again["meta"]["window"]), (None, &Value::from("1h")));
    assert_eq!(viz.data("/api/version")["prometheus"]["available"], true);
}

#[test]
fn a_prometheus_that_hangs_is_replaced_too() {
    let proxy = proxy();
    let prometheus = Prometheus::start(proxy.address());
    let viz = viz_with(prometheus.address, &proxy);
    assert_eq!(source(&ask(&viz)), "prometheus");
    prometheus.signal("STOP");
    let hanging = ask(&viz);
    // What was asked a moment ago may still be known.
    if source(&hanging) == "prometheus" {
        wait_for("the proxies", || source(&ask(&viz)) == "proxies");
    }
    assert!(warning(&ask(&viz)).unwrap().contains("took longer than 3 s"));
    prometheus.signal("CONT");
    wait_for("Prometheus", || source(&ask(&viz)) == "prometheus");
}

#[test]
fn one_that_answers_nonsense_is_replaced_and_one_that_refuses_a_single_question_is_not() {
    let proxy = proxy();
    let nonsense = Server::start(|_| answer("200 OK", "text/html", "<html>hello</html>"));
    let viz = viz_with(nonsense.address, &proxy);
    let replaced = ask(&viz);
    assert_eq!(source(&replaced), "proxies");
    assert!(warning(&replaced).unwrap().contains("not of its API"));

    let picky = Server::start(|path| match path.contains("response_total") {
        true => {
            answer("422 Unprocessable Entity", "application/json", r#"{"status":"error","error":"too many"}"#)
        }
        false => answer(
            "200 OK",
            "application/json",
            r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#,
        ),
    });
    let viz = viz_with(picky.address, &proxy);
    assert_eq!(viz.error(CALL), (503, "prometheus_unavailable".to_owned(), true));
    assert_eq!(viz.data("/api/version")["prometheus"]["available"], true);
}

//! Counters whose series begin with their first events.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::{
    exporter::Exporter,
    process::{Options, Prometheus, Viz, wait_for},
    shop,
};

/// Short ones: none is open when the proxy is scraped.
const PLAINTEXT: &str = "tcp_open_total{direction=\"outbound\",peer=\"dst\",namespace=\"shop\",pod=\"bot\",deployment=\"bot\",\
                         tls=\"no_identity\",no_tls_reason=\"port_skipped\",dst_namespace=\"shop\",dst_pod=\"web-1\",\
                         dst_deployment=\"web\"} 3\n";
/// Counted by a proxy long before Prometheus knew it.
const OLD: &str = "response_total{direction=\"inbound\",namespace=\"shop\",pod=\"store-0\",statefulset=\"store\",\
                   classification=\"success\"} 1000000\n";
const FAILED: &str = "response_total{direction=\"inbound\",namespace=\"shop\",pod=\"web-1\",deployment=\"web\",\
                      classification=\"failure\"} 3\n";
const DENIED: &str = "inbound_http_authz_deny_total{direction=\"inbound\",namespace=\"shop\",pod=\"web-1\",\
                      deployment=\"web\",srv_kind=\"server\",srv_name=\"web-http\"} 3\n";

/// At a port that is not HTTP.
const CONNECTIONS: &str = "inbound_tcp_authz_allow_total{direction=\"inbound\",namespace=\"shop\",pod=\"web-1\",\
                           deployment=\"web\",srv_kind=\"server\",srv_name=\"web-tcp\",authz_kind=\"authorizationpolicy\",\
                           authz_name=\"web-clients\"} 5\n\
                           inbound_tcp_authz_deny_total{direction=\"inbound\",namespace=\"shop\",pod=\"web-1\",\
                           deployment=\"web\",srv_kind=\"server\",srv_name=\"web-tcp\"} 2\n";

fn viz_of(exporter: &Exporter, prometheus: &Prometheus) -> Viz {
    Viz::start(Options {
        manifests: shop::MANIFESTS,
        prometheus: Some(format!("http://{}", prometheus.address)),
        proxy: Some(exporter.address()),
        ..Options::default()
    })
}

fn started(at: u64) -> String {
    format!("process_start_time_seconds {at}\n")
}

/// The requests of a workload within the last minute.
fn requests(viz: &Viz, kind: &str, name: &str) -> Value {
    viz.data(&format!("/api/tps-reports?type={kind}&namespace=shop&name={name}"))[0]["http"]["requests"]
        .clone()
}

#[test]
fn the_first_events_of_a_proxy_that_has_just_started_are_counted() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let exporter = Exporter::start();
    exporter.set_metrics(started(now) + FAILED + DENIED + CONNECTIONS + PLAINTEXT);
    let prometheus = Prometheus::start(exporter.address());
    let viz = viz_of(&exporter, &prometheus);
    wait_for("the failures", || !requests(&viz, "deployment", "web").is_null());
    assert_eq!(requests(&viz, "deployment", "web"), json!(3.0));
    let age = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - now as f64;
    let before = age();
    let rows = viz.data("/api/authz?namespace=shop&type=deployment&name=web");
    let named =
        |server: &'static str| rows.as_array().unwrap().iter().filter(move |row| row["server"] == server);
    let denied = named("web-http").next().unwrap();
    // Their rate is that of the time since the proxy has started, in full seconds, and of a minute at most.
    let seconds = 3.0 / denied["deniedRps"].as_f64().unwrap();
    assert!(seconds > (before - 2.0).min(58.0) && seconds < age().min(60.0) + 0.1, "{seconds} s: {denied}");
    let connections: Vec<_> =
        named("web-tcp").map(|row| (&row["authorization"], &row["connections"])).collect();
    let expected = [(Value::Null, json!(2.0)), (json!("authorizationpolicy/web-clients"), json!(5.0))];
    assert_eq!(connections, expected.iter().map(|(name, count)| (name, count)).collect::<Vec<_>>(), "{rows}");
    let problems = viz.data("/api/overview")["problems"].clone();
    let of = |kind: &str| problems.as_array().unwrap().iter().find(|problem| problem["kind"] == kind);
    assert!(of("denied").is_some(), "{problems}");
    let plaintext = of("plaintext").unwrap_or_else(|| panic!("{problems}"));
    assert_eq!((&plaintext["source"]["name"], &plaintext["connections"]), (&json!("bot"), &json!(3.0)));
}

#[test]
fn only_what_began_while_its_proxy_was_watched_counts_from_its_first_value() {
    let exporter = Exporter::start();
    exporter.set_metrics(started(1_700_000_000) + OLD);
    let prometheus = Prometheus::start(exporter.address());
    let viz = viz_of(&exporter, &prometheus);
    let course = |kind: &str, name: &str| {
        viz.data(&format!("/api/timeseries?namespace=shop&type={kind}&name={name}&window=1m"))["rps"].clone()
    };
    let has_values = |course: Value| course.as_array().unwrap().iter().any(Value::is_number);
    let scraped = || viz.data("/api/nodes")[0]["proxy"]["lastScrapeAt"].is_number();
    wait_for("the first scrape", scraped);
    // A value of the course covers fewer seconds than this.
    std::thread::sleep(std::time::Duration::from_secs(8));
    exporter.set_metrics(started(1_700_000_000) + OLD + FAILED);
    wait_for("the failures", || has_values(course("deployment", "web")));
    assert!(!has_values(course("statefulset", "store")), "{}", course("statefulset", "store"));
    assert_eq!(requests(&viz, "statefulset", "store"), Value::Null);
}

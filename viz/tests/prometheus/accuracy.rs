//! The figures of the API are those that were counted, whoever is asked.

use std::{
    sync::{Arc, Weak},
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    exporter::Exporter,
    http::get,
    process::{Options, Prometheus, Viz, wait_for},
    shop,
};

/// Prometheus extrapolates to the ends of the window, which is ten minutes here: the tests have time.
pub(crate) const TOLERANCE: f64 = 0.15;

pub(crate) struct World {
    _exporter: Exporter,
    _prometheus: Prometheus,
    pub(crate) viz: Viz,
    /// The time of the first scrape: nothing is known of before.
    began: f64,
    /// Problems are those of the last minute, so this is asked for at once.
    overview: Value,
    /// How many seconds were known then.
    overview_age: f64,
}

impl World {
    /// For how many seconds there are figures.
    pub(crate) fn age(&self) -> f64 {
        now() - self.began
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// The tests that run at the same time share a world. It ends with the last of them.
pub(crate) fn world() -> Arc<World> {
    static WORLD: Mutex<Weak<World>> = Mutex::new(Weak::new());
    let mut current = WORLD.lock();
    current.upgrade().unwrap_or_else(|| {
        let world = Arc::new(start());
        *current = Arc::downgrade(&world);
        world
    })
}

/// All traffic happens between two scrapes, about ten seconds after the first one.
fn start() -> World {
    let exporter = shop_exporter();
    let prometheus = Prometheus::start(exporter.address());
    let count = || {
        let path = "/api/v1/query?query=count_over_time(response_total%7Bpod%3D%22store-0%22%2Cclassification%3D%22success%22%7D%5B1m%5D)";
        let json = get(prometheus.address, path).json();
        json["data"]["result"][0]["value"][1].as_str().and_then(|text| text.parse::<u32>().ok()).unwrap_or(0)
    };
    wait_for("ten scrapes", || count() >= 10);
    exporter.set_metrics(shop::page(1.0));
    let before = count();
    wait_for("scrapes of the traffic", || count() >= before + 5);
    let viz = Viz::start(Options {
        manifests: shop::MANIFESTS,
        prometheus: Some(format!("http://{}", prometheus.address)),
        proxy: Some(exporter.address()),
        ..Options::default()
    });
    let path = "/api/v1/query?query=min_over_time(timestamp(process_start_time_seconds)%5B10m%3A1s%5D)";
    let first = get(prometheus.address, path).json();
    let began = first["data"]["result"][0]["value"][1].as_str().unwrap().parse().unwrap();
    let (overview_age, overview) = (now() - began, viz.data("/api/overview"));
    World { _exporter: exporter, _prometheus: prometheus, viz, began, overview, overview_age }
}

fn shop_exporter() -> Exporter {
    let exporter = Exporter::start();
    exporter.set_metrics(shop::page(0.0));
    exporter.set_config(shop::CONFIG);
    exporter.set_worst(shop::WORST);
    exporter
}

pub(crate) fn find<'a>(rows: &'a Value, name: &str) -> &'a Value {
    let rows_list = rows.as_array().unwrap();
    rows_list.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name} in {rows}"))
}

/// Compares figures with what was counted. Ratios and percentiles are exact.
fn assert_http(http: &Value, (ok, failed): (u64, u64)) {
    let (total, failed) = ((ok + failed) as f64, failed as f64);
    let number = |name: &str| http[name].as_f64().unwrap_or_else(|| panic!("{name} in {http}"));
    assert!((number("requests") / total - 1.0).abs() < TOLERANCE, "{total} requests: {http}");
    assert!((number("successRate") - (1.0 - failed / total)).abs() < 1e-6, "{http}");
    let latency = |name: &str| http["latencyMs"][name].as_f64().unwrap();
    assert!((latency("p50") - shop::P50).abs() < 0.01, "{http}");
    assert!((latency("p95") - shop::P95).abs() < 0.01, "{http}");
}

fn sum(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
    (a.0 + b.0, a.1 + b.1)
}

#[test]
fn figures_agree_per_pod_per_owner_per_service_and_per_namespace() {
    let world = world();
    let viz = &world.viz;
    let all_web = sum(shop::WEB_1, shop::WEB_2);
    let pods = viz.data("/api/tps-reports?type=pod&namespace=shop&window=10m");
    assert_http(&find(&pods, "web-1")["http"], shop::WEB_1);
    assert_http(&find(&pods, "web-2")["http"], shop::WEB_2);
    assert_eq!(find(&pods, "alone")["http"], Value::Null);
    let deployments = viz.data("/api/tps-reports?type=deployment&window=10m");
    assert_http(&find(&deployments, "web")["http"], all_web);
    assert_eq!(find(&deployments, "web")["pods"], json!({ "meshed": 2, "running": 2, "failed": 0 }));
    assert_eq!(find(&deployments, "web")["status"], "2/2 ready");
    assert_eq!(find(&deployments, "web")["tcp"]["openConnections"], 4.0);
    let service = viz.data("/api/tps-reports?type=service&namespace=shop&name=web-svc&window=10m");
    assert_http(&service[0]["http"], all_web);
    assert_eq!(service[0]["pods"], Value::Null);
    let namespaces = viz.data("/api/tps-reports?type=namespace&window=10m");
    assert_http(&find(&namespaces, "shop")["http"], sum(all_web, shop::STORE));
}

#[test]
fn traffic_between_two_resources_is_what_its_source_saw() {
    let world = world();
    let viz = &world.viz;
    let to = viz
        .data("/api/tps-reports?type=deployment&to_namespace=shop&to_type=deployment&to_name=web&window=10m");
    assert_eq!(to.as_array().unwrap().len(), 1, "{to}");
    assert_http(&find(&to, "bot")["http"], sum(shop::WEB_1, shop::WEB_2));
    let from = viz.data(
        "/api/tps-reports?type=statefulset&from_namespace=shop&from_type=deployment&from_name=web&window=10m",
    );
    assert_http(&find(&from, "store")["http"], shop::STORE);
}

#[test]
fn what_was_sent_is_known_by_service_and_by_backend() {
    let world = world();
    let sent = world.viz.data("/api/outbound?namespace=shop&type=deployment&name=bot&window=10m");
    assert_eq!(sent.as_array().unwrap().len(), 1, "{sent}");
    assert_eq!(
        (&sent[0]["service"]["name"], &sent[0]["backend"]["name"]),
        (&json!("web-svc"), &json!("web"))
    );
    assert_http(&sent[0]["http"], sum(shop::WEB_1, shop::WEB_2));
    assert_eq!(sent[0]["tcp"]["openConnections"], 3.0);
    let service = world.viz.data("/api/outbound?namespace=shop&type=service&name=web-svc&window=10m");
    assert_eq!(service, json!([]), "a service sends nothing");
}

#[test]
fn routes_name_services_as_they_are_called_in_their_namespace() {
    let world = world();
    for resource in [
        "type=service&name=web-svc",
        "type=deployment&name=bot&to_namespace=shop&to_type=service&to_name=web-svc",
    ] {
        let routes = world.viz.data(&format!("/api/routes?namespace=shop&{resource}&window=10m"));
        assert_eq!(routes.as_array().unwrap().len(), 1, "{routes}");
        assert_eq!(routes[0]["service"], "web-svc");
        assert_http(&routes[0]["http"], sum(shop::WEB_1, shop::WEB_2));
    }
}

#[test]
fn the_map_has_an_edge_for_every_pair_and_its_worst_protection() {
    let world = world();
    let map = world.viz.data("/api/topology?namespace=shop&window=10m");
    let edges = map["edges"].as_array().unwrap();
    let mut found: Vec<_> = edges
        .iter()
        .map(|edge| (edge["id"].as_str().unwrap(), edge["secured"]["state"].as_str().unwrap()))
        .collect();
    found.sort_unstable();
    let expected = [
        ("outside>shop/deployment/web", "plaintext"),
        ("shop/deployment/bot>shop/deployment/web", "same_node"),
        ("shop/deployment/web>shop/statefulset/store", "mtls"),
        // The destination sees this one too, as from outside; it is only one.
        ("shop/pod/alone>shop/statefulset/store", "plaintext"),
    ];
    assert_eq!(found, expected);
    let edge = edges.iter().find(|edge| edge["id"] == expected[1].0).unwrap();
    assert_http(&edge["http"], sum(shop::WEB_1, shop::WEB_2));
    assert_eq!(edge["tcp"]["openConnections"], 3.0);
    let nodes = map["nodes"].as_array().unwrap();
    let mut ids: Vec<_> = nodes.iter().map(|node| node["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(
        ids,
        ["outside", "shop/deployment/bot", "shop/deployment/web", "shop/pod/alone", "shop/statefulset/store"]
    );
}

#[test]
fn edges_name_both_identities() {
    let world = world();
    let edges = world.viz.data("/api/edges?namespace=shop&type=deployment&name=web&window=10m");
    let to_store =
        edges.as_array().unwrap().iter().find(|edge| edge["destination"]["name"] == "store").unwrap();
    assert_eq!(to_store["clientId"], "web.shop.serviceaccount.identity.linkerd.cluster.local");
    assert_eq!(to_store["serverId"], "store.shop.serviceaccount.identity.linkerd.cluster.local");
    assert_eq!(to_store["secured"], json!({ "state": "mtls" }));
    assert_eq!(to_store["openConnections"], 3.0);
}

#[test]
fn problems_are_found_and_the_worst_comes_first() {
    let world = world();
    let overview = &world.overview;
    let problems = overview["problems"].as_array().unwrap();
    let kinds: Vec<_> = problems.iter().map(|problem| problem["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[0], "success-rate", "{kinds:?}");
    let web = &problems[0];
    assert_eq!((&web["severity"], &web["resource"]["name"]), (&json!("critical"), &json!("web")));
    assert_eq!(web["worst"], json!({ "method": "GET", "path": "/buy", "requests": 90, "failures": 72 }));
    let of = |kind: &str| problems.iter().find(|problem| problem["kind"] == kind).unwrap();
    let plaintext = of("plaintext");
    assert_eq!(plaintext["source"]["name"], "alone");
    assert_eq!(plaintext["reason"], "not_provided_by_service_discovery");
    let denied = of("denied");
    assert_eq!((&denied["resource"]["name"], &denied["source"]["name"]), (&json!("store"), &json!("bot")));
    let refused = of("pod-not-served");
    assert_eq!(refused["reason"], "its namespace cannot be found");
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    // One of the seven connections between meshed pods is in plaintext, and four come from outside.
    assert_eq!(
        overview["totals"]["secured"],
        json!({ "connections": 6.0, "total": 7.0, "plaintextFromOutside": 4.0 })
    );
    let count = denied["rps"].as_f64().unwrap() * world.overview_age.min(60.0);
    assert!((count / shop::DENIED - 1.0).abs() < 2.0 * TOLERANCE, "{denied} after {} s", world.overview_age);
}

#[test]
fn a_resource_shows_its_neighbours_pods_and_failing_paths() {
    let world = world();
    let detail = world.viz.data("/api/resource/shop/deployment/web?window=10m");
    assert_http(&detail["row"]["http"], sum(shop::WEB_1, shop::WEB_2));
    assert_http(&find(&detail["inbound"], "bot")["http"], sum(shop::WEB_1, shop::WEB_2));
    assert_http(&find(&detail["outbound"], "store")["http"], shop::STORE);
    assert_eq!(detail["pods"].as_array().unwrap().len(), 2);
    assert_eq!(find(&detail["pods"], "web-1")["proxy"]["state"], "served");
    assert_eq!(detail["worst"][0]["path"], "/buy");
    assert_eq!(detail["identities"], json!(["web.shop.serviceaccount.identity.linkerd.cluster.local"]));
    assert_eq!(detail["labels"]["app"], "web");
    let (status, code, has_hint) = world.viz.error("/api/resource/shop/deployment/absent");
    assert_eq!((status, code.as_str(), has_hint), (404, "not_found", true));
}

/// The success rates that a small chart shows, if it has requests at the same times.
fn rates_of(row: &Value) -> Vec<f64> {
    let known = |name: &str| -> Vec<_> {
        row["spark"][name].as_array().into_iter().flatten().map(Value::as_f64).collect()
    };
    let (rates, rps) = (known("successRate"), known("rps"));
    assert!(rates.iter().zip(&rps).all(|(rate, rps)| rate.is_some() == rps.is_some()), "{row}");
    rates.into_iter().flatten().collect()
}

#[test]
fn pods_neighbours_and_routes_have_small_charts_if_they_are_asked_for() {
    let world = world();
    let about = |rate: f64, row: &Value| {
        let rates = rates_of(row);
        assert!(!rates.is_empty() && rates.iter().all(|found| (found - rate).abs() < 1e-6), "{row}");
    };
    let detail = || world.viz.data("/api/resource/shop/deployment/web?window=10m");
    // The last value is for a time a few seconds ago.
    wait_for("a value of the traffic", || !rates_of(find(&detail()["pods"], "web-1")).is_empty());
    let detail = detail();
    about(shop::WEB_RATE, find(&detail["pods"], "web-1"));
    about(shop::WEB_RATE, find(&detail["inbound"], "bot"));
    about(1.0, find(&detail["outbound"], "store"));
    let web = "namespace=shop&type=deployment&name=web&window=10m";
    let inbound = world.viz.data(&format!("/api/routes?{web}&spark=true"));
    about(shop::WEB_RATE, &inbound[0]);
    assert_http(&inbound[0]["http"], sum(shop::WEB_1, shop::WEB_2));
    let to = "to_namespace=shop&to_type=statefulset&to_name=store";
    let outbound = world.viz.data(&format!("/api/routes?{web}&{to}&spark=true"));
    about(1.0, &outbound[0]);
    let pods = world.viz.data("/api/pods?namespace=shop&window=10m&spark=true");
    about(shop::WEB_RATE, find(&pods, "web-2"));
    // They cost range queries, and so nothing has them unasked.
    for call in ["pods?namespace=shop".to_owned(), format!("routes?{web}")] {
        let rows = world.viz.data(&format!("/api/{call}"));
        assert!(rows.as_array().unwrap().iter().all(|row| row["spark"].is_null()), "{call}");
    }
}

#[test]
fn nodes_tell_of_their_proxies() {
    let world = world();
    let nodes = world.viz.data("/api/nodes");
    let proxy = &nodes[0]["proxy"];
    assert_eq!((&nodes[0]["name"], &proxy["state"]), (&json!("n"), &json!("ready")), "{proxy}");
    assert_eq!((&proxy["version"], &proxy["connections"]), (&json!("1.2.3"), &json!(7.0)));
}

#[test]
fn a_series_covers_the_window_and_has_a_value_for_the_traffic() {
    let world = world();
    let ask = || world.viz.data("/api/timeseries?namespace=shop&type=deployment&name=web&window=10m");
    let known = |series: &Value| -> Vec<f64> {
        series["successRate"].as_array().unwrap().iter().filter_map(Value::as_f64).collect()
    };
    // The last value is for a time a few seconds ago.
    wait_for("a value of the traffic", || !known(&ask()).is_empty());
    let series = ask();
    let rates = series["successRate"].as_array().unwrap();
    assert!((rates.len() as f64 * series["step"].as_f64().unwrap()) >= 600.0 && rates.len() <= 120);
    let known = known(&series);
    assert!(known.iter().all(|rate| (rate - shop::WEB_RATE).abs() < 1e-6), "{known:?}");
}

#[test]
fn without_prometheus_the_proxies_say_the_same_of_the_last_minute() {
    let exporter = shop_exporter();
    let viz = Viz::start(Options {
        manifests: shop::MANIFESTS,
        proxy: Some(exporter.address()),
        ..Options::default()
    });
    let web = || find(&viz.data("/api/tps-reports?type=deployment&window=10m"), "web").clone();
    wait_for("the first scrape", || web()["tcp"]["openConnections"] == 4.0);
    exporter.set_metrics(shop::page(1.0));
    wait_for("the second scrape", || web()["http"] != Value::Null);
    let answer = viz.get("/api/tps-reports?type=deployment&window=1h").json();
    assert_eq!((&answer["meta"]["source"], &answer["meta"]["window"]), (&json!("proxies"), &json!("1m")));
    let http = web()["http"].clone();
    assert!((http["successRate"].as_f64().unwrap() - shop::WEB_RATE).abs() < 1e-6, "{http}");
    assert!((http["latencyMs"]["p50"].as_f64().unwrap() - shop::P50).abs() < 0.01, "{http}");
    let map = viz.data("/api/topology");
    assert_eq!(map["edges"].as_array().unwrap().len(), 4, "{map}");
    let rows = viz.data("/api/authz?namespace=shop&type=statefulset&name=store");
    let row = rows.as_array().unwrap().iter().find(|row| row["server"] == "store-tcp").unwrap();
    assert_eq!(row["connections"], shop::CONNECTIONS, "{row}");
    assert_eq!(viz.data("/api/version")["prometheus"]["available"], false);
}

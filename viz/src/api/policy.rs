//! `/api/policy-reports`: figures of Servers and of the authorizations that let clients in to them.

use std::{collections::BTreeMap, sync::Arc};

use weft_api::viz::{Failure, HttpStats, LatencyMs, PolicyRow, PolicyType};

use super::{
    App, Ask,
    ask::{bad_request, given},
};
use crate::{
    figures::Span,
    query::{Direction, Filter, Kind, Labels, Query, Sample, get},
};

const SERVER: [&str; 3] = ["namespace", "srv_kind", "srv_name"];
const AUTHORIZATION: [&str; 2] = ["authz_kind", "authz_name"];
/// Of connections that are not read as HTTP.
const ALLOWED_CONNECTIONS: &str = "inbound_tcp_authz_allow_total";

/// A Server, by namespace and name.
type Key = (String, String);

/// What is known of a Server.
#[derive(Default)]
struct Server {
    requests: f64,
    failures: f64,
    denied: f64,
    open: f64,
    connections: f64,
    latency: LatencyMs,
}

pub(crate) async fn policy_reports(_: Arc<App>, ask: Arc<Ask>) -> Result<Vec<PolicyRow>, Failure> {
    let kind = given(&ask.params.kind).ok_or_else(|| bad_request("type is missing: a kind of policies."))?;
    let kind = PolicyType::of(&kind).ok_or_else(|| {
        let known = PolicyType::ALL.map(PolicyType::as_str).join(", ");
        bad_request(format!("type: {kind:?} is no kind of policies; use one of {known}."))
    })?;
    let servers = servers(&ask).await?;
    let rows = match kind {
        PolicyType::Server => servers.iter().map(|(key, server)| of_server(&ask, key, server)).collect(),
        _ => authorizations(&ask, kind, &servers).await?,
    };
    let name = given(&ask.params.name);
    Ok(rows.into_iter().filter(|row| name.as_ref().is_none_or(|name| row.name == *name)).collect())
}

/// The Servers that had traffic, denied or not.
async fn servers(ask: &Ask) -> Result<BTreeMap<Key, Server>, Failure> {
    let seconds = ask.window.length().as_secs();
    let increase = Kind::Increase(seconds);
    let run = |metric, kind, more: Vec<Filter>, by: &[&'static str]| {
        let query =
            Query::new(metric, kind).filters(filters(ask)).filters(more).by(SERVER).by(by.iter().copied());
        async move { ask.figures.instant(&query, ask.at).await }
    };
    let inbound = || vec![Direction::Inbound.filter()];
    let from_clients = vec![Direction::Inbound.filter(), Direction::Inbound.peer()];
    let quantiles = [50, 95, 99]
        .map(|percent| run("response_latency_ms", Kind::Quantile(percent, seconds), inbound(), &[]));
    let (responses, denied, denied_connections, allowed_connections, open, quantiles) = futures::try_join!(
        run("response_total", increase, inbound(), &["classification"]),
        run("inbound_http_authz_deny_total", increase, Vec::new(), &[]),
        run("inbound_tcp_authz_deny_total", increase, Vec::new(), &[]),
        run(ALLOWED_CONNECTIONS, increase, Vec::new(), &[]),
        run("tcp_open_connections", Kind::Sum, from_clients, &[]),
        futures::future::try_join_all(quantiles),
    )?;
    let mut servers = BTreeMap::<Key, Server>::new();
    let mut add = |samples: &[Sample], put: &dyn Fn(&mut Server, &Sample)| {
        for sample in samples.iter().filter(|sample| sample.value > 0.0) {
            put(servers.entry(key(&sample.labels)).or_default(), sample);
        }
    };
    add(&responses, &|server, sample| {
        server.requests += sample.value;
        server.failures +=
            if get(&sample.labels, "classification") == "failure" { sample.value } else { 0.0 };
    });
    add(&denied, &|server, sample| server.denied += sample.value);
    add(&denied_connections, &|server, sample| server.denied += sample.value);
    add(&allowed_connections, &|server, sample| server.connections += sample.value);
    add(&open, &|server, sample| server.open += sample.value);
    for (index, samples) in quantiles.iter().enumerate() {
        add(samples, &|server, sample| match index {
            0 => server.latency.p50 = Some(sample.value),
            1 => server.latency.p95 = Some(sample.value),
            _ => server.latency.p99 = Some(sample.value),
        });
    }
    Ok(servers)
}

fn of_server(ask: &Ask, (namespace, name): &Key, server: &Server) -> PolicyRow {
    let seconds = ask.span().covered;
    let has_requests = server.requests > 0.0;
    PolicyRow {
        kind: PolicyType::Server,
        namespace: namespace.clone(),
        name: name.clone(),
        server: None,
        denied_rps: Some(server.denied / seconds),
        http: has_requests.then(|| HttpStats::of(server.requests, server.failures, seconds, server.latency)),
        open_connections: Some(server.open.round()),
        connections: server.connections.round(),
    }
}

/// Responses are known by Server, not by what allowed them: each authorization has its share of requests.
async fn authorizations(
    ask: &Ask,
    kind: PolicyType,
    servers: &BTreeMap<Key, Server>,
) -> Result<Vec<PolicyRow>, Failure> {
    let Span { seconds, covered, .. } = ask.span();
    let run = |metric| {
        let query = Query::new(metric, Kind::Increase(seconds))
            .filters(filters(ask))
            .filter(Filter::is("authz_kind", kind.as_str()))
            .by(SERVER)
            .by(AUTHORIZATION);
        async move { ask.figures.instant(&query, ask.at).await }
    };
    let (requests, connections) =
        futures::try_join!(run("inbound_http_authz_allow_total"), run(ALLOWED_CONNECTIONS))?;
    // By Server and authorization: requests and connections.
    let mut allowed = BTreeMap::<(Key, String), [f64; 2]>::new();
    for (at, samples) in [requests, connections].iter().enumerate() {
        for sample in samples.iter().filter(|sample| sample.value > 0.0) {
            let name = get(&sample.labels, "authz_name").to_owned();
            allowed.entry((key(&sample.labels), name)).or_default()[at] += sample.value;
        }
    }
    let row = |((key, name), [requests, connections]): ((Key, String), [f64; 2])| {
        let failing = servers.get(&key).filter(|server| server.requests > 0.0);
        let (share, latency) = failing.map_or((0.0, LatencyMs::default()), |server| {
            (server.failures / server.requests, server.latency)
        });
        let (namespace, server) = key;
        PolicyRow {
            kind,
            namespace,
            name,
            server: Some(server),
            denied_rps: None,
            http: (requests > 0.0).then(|| HttpStats::of(requests, requests * share, covered, latency)),
            open_connections: None,
            connections: connections.round(),
        }
    };
    Ok(allowed.into_iter().map(row).collect())
}

/// Ports without a Server have a default policy, which is no resource.
fn filters(ask: &Ask) -> Vec<Filter> {
    let namespace = ask.namespace().map(|namespace| Filter::is("namespace", namespace));
    std::iter::once(Filter::is("srv_kind", "server")).chain(namespace).collect()
}

fn key(labels: &Labels) -> Key {
    (get(labels, "namespace").to_owned(), get(labels, "srv_name").to_owned())
}

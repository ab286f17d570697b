//! `/api/authz`: requests per server, route and authorization.

use std::{collections::BTreeMap, sync::Arc};

use weft_api::viz::{AuthzRow, Failure, HttpStats, LatencyMs, ResourceRef};

use super::{App, Ask};
use crate::query::{Kind, Labels, Query, get};

const ALLOWED: &str = "inbound_http_authz_allow_total";
const DENIED: &str = "inbound_http_authz_deny_total";
const DENIED_CONNECTIONS: &str = "inbound_tcp_authz_deny_total";
const SERVER: [&str; 2] = ["srv_kind", "srv_name"];
const ROUTE: &str = "route_name";
const AUTHORIZATION: [&str; 2] = ["authz_kind", "authz_name"];

pub(crate) async fn authz(_: Arc<App>, ask: Arc<Ask>) -> Result<Vec<AuthzRow>, Failure> {
    let resource = ask.resource()?;
    ask.explain_none(of(&ask, resource.as_ref()).await?)
}

/// Of one resource, or of all.
pub(super) async fn of(ask: &Ask, resource: Option<&ResourceRef>) -> Result<Vec<AuthzRow>, Failure> {
    let filters = resource.map(|resource| ask.own_filters(resource)).unwrap_or_default();
    let seconds = ask.window.length().as_secs();
    let run = |metric, kind, by: Vec<&'static str>| {
        let query = Query::new(metric, kind).filters(filters.iter().cloned()).by(by);
        async move { ask.figures.instant(&query, ask.at).await }
    };
    let server: Vec<_> = SERVER.into_iter().chain([ROUTE]).collect();
    let increase = Kind::Increase(seconds);
    let inbound = crate::query::Direction::Inbound.filter();
    let responses = Query::new("response_total", increase)
        .filters(filters.iter().cloned())
        .filter(inbound.clone())
        .by(SERVER)
        .by(["classification"]);
    let quantiles = [50, 95, 99].map(|percent| {
        let query = Query::new("response_latency_ms", Kind::Quantile(percent, seconds))
            .filters(filters.iter().cloned())
            .filter(inbound.clone())
            .by(SERVER);
        async move { ask.figures.instant(&query, ask.at).await }
    });
    let (allowed, denied, denied_connections, responses, quantiles) = futures::try_join!(
        run(ALLOWED, increase, server.iter().copied().chain(AUTHORIZATION).collect()),
        run(DENIED, increase, server),
        run(DENIED_CONNECTIONS, increase, SERVER.to_vec()),
        ask.figures.instant(&responses, ask.at),
        futures::future::try_join_all(quantiles),
    )?;

    // Responses are known by server, not by what allowed them: each authorization has its share of requests.
    let mut servers: BTreeMap<String, (f64, f64, LatencyMs)> = BTreeMap::new();
    for sample in responses.iter() {
        let entry = servers.entry(server_of(&sample.labels)).or_default();
        entry.0 += sample.value;
        if get(&sample.labels, "classification") == "failure" {
            entry.1 += sample.value;
        }
    }
    for (index, samples) in quantiles.iter().enumerate() {
        for sample in samples.iter() {
            let latency = &mut servers.entry(server_of(&sample.labels)).or_default().2;
            match index {
                0 => latency.p50 = Some(sample.value),
                1 => latency.p95 = Some(sample.value),
                _ => latency.p99 = Some(sample.value),
            }
        }
    }
    let mut rows: BTreeMap<(String, String, Option<String>), AuthzRow> = BTreeMap::new();
    let mut row = |labels: &Labels, authorization: Option<String>, requests: f64, denied: f64| {
        let (server, route) = (server_of(labels), route_of(labels));
        let (total, failures, latency) = servers.get(&server).copied().unwrap_or_default();
        let key = (server.clone(), route.clone(), authorization.clone());
        let row = rows.entry(key).or_insert_with(|| AuthzRow {
            server,
            route,
            authorization,
            denied_rps: 0.0,
            http: None,
        });
        row.denied_rps += denied / seconds as f64;
        if requests > 0.0 {
            let share = if total > 0.0 { failures / total } else { 0.0 };
            let before = row.http.as_ref().map_or(0.0, |http| http.requests);
            let requests = before + requests;
            row.http = Some(HttpStats::of(requests, requests * share, seconds as f64, latency));
        }
    };
    for sample in allowed.iter().filter(|sample| sample.value > 0.0) {
        let name = authorization_of(&sample.labels);
        row(&sample.labels, Some(name), sample.value, 0.0);
    }
    for sample in denied.iter().chain(denied_connections.iter()).filter(|sample| sample.value > 0.0) {
        row(&sample.labels, None, 0.0, sample.value);
    }
    Ok(rows.into_values().collect())
}

fn server_of(labels: &Labels) -> String {
    named(labels, SERVER)
}

/// A resource by its name, a default with the word before it.
fn named(labels: &Labels, [kind, name]: [&str; 2]) -> String {
    match (get(labels, kind), get(labels, name)) {
        ("", "") => "-".to_owned(),
        ("default", name) => format!("default:{name}"),
        (_, name) => name.to_owned(),
    }
}

/// With its kind: a ServerAuthorization and an AuthorizationPolicy may have the same name.
fn authorization_of(labels: &Labels) -> String {
    match AUTHORIZATION.map(|label| get(labels, label)) {
        ["" | "default", _] => named(labels, AUTHORIZATION),
        [kind, name] => format!("{kind}/{name}"),
    }
}

fn route_of(labels: &Labels) -> String {
    match get(labels, ROUTE) {
        "" => "default".to_owned(),
        route => route.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorization(kind: &str, name: &str) -> String {
        let labels = AUTHORIZATION.into_iter().zip([kind, name]);
        authorization_of(&labels.map(|(label, value)| (label.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn authorizations_of_two_kinds_with_one_name_are_told_apart() {
        assert_eq!(authorization("serverauthorization", "web"), "serverauthorization/web");
        assert_eq!(authorization("authorizationpolicy", "web"), "authorizationpolicy/web");
        assert_eq!(authorization("default", "all-unauthenticated"), "default:all-unauthenticated");
        assert_eq!(authorization("", ""), "-");
    }
}

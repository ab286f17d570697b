//! `/api/authz`: requests and connections per server, route and authorization.

use std::{collections::BTreeMap, sync::Arc};

use weft_api::viz::{AuthzRow, Failure, HttpStats, LatencyMs, ResourceRef};

use super::{App, Ask};
use crate::{
    figures::Span,
    query::{Kind, Labels, Query, get},
};

const ALLOWED: &str = "inbound_http_authz_allow_total";
const DENIED: &str = "inbound_http_authz_deny_total";
/// Of connections that are not read as HTTP.
const ALLOWED_CONNECTIONS: &str = "inbound_tcp_authz_allow_total";
const DENIED_CONNECTIONS: &str = "inbound_tcp_authz_deny_total";
const SERVER: [&str; 2] = ["srv_kind", "srv_name"];
const ROUTE: &str = "route_name";
const AUTHORIZATION: [&str; 2] = ["authz_kind", "authz_name"];

/// By server, route and authorization.
type Rows = BTreeMap<(String, String, Option<String>), AuthzRow>;

pub(crate) async fn authz(_: Arc<App>, ask: Arc<Ask>) -> Result<Vec<AuthzRow>, Failure> {
    let resource = ask.resource()?;
    ask.explain_none(of(&ask, resource.as_ref()).await?)
}

/// Of one resource, or of all.
pub(super) async fn of(ask: &Ask, resource: Option<&ResourceRef>) -> Result<Vec<AuthzRow>, Failure> {
    let filters = resource.map(|resource| ask.own_filters(resource)).unwrap_or_default();
    let Span { seconds, covered, .. } = ask.span();
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
    let (allowed, denied, allowed_connections, denied_connections, responses, quantiles) = futures::try_join!(
        run(ALLOWED, increase, server.iter().copied().chain(AUTHORIZATION).collect()),
        run(DENIED, increase, server),
        run(ALLOWED_CONNECTIONS, increase, SERVER.into_iter().chain(AUTHORIZATION).collect()),
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
    let mut rows = Rows::new();
    for sample in allowed.iter().filter(|sample| sample.value > 0.0) {
        let row = row_of(&mut rows, &sample.labels, Some(authorization_of(&sample.labels)));
        let (total, failures, latency) = servers.get(&row.server).copied().unwrap_or_default();
        let share = if total > 0.0 { failures / total } else { 0.0 };
        let requests = row.http.as_ref().map_or(0.0, |http| http.requests) + sample.value;
        row.http = Some(HttpStats::of(requests, requests * share, covered, latency));
    }
    for sample in allowed_connections.iter().filter(|sample| sample.value > 0.0) {
        let authorization = Some(authorization_of(&sample.labels));
        row_of(&mut rows, &sample.labels, authorization).connections += sample.value;
    }
    for sample in denied.iter().filter(|sample| sample.value > 0.0) {
        row_of(&mut rows, &sample.labels, None).denied_rps += sample.value / covered;
    }
    for sample in denied_connections.iter().filter(|sample| sample.value > 0.0) {
        let row = row_of(&mut rows, &sample.labels, None);
        row.denied_rps += sample.value / covered;
        row.connections += sample.value;
    }
    let rounded = |row: AuthzRow| AuthzRow { connections: row.connections.round(), ..row };
    Ok(rows.into_values().map(rounded).collect())
}

/// The row of what a server decided, which is empty at first.
fn row_of<'a>(rows: &'a mut Rows, labels: &Labels, authorization: Option<String>) -> &'a mut AuthzRow {
    let (server, route) = (server_of(labels), route_of(labels));
    let key = (server.clone(), route.clone(), authorization.clone());
    rows.entry(key).or_insert_with(|| AuthzRow {
        server,
        route,
        authorization,
        denied_rps: 0.0,
        http: None,
        connections: 0.0,
    })
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

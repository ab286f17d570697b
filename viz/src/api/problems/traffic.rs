//! Problems that traffic shows: failures, latencies, plaintext, what policy denied.

use std::collections::BTreeMap;

use weft_api::viz::{Failure, ProblemKind, ResourceRef, Secured, Severity, Source};

use super::{
    Found,
    before::{HOUR, WINDOW, percent, seconds_before, when},
    is_meshed, name_of,
};
use crate::{
    api::{
        App, Ask,
        detail::worst_of,
        links::{Links, Scope, links},
    },
    cluster::ClusterView,
    figures::{Ends, Flow, Resolution, Span},
    query::{Kind, Level, Query, Side, get},
};

/// Fewer requests say nothing.
const MIN_REQUESTS: f64 = 10.0;
const GOOD: f64 = 0.95;
const CRITICAL: f64 = 0.9;
/// How much slower a workload has to be than in the hour before.
const SLOWER: f64 = 2.0;
const SLOWER_MS: f64 = 10.0;

/// Workloads that fail, or are slower than they were.
pub(super) async fn rates_and_latencies(app: &App, ask: &Ask) -> Result<Vec<Found>, Failure> {
    let by = [ask.grouping(Side::Own, Level::Workload)];
    let flow = Flow::inbound(Vec::new());
    let (now, before) = (Span::new(ask.at, WINDOW), Span::new(ask.at, HOUR).before(WINDOW));
    let (counts, counts_before, p99, p99_before) = futures::try_join!(
        ask.figures.counts(now, &flow, &by),
        ask.figures.counts(before, &flow, &by),
        ask.figures.quantile(now, &flow, &by, 99),
        ask.figures.quantile(before, &flow, &by, 99),
    )?;
    let success = |(requests, failures): (f64, f64)| 1.0 - failures / requests;
    let enough = |counts: Option<&(f64, f64)>| counts.is_some_and(|(requests, _)| *requests >= MIN_REQUESTS);
    let is_slow = |ends: &Ends| {
        let (Some(now), Some(before)) = (p99.get(ends), p99_before.get(ends)) else { return None };
        let is_slow = *now > before * SLOWER && *now >= before + SLOWER_MS && enough(counts_before.get(ends));
        is_slow.then_some((*now, *before))
    };
    let before = seconds_before(app, ask).await;
    let mut found = Vec::new();
    for (ends, total) in counts.iter().filter(|(_, total)| enough(Some(total))) {
        let Some(Some(resource)) = ends.first() else { continue };
        let rps = total.0 / ask.covered(WINDOW as f64);
        let rate = success(*total);
        if rate < GOOD {
            let baseline = counts_before.get(ends).filter(|total| total.0 > 0.0).map(|total| success(*total));
            let worst =
                worst_of(app, ask, &ask.view.pods_of(resource), WINDOW as f64).await.into_iter().next();
            let severity = if rate < CRITICAL { Severity::Critical } else { Severity::Warning };
            found.push(Found {
                id: format!("success-rate:{resource}"),
                severity,
                summary: format!(
                    "{} answers only {} of its requests without failure.",
                    name_of(resource),
                    percent(rate)
                ),
                kind: ProblemKind::SuccessRate {
                    resource: resource.clone(),
                    success_rate: rate,
                    baseline,
                    baseline_seconds: before,
                    rps,
                    worst,
                },
                since: None,
                weight: total.0,
            });
        }
        if let Some((p99, baseline)) = is_slow(ends) {
            found.push(Found {
                id: format!("latency:{resource}"),
                severity: Severity::Warning,
                summary: format!(
                    "{}: the slowest 1 % of requests take more than {p99:.0} ms; {} it was {baseline:.0} ms.",
                    name_of(resource),
                    when(before)
                ),
                kind: ProblemKind::Latency {
                    resource: resource.clone(),
                    p99_ms: p99,
                    baseline_p99_ms: baseline,
                    baseline_seconds: before,
                    rps,
                },
                since: None,
                weight: total.0,
            });
        }
    }
    if !found.is_empty() && ask.figures.source() == Source::Prometheus {
        add_beginnings(app, ask, &flow, &mut found).await?;
    }
    Ok(found)
}

/// When success rates fell, from the course of the last hour.
async fn add_beginnings(app: &App, ask: &Ask, flow: &Flow, found: &mut [Found]) -> Result<(), Failure> {
    let by = [ask.grouping(Side::Own, Level::Workload)];
    let interval = app.settings.scrape_interval.as_secs();
    let resolution = Resolution::new(ask.at, HOUR, HOUR / WINDOW, interval);
    let courses = ask.figures.sparks(resolution, flow, &by).await?;
    for problem in found {
        let (resource, is_bad): (_, Box<dyn Fn(usize) -> Option<bool>>) = match &problem.kind {
            ProblemKind::SuccessRate { resource, .. } => {
                let Some(course) = courses.get(&vec![Some(resource.clone())]) else { continue };
                (course, Box::new(|at: usize| Some((*course.success_rate.get(at)?)? < GOOD)))
            }
            ProblemKind::Latency { resource, baseline_p99_ms, .. } => {
                let Some(course) = courses.get(&vec![Some(resource.clone())]) else { continue };
                let limit = baseline_p99_ms * SLOWER;
                (course, Box::new(move |at: usize| Some((*course.p99.get(at)?)? > limit)))
            }
            _ => continue,
        };
        problem.since =
            Some(beginning(resource.rps.len(), is_bad).map(|at| resource.from + at as f64 * resource.step));
    }
    Ok(())
}

/// The index at which the last bad stretch began; `None` if it is longer than what is known. The value of a moment
/// without requests is `None`.
fn beginning(count: usize, is_bad: impl Fn(usize) -> Option<bool>) -> Option<usize> {
    let mut first = count.checked_sub(1)?;
    for at in (0..count).rev() {
        match is_bad(at) {
            Some(true) => first = at,
            Some(false) => return Some(first),
            None => {}
        }
    }
    // Before the first requests there was no problem.
    (first > 0).then_some(first)
}

/// Connections in plaintext between meshed pods, of the last minute: short ones are open at no moment that is looked at.
pub(super) async fn plaintext(ask: &Ask) -> Result<Vec<Found>, Failure> {
    let scope = Scope {
        outbound: vec![Vec::new()],
        inbound: None,
        level: Level::Workload,
        addresses: false,
        seconds: WINDOW,
    };
    Ok(in_plaintext(&ask.view, &links(ask, &scope).await?))
}

fn in_plaintext(view: &ClusterView, links: &Links) -> Vec<Found> {
    let mut sums: BTreeMap<(&ResourceRef, &ResourceRef), (f64, &str)> = BTreeMap::new();
    for (link, counts) in links {
        if let (Some(source), Some(destination), Secured::Plaintext { reason }) =
            (&link.source, &link.destination, &link.secured)
            && is_meshed(view, destination)
        {
            sums.entry((source, destination)).or_insert((0.0, reason)).0 += counts.seen();
        }
    }
    let found =
        |((source, destination), (connections, reason)): ((&ResourceRef, &ResourceRef), (f64, &str))| Found {
            id: format!("plaintext:{source}>{destination}"),
            severity: Severity::Warning,
            summary: format!("{} talks to {} in plaintext.", name_of(source), name_of(destination)),
            kind: ProblemKind::Plaintext {
                source: source.clone(),
                destination: destination.clone(),
                reason: reason.to_owned(),
                connections: connections.round(),
            },
            since: None,
            weight: connections,
        };
    sums.into_iter().map(found).collect()
}

/// Connections and requests that policy denied within the last minute.
pub(super) async fn denied(app: &App, ask: &Ask) -> Result<Vec<Found>, Failure> {
    let own = ask.grouping(Side::Own, Level::Workload);
    let run = |metric| {
        let query = Query::new(metric, Kind::Increase(WINDOW)).by(own.labels()).by(["client_id"]);
        async move { ask.figures.instant(&query, ask.at).await }
    };
    let (requests, connections) =
        futures::try_join!(run("inbound_http_authz_deny_total"), run("inbound_tcp_authz_deny_total"))?;
    let mut sums: BTreeMap<(ResourceRef, String), f64> = BTreeMap::new();
    for sample in requests.iter().chain(connections.iter()).filter(|sample| sample.value > 0.0) {
        if let Some(resource) = own.resource(&sample.labels) {
            *sums.entry((resource, get(&sample.labels, "client_id").to_owned())).or_default() += sample.value;
        }
    }
    let found = |((resource, client), count): ((ResourceRef, String), f64)| {
        let client = Some(client).filter(|client| !client.is_empty());
        let who = client.as_deref().unwrap_or("clients without an identity");
        Found {
            id: format!("denied:{resource}:{}", client.as_deref().unwrap_or_default()),
            severity: Severity::Warning,
            summary: format!("{} refuses {who}.", name_of(&resource)),
            kind: ProblemKind::Denied {
                source: client.as_deref().and_then(|client| source_of(app, ask, client)),
                client_id: client,
                rps: count / ask.covered(WINDOW as f64),
                resource,
            },
            since: None,
            weight: count,
        }
    };
    Ok(sums.into_iter().map(found).collect())
}

/// The workload with an identity, if it is only one.
fn source_of(app: &App, ask: &Ask, identity: &str) -> Option<ResourceRef> {
    let (account, namespace) = app.cluster.mesh.service_account(identity)?;
    let pods = ask.view.in_namespace(namespace).filter(|pod| pod.service_account == account);
    let mut workloads: Vec<_> = pods.map(|pod| ask.view.workload_of(pod)).collect();
    workloads.sort();
    workloads.dedup();
    match workloads.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_began_after_the_last_good_moment() {
        let of = |course: &[Option<bool>]| beginning(course.len(), |at| course[at]);
        let (good, bad) = (Some(false), Some(true));
        assert_eq!(of(&[good, bad, good, bad, bad]), Some(3));
        assert_eq!(of(&[good, bad, None, bad]), Some(1));
        assert_eq!(of(&[bad, bad]), None);
        assert_eq!(of(&[None, bad, bad]), Some(1));
        assert_eq!(of(&[]), None);
    }
}

//! `/api/topology`: who talks to whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::try_join_all;
use weft_api::viz::{
    Failure, HttpStats, NodeKind, OUTSIDE, ResourceRef, Secured, TcpStats, Topology, TopologyEdge,
    TopologyNode,
};

use super::{
    App, Ask,
    edges::in_namespace,
    links::{Scope, from_outside_only, in_plaintext_only, links},
};
use crate::{
    figures::{ByEnds, Flow},
    query::{Level, Side},
};

/// The two ends of an edge. `None` is outside.
type Pair = (Option<ResourceRef>, Option<ResourceRef>);

#[derive(Default)]
struct Traffic {
    http: Option<HttpStats>,
    tcp: TcpStats,
    secured: Option<Secured>,
    /// Of the best known connection, whether it is open.
    is_open: bool,
}

pub(crate) async fn topology(_: Arc<App>, ask: Arc<Ask>) -> Result<Topology, Failure> {
    let pairs = traffic(&ask).await?;
    let by = [ask.grouping(Side::Own, Level::Workload)];
    let received = ask.figures.http(ask.span(), &Flow::inbound(Vec::new()), &by).await?;
    let mut members: BTreeSet<Option<ResourceRef>> = ask
        .view
        .workloads
        .keys()
        .filter(|workload| ask.namespace().is_none_or(|namespace| workload.namespace == namespace))
        .cloned()
        .map(Some)
        .collect();
    for (source, target) in pairs.keys() {
        members.extend([source.clone(), target.clone()]);
    }
    let nodes = members.into_iter().map(|member| node(&ask, member, &received)).collect();
    let nodes = ask.explain_none(nodes)?;
    let edges = pairs.into_iter().map(|(pair, traffic)| edge(pair, traffic)).collect();
    Ok(Topology { nodes, edges })
}

async fn traffic(ask: &Ask) -> Result<BTreeMap<Pair, Traffic>, Failure> {
    let (outbound, inbound) = match ask.namespace() {
        None => (vec![Vec::new()], Vec::new()),
        Some(namespace) => {
            let own = in_namespace(Side::Own, namespace);
            (vec![own.clone(), in_namespace(Side::Destination, namespace)], own)
        }
    };
    let scope = Scope {
        outbound,
        inbound: Some(inbound.clone()),
        level: Level::Workload,
        addresses: false,
        seconds: ask.window.length().as_secs(),
    };
    let own = ask.grouping(Side::Own, Level::Workload);
    let by = [own, ask.grouping(Side::Destination, Level::Workload)];
    let span = ask.span();
    let flows = scope.outbound.iter().map(|filters| async {
        let flow = Flow::outbound(filters.clone());
        futures::try_join!(ask.figures.http(span, &flow, &by), ask.figures.tcp(span, &flow, &by))
    });
    let mut plain = inbound;
    plain.extend(from_outside_only());
    let plain = Flow::inbound(plain);
    let mut sent =
        ask.namespace().map(|namespace| in_namespace(Side::Destination, namespace)).unwrap_or_default();
    sent.extend(in_plaintext_only());
    let sent = Flow::outbound(sent);
    let of_outside = async {
        let (by, far) = ([own], [ask.grouping(Side::Destination, Level::Workload)]);
        futures::try_join!(
            ask.figures.http(span, &plain, &by),
            ask.figures.tcp(span, &plain, &by),
            ask.figures.http(span, &sent, &far),
            ask.figures.tcp(span, &sent, &far),
        )
    };
    let (links, between, outside) = futures::try_join!(links(ask, &scope), try_join_all(flows), of_outside)?;

    let mut pairs: BTreeMap<Pair, Traffic> = BTreeMap::new();
    // Health checks are no traffic of the application: they would join every pod to its node.
    for (key, counts) in links.into_iter().filter(|(key, _)| !key.is_from_node()) {
        let traffic = pairs.entry((key.source, key.destination)).or_default();
        let is_open = counts.open >= 0.5;
        // The worst of the open connections counts, and of others only if none is open.
        if traffic.secured.is_none()
            || (is_open && !traffic.is_open)
            || (is_open == traffic.is_open && traffic.secured.as_ref() < Some(&key.secured))
        {
            traffic.secured = Some(key.secured);
        }
        traffic.is_open |= is_open;
    }
    for (http, tcp) in between {
        let pair = |ends: &[Option<ResourceRef>]| match ends {
            [Some(source), target] => Some((Some(source.clone()), target.clone())),
            _ => None,
        };
        for (ends, stats) in http {
            if let Some(pair) = pair(&ends) {
                pairs.entry(pair).or_default().http = Some(stats);
            }
        }
        for (ends, stats) in tcp {
            // Old connections have series, but are no edge.
            if let Some(traffic) = pair(&ends).and_then(|pair| pairs.get_mut(&pair)) {
                traffic.tcp = stats;
            }
        }
    }
    let (http, tcp, http_sent, tcp_sent) = outside;
    for (pair, traffic) in pairs.iter_mut().filter(|((source, _), _)| source.is_none()) {
        let ends = vec![pair.1.clone()];
        traffic.http = http.get(&ends).and_then(|all| http_without(all, http_sent.get(&ends), span.covered));
        let sent = tcp_sent.get(&ends).copied().unwrap_or_default();
        traffic.tcp = tcp_without(tcp.get(&ends).copied().unwrap_or_default(), sent);
    }
    Ok(pairs)
}

/// What a destination received in plaintext, without what meshed sources sent to it, which is another edge. Latencies stay
/// those of all. Figures of Prometheus are estimates: less than half a request is none.
fn http_without(all: &HttpStats, sent: Option<&HttpStats>, seconds: f64) -> Option<HttpStats> {
    let Some(sent) = sent else { return Some(all.clone()) };
    let requests = all.requests - sent.requests;
    let failures = (all.failures - sent.failures).clamp(0.0, requests.max(0.0));
    (requests >= 0.5).then(|| HttpStats::of(requests, failures, seconds, all.latency_ms))
}

fn tcp_without(all: TcpStats, sent: TcpStats) -> TcpStats {
    let sent = sent.reversed();
    TcpStats {
        open_connections: (all.open_connections - sent.open_connections).max(0.0),
        read_bytes_per_second: (all.read_bytes_per_second - sent.read_bytes_per_second).max(0.0),
        write_bytes_per_second: (all.write_bytes_per_second - sent.write_bytes_per_second).max(0.0),
    }
}

fn id(end: &Option<ResourceRef>) -> String {
    end.as_ref().map_or_else(|| OUTSIDE.to_owned(), ResourceRef::to_string)
}

fn node(ask: &Ask, member: Option<ResourceRef>, received: &ByEnds<HttpStats>) -> TopologyNode {
    let id = id(&member);
    let http = received.get(&vec![member.clone()]).filter(|_| member.is_some()).cloned();
    let pods = member.as_ref().map(|workload| ask.view.count(workload));
    let is_meshed =
        member.as_ref().is_some_and(|workload| ask.view.pods_of(workload).iter().any(|pod| pod.meshed));
    // What is gone already had a proxy, or there would be no figures of it.
    let is_gone = member.as_ref().is_some_and(|workload| !ask.view.exists(workload));
    TopologyNode {
        id,
        label: member
            .as_ref()
            .map_or_else(|| "outside the mesh".to_owned(), |workload| workload.name.clone()),
        namespace: member.as_ref().map(|workload| workload.namespace.clone()),
        kind: match &member {
            None => NodeKind::Outside,
            Some(_) if is_meshed || is_gone => NodeKind::Workload,
            Some(_) => NodeKind::Unmeshed,
        },
        resource: member,
        pods,
        http,
    }
}

fn edge((source, target): Pair, traffic: Traffic) -> TopologyEdge {
    let (source, target) = (id(&source), id(&target));
    TopologyEdge {
        id: format!("{source}>{target}"),
        source,
        target,
        http: traffic.http,
        tcp: traffic.tcp,
        secured: traffic.secured.unwrap_or(Secured::Mtls),
    }
}

#[cfg(test)]
mod tests {
    use weft_api::viz::LatencyMs;

    use super::*;

    #[test]
    fn figures_of_the_outside_are_without_those_of_meshed_sources() {
        let stats = |requests, failures| HttpStats::of(requests, failures, 60.0, LatencyMs::default());
        assert_eq!(http_without(&stats(100.0, 10.0), Some(&stats(60.0, 10.0)), 60.0), Some(stats(40.0, 0.0)));
        assert_eq!(http_without(&stats(60.0, 0.0), Some(&stats(60.2, 1.0)), 60.0), None);
        assert_eq!(http_without(&stats(5.0, 1.0), None, 60.0), Some(stats(5.0, 1.0)));
        let tcp = |open_connections, read_bytes_per_second, write_bytes_per_second| TcpStats {
            open_connections,
            read_bytes_per_second,
            write_bytes_per_second,
        };
        assert_eq!(tcp_without(tcp(5.0, 10.0, 100.0), tcp(1.0, 70.0, 10.0)), tcp(4.0, 0.0, 30.0));
    }
}

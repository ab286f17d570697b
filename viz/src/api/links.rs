//! Who is connected to whom, and how connections are secured.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use weft_api::viz::{Failure, ResourceRef, Secured};

use super::Ask;
use crate::query::{Direction, Filter, Grouping, Kind, Labels, Level, Query, Side, get};

const OPEN: &str = "tcp_open_connections";
const OPENED: &str = "tcp_open_total";
const TLS: &str = "tls";
const REASON: &str = "no_tls_reason";
/// Of connections that processes of a node opened: the kubelet's health checks.
const FROM_NODE: &str = "from_node";
const SERVER_ID: &str = "server_id";
/// Counts of Prometheus are estimates. Less than this is nothing.
const LEAST: f64 = 0.5;

/// Connections of the same kind between two resources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkKey {
    /// `None` is everything that is not meshed: it does not say who it is, unless it is [from the
    /// node](Self::is_from_node).
    pub(super) source: Option<ResourceRef>,
    /// `None` is everything without a pod.
    pub(super) destination: Option<ResourceRef>,
    /// The address of a destination without a pod.
    pub(super) address: Option<String>,
    pub(super) secured: Secured,
    pub(super) server_id: Option<String>,
}

impl LinkKey {
    /// A process of the node opened it, as the kubelet does for health checks.
    pub(super) fn is_from_node(&self) -> bool {
        self.source.is_none() && matches!(&self.secured, Secured::Plaintext { reason } if reason == FROM_NODE)
    }
}

/// Open now, open at some time within the window, and opened within the window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) open: f64,
    peak: f64,
    opened: f64,
}

pub(super) type Links = BTreeMap<LinkKey, Counts>;

impl Counts {
    /// There was a connection within the window.
    pub(super) fn is_seen(&self) -> bool {
        self.seen() >= LEAST
    }

    /// How many connections there were within the window, at least.
    pub(super) fn seen(&self) -> f64 {
        self.open.max(self.peak).max(self.opened)
    }
}

/// Which links are asked for.
pub(super) struct Scope {
    /// Each set of filters is asked for on its own, and the answers are put together.
    pub(super) outbound: Vec<Vec<Filter>>,
    /// The filters of what receives connections from what is not meshed.
    pub(super) inbound: Option<Vec<Filter>>,
    pub(super) level: Level,
    /// Tell destinations outside of the cluster apart by their addresses.
    pub(super) addresses: bool,
    /// The length of the window.
    pub(super) seconds: u64,
}

/// The links that were seen within the window.
pub(super) async fn links(ask: &Ask, scope: &Scope) -> Result<Links, Failure> {
    let mut links = Links::new();
    let outbound = scope.outbound.iter().map(|filters| between(ask, scope, filters));
    for found in try_join_all(outbound).await? {
        // The sets may overlap, but say the same of what is in both.
        links.extend(found);
    }
    if let Some(filters) = &scope.inbound {
        let outside = from_outside(ask, scope, filters, &links).await?;
        links.extend(outside);
    }
    links.retain(|_, counts| counts.is_seen());
    Ok(links)
}

/// Connections that meshed pods opened.
async fn between(ask: &Ask, scope: &Scope, filters: &[Filter]) -> Result<Links, Failure> {
    let (own, far) = (ask.grouping(Side::Own, scope.level), ask.grouping(Side::Destination, scope.level));
    let mut by = own.labels();
    by.extend(far.labels());
    by.extend([TLS, REASON, SERVER_ID]);
    if scope.addresses {
        by.push("target_ip");
    }
    by.dedup();
    let key = |labels: &Labels| {
        let destination = far.resource(labels);
        let address = Some(get(labels, "target_ip")).filter(|_| destination.is_none());
        Some(LinkKey {
            source: Some(own.resource(labels)?),
            address: address.filter(|address| !address.is_empty()).map(str::to_owned),
            destination,
            secured: secured(labels)?,
            server_id: Some(get(labels, SERVER_ID)).filter(|id| !id.is_empty()).map(str::to_owned),
        })
    };
    counts(ask, scope.seconds, Direction::Outbound, filters, &by, key).await
}

/// Connections that something opened that is not meshed. Plaintext between meshed pods is seen at both ends: what the
/// sources account for is subtracted.
async fn from_outside(ask: &Ask, scope: &Scope, filters: &[Filter], known: &Links) -> Result<Links, Failure> {
    let own: Grouping = ask.grouping(Side::Own, scope.level);
    let mut by = own.labels();
    by.extend([TLS, REASON]);
    let key = |labels: &Labels| {
        Some(LinkKey {
            source: None,
            destination: Some(own.resource(labels)?),
            address: None,
            secured: secured(labels)?,
            server_id: None,
        })
    };
    let mut filters = filters.to_vec();
    filters.push(Filter::In(TLS, vec!["no_identity".into(), "opaque".into()]));
    let mut found = counts(ask, scope.seconds, Direction::Inbound, &filters, &by, key).await?;
    // The node is not in the mesh, so no source accounts for it.
    for (link, counts) in found.iter_mut().filter(|(link, _)| !link.is_from_node()) {
        let same = |other: &LinkKey| {
            other.destination == link.destination
                && std::mem::discriminant(&other.secured) == std::mem::discriminant(&link.secured)
        };
        for (_, other) in known.iter().filter(|(other, _)| same(other)) {
            counts.open -= other.open;
            counts.peak -= other.peak;
            counts.opened -= other.opened;
        }
        counts.open = counts.open.max(0.0);
    }
    Ok(found)
}

/// The filters of what was received from clients outside of the mesh, the node left out.
pub(super) fn from_outside_only() -> [Filter; 2] {
    let reasons = ["", "no_tls_from_remote"].map(str::to_owned);
    [Filter::In(TLS, vec!["no_identity".into(), "opaque".into()]), Filter::In(REASON, reasons.into())]
}

/// The filters of the same, as meshed sources see what they sent. The leg inside of a pod is left out.
pub(super) fn in_plaintext_only() -> [Filter; 2] {
    let reasons = ["", "not_provided_by_service_discovery"].map(str::to_owned);
    [Filter::In(TLS, vec!["no_identity".into(), "opaque".into()]), Filter::In(REASON, reasons.into())]
}

async fn counts(
    ask: &Ask,
    window: u64,
    direction: Direction,
    filters: &[Filter],
    by: &[&'static str],
    key: impl Fn(&Labels) -> Option<LinkKey>,
) -> Result<Links, Failure> {
    let run = |metric, kind| {
        let query = Query::new(metric, kind)
            .filters([direction.filter(), direction.peer()])
            .filters(filters.iter().cloned())
            .by(by.iter().copied());
        async move { ask.figures.instant(&query, ask.at).await }
    };
    let (open, peak, opened) = futures::try_join!(
        run(OPEN, Kind::Sum),
        run(OPEN, Kind::Peak(window)),
        run(OPENED, Kind::Increase(window))
    )?;
    let mut links = Links::new();
    for (samples, place) in [
        (open, (|counts| &mut counts.open) as fn(&mut Counts) -> &mut f64),
        (peak, |counts| &mut counts.peak),
        (opened, |counts| &mut counts.opened),
    ] {
        for sample in samples.iter() {
            if let Some(key) = key(&sample.labels) {
                *place(links.entry(key).or_default()) += sample.value;
            }
        }
    }
    Ok(links)
}

/// `None` for the leg inside of a pod, which needs no protection.
fn secured(labels: &Labels) -> Option<Secured> {
    Some(match get(labels, TLS) {
        "true" => Secured::Mtls,
        "local" => Secured::SameNode,
        "opaque" => Secured::OpaqueTls,
        _ => match get(labels, REASON) {
            "loopback" => return None,
            reason => Secured::Plaintext { reason: reason.to_owned() },
        },
    })
}

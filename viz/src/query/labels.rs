//! Which labels of the proxies' metrics name which resource.

use weft_api::viz::{ResourceRef, ResourceType};

use super::{Filter, Labels, get};

/// The label that names a pod without an owner. No proxy sets it: whoever answers a question adds it.
pub(crate) const BARE: &str = "weft_bare";
pub(crate) const BARE_DST: &str = "weft_dst_bare";

/// Prometheus needs the label `job` for itself, so a Job is in `k8s_job`, as in Linkerd.
pub(crate) const OWNER_LABELS: [&str; 7] =
    ["cronjob", "daemonset", "deployment", "k8s_job", "replicaset", "replicationcontroller", "statefulset"];
pub(crate) const OWNER_LABELS_DST: [&str; 7] = [
    "dst_cronjob",
    "dst_daemonset",
    "dst_deployment",
    "dst_job",
    "dst_replicaset",
    "dst_replicationcontroller",
    "dst_statefulset",
];

/// Whose labels: the workload's that the proxy serves, or those of the other end of its outbound traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Own,
    Destination,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    Inbound,
    Outbound,
}

/// What a row of an answer stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Level {
    Namespace,
    /// An owner of pods, or a pod that has none.
    Workload,
    Pod,
    /// Only at [`Side::Destination`].
    Service,
}

/// One end of the traffic, by which figures are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Grouping {
    pub(crate) side: Side,
    pub(crate) level: Level,
    /// There are pods without an owner. They cost Prometheus some time.
    pub(crate) bare: bool,
}

impl Direction {
    pub(crate) fn filter(self) -> Filter {
        Filter::is(
            "direction",
            match self {
                Self::Inbound => "inbound",
                Self::Outbound => "outbound",
            },
        )
    }

    /// The leg of a connection that is between the two ends.
    pub(crate) fn peer(self) -> Filter {
        Filter::is(
            "peer",
            match self {
                Self::Inbound => "src",
                Self::Outbound => "dst",
            },
        )
    }
}

impl Grouping {
    pub(crate) fn labels(self) -> Vec<&'static str> {
        let mut labels = vec![label_of(self.side, ResourceType::Namespace)];
        match self.level {
            Level::Namespace => {}
            Level::Pod => labels.push(label_of(self.side, ResourceType::Pod)),
            Level::Service => labels.push(label_of(self.side, ResourceType::Service)),
            Level::Workload => {
                labels.extend(owners(self.side));
                labels.extend(self.bare.then_some(bare(self.side)));
            }
        }
        labels
    }

    /// The resource that these labels name; `None` if they name none, as outside of the cluster.
    pub(crate) fn resource(self, labels: &Labels) -> Option<ResourceRef> {
        resource_of(self.side, self.level, labels)
    }
}

/// The label that has the name of a resource of this type.
pub(crate) fn label_of(side: Side, kind: ResourceType) -> &'static str {
    let own = side == Side::Own;
    let at = |index: usize| if own { OWNER_LABELS[index] } else { OWNER_LABELS_DST[index] };
    match kind {
        ResourceType::CronJob => at(0),
        ResourceType::DaemonSet => at(1),
        ResourceType::Deployment => at(2),
        ResourceType::Job => at(3),
        ResourceType::ReplicaSet => at(4),
        ResourceType::ReplicationController => at(5),
        ResourceType::StatefulSet => at(6),
        ResourceType::Pod if own => "pod",
        ResourceType::Pod => "dst_pod",
        ResourceType::Namespace if own => "namespace",
        ResourceType::Namespace => "dst_namespace",
        ResourceType::Service => "dst_service",
    }
}

/// The filters by which series are those of a resource. Of services, only the destination's side is known by label.
pub(crate) fn filters_of(side: Side, resource: &ResourceRef) -> Vec<Filter> {
    let mut filters = vec![Filter::is(label_of(side, ResourceType::Namespace), resource.namespace.clone())];
    if resource.kind != ResourceType::Namespace {
        filters.push(Filter::is(label_of(side, resource.kind), resource.name.clone()));
    }
    filters
}

fn resource_of(side: Side, level: Level, labels: &Labels) -> Option<ResourceRef> {
    let named = |label: &str| Some(get(labels, label)).filter(|name| !name.is_empty());
    let namespace = named(label_of(side, ResourceType::Namespace))?;
    let of = |kind| Some(ResourceRef::new(namespace, kind, named(label_of(side, kind))?));
    match level {
        Level::Namespace => Some(ResourceRef::namespace(namespace)),
        Level::Pod => of(ResourceType::Pod),
        Level::Service => of(ResourceType::Service),
        Level::Workload => ResourceType::WORKLOADS
            .into_iter()
            .find_map(of)
            .or_else(|| Some(ResourceRef::new(namespace, ResourceType::Pod, named(bare(side))?))),
    }
}

/// Whether these labels name a pod, but no owner of it.
pub(crate) fn is_of_no_owner(side: Side, labels: &Labels) -> bool {
    owners(side).iter().all(|label| get(labels, label).is_empty())
}

fn owners(side: Side) -> [&'static str; 7] {
    match side {
        Side::Own => OWNER_LABELS,
        Side::Destination => OWNER_LABELS_DST,
    }
}

fn bare(side: Side) -> &'static str {
    match side {
        Side::Own => BARE,
        Side::Destination => BARE_DST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_workload_is_the_owner_of_a_pod_or_a_pod_without_one() {
        let own = |pairs: &[(&str, &str)]| resource_of(Side::Own, Level::Workload, &labels(pairs));
        let name = |found: Option<ResourceRef>| found.map(|found| found.to_string());
        assert_eq!(
            name(own(&[("namespace", "a"), ("deployment", "web"), ("pod", "web-1")])).as_deref(),
            Some("a/deployment/web")
        );
        assert_eq!(name(own(&[("namespace", "a"), ("weft_bare", "one")])).as_deref(), Some("a/pod/one"));
        assert_eq!(name(own(&[("namespace", "a"), ("k8s_job", "once")])).as_deref(), Some("a/job/once"));
        assert_eq!(own(&[("namespace", "a")]), None);
        let far = labels(&[("namespace", "a"), ("dst_namespace", "b"), ("dst_job", "once")]);
        assert_eq!(
            name(resource_of(Side::Destination, Level::Workload, &far)).as_deref(),
            Some("b/job/once")
        );
    }

    #[test]
    fn a_namespace_needs_no_second_label() {
        assert_eq!(filters_of(Side::Own, &ResourceRef::namespace("a")), [Filter::is("namespace", "a")]);
        let web = ResourceRef::new("a", ResourceType::Service, "web");
        assert_eq!(
            filters_of(Side::Destination, &web),
            [Filter::is("dst_namespace", "a"), Filter::is("dst_service", "web")]
        );
    }
}

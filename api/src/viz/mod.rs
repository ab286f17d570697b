//! The dashboard's API: every answer of `/api`, and the messages of a tap.
//!
//! weft-viz writes these and the CLI reads them. docs/viz-api.md explains the calls. The same contract for the dashboard
//! is in viz/web/src/api.

mod answer;
mod check;
mod detail;
mod edge;
mod figures;
mod nodes;
mod overview;
mod pods;
mod policy;
mod reference;
mod rows;
mod selector;
mod tap;
mod topology;
mod version;
mod window;

#[cfg(test)]
mod tests;

pub use self::{
    answer::{Answer, ErrorBody, ErrorCode, Failure, Meta, Source, Warning},
    check::{CheckCategory, CheckItem, CheckReport, CheckResult},
    detail::{ResourceDefinition, ResourceDetail},
    edge::{Edge, Secured},
    figures::{HttpStats, LatencyMs, PodCount, Series, Spark, TcpStats},
    nodes::{
        CertificateInfo, ComponentItem, ComponentPod, ControlPlane, NamespacePods, NodeItem, NodeProxy,
        NodeProxyState,
    },
    overview::{CertificateKind, NodeCount, Overview, Problem, ProblemKind, SecuredCount, Severity, Totals},
    pods::{PodItem, PodProxy, PodProxyState, ServiceItem, ServicePort, TapState},
    policy::{PolicyRow, PolicyType},
    reference::{ResourceRef, ResourceType, UnknownType},
    rows::{ActualStats, AuthzRow, OutboundRow, PathStats, RouteRow, Split, StatRow},
    selector::Selector,
    tap::{Direction, SkippedPod, TapEnd, TapEvent, TapEventKind, TapMessage, TapQuery, Tls},
    topology::{NodeKind, OUTSIDE, Topology, TopologyEdge, TopologyNode},
    version::{ExtensionItem, GatewayItem, Grafana, ObjectSource, PrometheusInfo, ResourceItem, VersionInfo},
    window::Window,
};

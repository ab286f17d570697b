//! `weft viz edges`: who is connected to whom, and how that is secured.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use weft_api::viz::{Edge, ResourceRef, ResourceType, Secured};

use super::{
    access::Viz,
    format::NONE,
    json::count,
    notes,
    options::{Output, OutputOption, VizOptions},
    resource::{Kind, Target, short},
    table::{Align, Table},
};
use crate::{global::Global, terminal::print};

/// Print the connections between resources, and how each is secured
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # Between the deployments of a namespace and others
  weft viz edges deploy -n emojivoto

  # Of one deployment, with the identities of both ends
  weft viz edges deploy/web -n emojivoto -o wide

  # Between all pods of all namespaces
  weft viz edges po -A

  # Between namespaces, and to one service
  weft viz edges ns
  weft viz edges svc/web-svc -n emojivoto

SECURED is √ for mTLS between nodes, and within a node, where no TLS is needed; otherwise it is the reason why the
connection is in plaintext, as docs/metrics.md explains it.")]
pub(crate) struct EdgesArgs {
    /// TYPE or TYPE/NAME; of services only svc/NAME
    #[arg(required = true, value_name = "RESOURCE")]
    resources: Vec<String>,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    output: OutputOption,
}

pub(crate) async fn edges(global: &Global, options: &VizOptions, args: &EdgesArgs) -> Result<()> {
    let targets = Target::parse_all(&args.resources)?;
    if targets.iter().any(|target| target.kind == SERVICES && target.name.is_none()) {
        bail!("name one service, as in svc/web-svc; `weft viz edges deploy` shows all connections");
    }
    let viz = Viz::connect(global, options).await?;
    let mut all: Vec<Edge> = Vec::new();
    for (at, target) in targets.iter().enumerate() {
        let resource = match target.name {
            Some(_) => Some(target.resource(&viz.namespace)?),
            None => None,
        };
        let mut query = Vec::new();
        match &resource {
            Some(resource) => query.extend([
                ("namespace", resource.namespace.as_str()),
                ("type", resource.kind.as_str()),
                ("name", resource.name.as_str()),
            ]),
            None => {
                // Without -n, namespaces are all namespaces.
                if !args.all_namespaces && (target.kind != NAMESPACES || global.namespace.is_some()) {
                    query.push(("namespace", viz.namespace.as_str()));
                }
                if let Kind::One(kind) = target.kind {
                    query.push(("type", kind.as_str()));
                }
            }
        }
        let answer = viz.get::<Vec<Edge>>("/api/edges", &query).await?;
        if at == 0 {
            notes::about(&answer.meta);
        }
        all.extend(of_target(answer.data, target.kind, resource));
    }
    all.sort_by_key(|edge| {
        (
            namespace(edge.source.as_ref()),
            name(edge, true),
            namespace(edge.destination.as_ref()),
            name(edge, false),
        )
    });
    all.dedup();
    if all.is_empty() {
        notes::say(
            "No connections were found: the resources have none now, or they are not in the mesh (`weft viz list` \
             tells).",
        );
    }
    match args.output.output {
        Output::Json => print(&json_text(&all)?),
        output if !all.is_empty() => print(&table(&all, output == Output::Wide).render()),
        _ => Ok(()),
    }
}

const NAMESPACES: Kind = Kind::One(ResourceType::Namespace);
const SERVICES: Kind = Kind::One(ResourceType::Service);

/// The edges of workloads as those of what was asked for.
fn of_target(edges: Vec<Edge>, kind: Kind, resource: Option<ResourceRef>) -> Vec<Edge> {
    match (kind, resource) {
        (NAMESPACES, _) => merged(edges.into_iter().map(of_namespaces)),
        (SERVICES, Some(service)) => merged(edges.into_iter().map(|edge| Edge {
            destination: Some(service.clone()),
            destination_label: None,
            ..edge
        })),
        _ => edges,
    }
}

/// The edge between the namespaces of its ends, which have many identities.
fn of_namespaces(edge: Edge) -> Edge {
    let namespace = |end: Option<ResourceRef>| end.map(|end| ResourceRef::namespace(end.namespace));
    Edge {
        source: namespace(edge.source),
        destination: namespace(edge.destination),
        client_id: None,
        server_id: None,
        ..edge
    }
}

/// Edges that only differ in the number of connections as one.
fn merged(edges: impl Iterator<Item = Edge>) -> Vec<Edge> {
    let mut all: Vec<Edge> = Vec::new();
    for edge in edges {
        let same =
            |other: &&mut Edge| Edge { open_connections: edge.open_connections, ..(**other).clone() } == edge;
        match all.iter_mut().find(same) {
            Some(other) => other.open_connections += edge.open_connections,
            None => all.push(edge),
        }
    }
    all
}

fn table(edges: &[Edge], wide: bool) -> Table {
    let mut columns = ["SRC", "DST", "SRC_NS", "DST_NS", "SECURED"].map(|name| (name, Align::Left)).to_vec();
    if wide {
        columns.splice(4..4, [("CLIENT_ID", Align::Left), ("SERVER_ID", Align::Left)]);
    }
    let mut table = Table::new(&columns);
    let mut shown = BTreeSet::new();
    for edge in edges {
        let mut cells = vec![
            name(edge, true),
            name(edge, false),
            namespace(edge.source.as_ref()),
            namespace(edge.destination.as_ref()),
        ];
        if wide {
            cells.extend([identity(edge.client_id.as_ref()), identity(edge.server_id.as_ref())]);
        }
        cells.push(secured(&edge.secured, wide));
        // Connections within a node and between nodes look the same, unless the table is wide.
        if shown.insert(cells.clone()) {
            table.row(cells);
        }
    }
    table
}

fn secured(secured: &Secured, wide: bool) -> String {
    match (secured, wide) {
        (Secured::Mtls, false) | (Secured::SameNode, false) => "√".to_owned(),
        (Secured::Mtls, true) => "√ mTLS".to_owned(),
        (Secured::SameNode, true) => "√ same node".to_owned(),
        (Secured::OpaqueTls, _) => "the application's own TLS".to_owned(),
        (Secured::Plaintext { reason }, _) => reason.clone(),
    }
}

/// The name of an end. One that is not an object of the cluster has a label instead.
fn name(edge: &Edge, source: bool) -> String {
    let (resource, label) = match source {
        true => (&edge.source, &edge.source_label),
        false => (&edge.destination, &edge.destination_label),
    };
    match (resource, label) {
        (Some(resource), _) => resource.name.clone(),
        (None, Some(label)) => label.clone(),
        (None, None) => NONE.to_owned(),
    }
}

fn namespace(resource: Option<&ResourceRef>) -> String {
    resource.map_or_else(|| NONE.to_owned(), |resource| resource.namespace.clone())
}

/// SA.NS of SA.NS.serviceaccount.identity.CONTROL-PLANE.DOMAIN.
fn identity(id: Option<&String>) -> String {
    id.map_or(NONE, |id| id.split(".serviceaccount.identity.").next().unwrap_or(id)).to_owned()
}

fn json_text(edges: &[Edge]) -> Result<String> {
    let full = |resource: Option<&ResourceRef>| {
        resource.map(|resource| format!("{}/{}", short(resource.kind), resource.name))
    };
    let rows: Vec<_> = edges
        .iter()
        .map(|edge| {
            let (state, reason) = match &edge.secured {
                Secured::Mtls => ("mtls", ""),
                Secured::SameNode => ("same_node", ""),
                Secured::OpaqueTls => ("opaque_tls", ""),
                Secured::Plaintext { reason } => ("plaintext", reason.as_str()),
            };
            json!({
                "src": name(edge, true),
                "src_namespace": edge.source.as_ref().map(|end| &end.namespace),
                "src_resource": full(edge.source.as_ref()),
                "dst": name(edge, false),
                "dst_namespace": edge.destination.as_ref().map(|end| &end.namespace),
                "dst_resource": full(edge.destination.as_ref()),
                "client_id": edge.client_id,
                "server_id": edge.server_id,
                "secured": state,
                "no_tls_reason": reason,
                "open_connections": count(edge.open_connections),
            })
        })
        .collect();
    Ok(format!("{}\n", serde_json::to_string_pretty(&rows)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges() -> Vec<Edge> {
        let resource = |name: &str| Some(ResourceRef::new("emojivoto", ResourceType::Deployment, name));
        let id = |name: &str| Some(format!("{name}.emojivoto.serviceaccount.identity.weft.cluster.local"));
        vec![
            Edge {
                source: resource("web"),
                destination: resource("voting"),
                source_label: None,
                destination_label: None,
                client_id: id("web"),
                server_id: id("voting"),
                secured: Secured::Mtls,
                open_connections: 1.0,
            },
            Edge {
                source: None,
                destination: resource("web"),
                source_label: Some("not meshed".to_owned()),
                destination_label: None,
                client_id: None,
                server_id: None,
                secured: Secured::Plaintext { reason: "no_tls_from_remote".to_owned() },
                open_connections: 2.0,
            },
        ]
    }

    #[test]
    fn a_connection_is_secured_or_has_the_reason_why_not() {
        assert_eq!(
            table(&edges(), false).render(),
            "\
SRC          DST      SRC_NS      DST_NS      SECURED
web          voting   emojivoto   emojivoto   √
not meshed   web      -           emojivoto   no_tls_from_remote
"
        );
    }

    #[test]
    fn a_wide_table_has_both_identities() {
        assert_eq!(
            table(&edges(), true).render(),
            "\
SRC          DST      SRC_NS      DST_NS      CLIENT_ID       SERVER_ID          SECURED
web          voting   emojivoto   emojivoto   web.emojivoto   voting.emojivoto   √ mTLS
not meshed   web      -           emojivoto   -               -                  no_tls_from_remote
"
        );
    }

    #[test]
    fn between_namespaces_all_connections_of_a_kind_are_one_row() {
        let mut all = edges();
        let other = Some(ResourceRef::new("emojivoto", ResourceType::Deployment, "emoji"));
        all.push(Edge { destination: other, ..all[0].clone() });
        let all = of_target(all, NAMESPACES, None);
        assert_eq!(
            table(&all, false).render(),
            "\
SRC          DST         SRC_NS      DST_NS      SECURED
emojivoto    emojivoto   emojivoto   emojivoto   √
not meshed   emojivoto   -           emojivoto   no_tls_from_remote
"
        );
        assert_eq!(all[0].open_connections, 2.0);
    }

    #[test]
    fn a_service_stands_for_the_workloads_behind_it() {
        let service = ResourceRef::new("emojivoto", ResourceType::Service, "voting-svc");
        let all = of_target(edges(), SERVICES, Some(service));
        let text = table(&all[..1], false).render();
        assert!(text.contains("\nweb   voting-svc   emojivoto   emojivoto   √\n"), "{text}");
    }

    #[test]
    fn connections_within_a_node_and_between_nodes_are_one_row_unless_the_table_is_wide() {
        let mut edges = edges();
        edges.push(Edge { secured: Secured::SameNode, open_connections: 3.0, ..edges[0].clone() });
        let rows = |wide| table(&edges, wide).render().lines().filter(|line| line.starts_with("web")).count();
        assert_eq!((rows(false), rows(true)), (1, 2));
        let json: serde_json::Value = serde_json::from_str(&json_text(&edges).unwrap()).unwrap();
        assert_eq!(json.as_array().unwrap().len(), 3);
    }
}

//! `weft viz stat server|serverauthorization|authorizationpolicy`: figures of policies.

use anyhow::{Result, bail};
use serde_json::json;
use weft_api::viz::{PolicyRow, PolicyType};

use super::StatArgs;
use crate::{
    terminal::print,
    viz::{
        access::{Route, Viz},
        format::{self, NONE},
        json::count,
        notes,
        options::Output,
        table::{Align, Table},
    },
};

/// A kind of policies, or one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PolicyTarget {
    kind: PolicyType,
    name: Option<String>,
}

impl PolicyTarget {
    /// What the arguments of a command name, if that is policies.
    pub(super) fn parse(arguments: &[String]) -> Result<Option<Vec<Self>>> {
        let (first, rest) = match arguments {
            [first, rest @ ..] => (first.split('/').next().unwrap_or_default(), rest),
            [] => return Ok(None),
        };
        let Some(kind) = kind(first) else { return Ok(None) };
        if !arguments[0].contains('/')
            && !rest.is_empty()
            && rest.iter().all(|word| self::kind(word).is_none())
        {
            return Ok(Some(rest.iter().map(|name| Self { kind, name: Some(name.clone()) }).collect()));
        }
        let one = |word: &String| {
            let (word, name) =
                word.split_once('/').map_or((word.as_str(), None), |(kind, name)| (kind, Some(name)));
            match self::kind(word) {
                Some(kind) => Ok(Self { kind, name: name.map(str::to_owned) }),
                None => bail!("{word:?} is no kind of policies; ask for it in a command of its own"),
            }
        };
        arguments.iter().map(one).collect::<Result<_>>().map(Some)
    }
}

fn kind(word: &str) -> Option<PolicyType> {
    Some(match word.to_ascii_lowercase().as_str() {
        "srv" | "server" | "servers" => PolicyType::Server,
        "saz" | "serverauthorization" | "serverauthorizations" => PolicyType::ServerAuthorization,
        "authzpolicy" | "authorizationpolicy" | "authorizationpolicies" => PolicyType::AuthorizationPolicy,
        _ => return None,
    })
}

pub(super) async fn stat(viz: &Viz, args: &StatArgs, targets: &[PolicyTarget]) -> Result<()> {
    if args.to.is_some() || args.from.is_some() || args.selector.is_some() {
        bail!("figures of policies are of all clients: leave out --to, --from and -l");
    }
    let range = args.window.window.to_string();
    let mut all: Vec<PolicyRow> = Vec::new();
    let mut about = None;
    for PolicyTarget { kind, name } in targets {
        let mut query = vec![("window", range.as_str()), ("type", kind.as_str())];
        if !args.all_namespaces {
            query.push(("namespace", viz.namespace.as_str()));
        }
        query.extend(name.as_deref().map(|name| ("name", name)));
        let answer = viz.get::<Vec<PolicyRow>>("/api/policy-reports", &query).await?;
        all.extend(answer.data);
        about = Some(answer.meta);
    }
    all.sort_by(|a, b| {
        (a.kind, &a.namespace, &a.name, &a.server).cmp(&(b.kind, &b.namespace, &b.name, &b.server))
    });
    if let Some(meta) = &about {
        notes::about(meta);
    }
    if all.is_empty() {
        let source = about.map(|meta| meta.source);
        notes::say(&notes::no_traffic(source, args.window.window, "traffic at such policies"));
        notes::say(&format!("Are there any? {} lists them.", listing(viz, targets)));
    }
    match args.output.output {
        Output::Json => print(&json_text(&all)?),
        _ => {
            let tables =
                all.chunk_by(|a, b| a.kind == b.kind).map(|rows| table(rows, args.all_namespaces).render());
            print(&tables.collect::<Vec<_>>().join("\n"))
        }
    }
}

/// The command that lists policies of these kinds. weft-viz knows only those that had traffic.
fn listing(viz: &Viz, targets: &[PolicyTarget]) -> String {
    let mut kinds: Vec<_> = targets.iter().map(|target| target.kind).collect();
    kinds.sort();
    kinds.dedup();
    let plurals: Vec<_> = kinds.into_iter().map(plural).collect();
    match viz.route {
        Route::Cluster { .. } | Route::Direct(_) => format!("`kubectl get {} -A`", plurals.join(",")),
        Route::Vm(_) => "`grep -r policy.linkerd.io` in the folder of the manifests".to_owned(),
    }
}

fn plural(kind: PolicyType) -> &'static str {
    match kind {
        PolicyType::Server => "servers.policy.linkerd.io",
        PolicyType::ServerAuthorization => "serverauthorizations.policy.linkerd.io",
        PolicyType::AuthorizationPolicy => "authorizationpolicies.policy.linkerd.io",
    }
}

/// The rows of one kind.
fn table(rows: &[PolicyRow], namespaces: bool) -> Table {
    let is_server = rows.first().is_some_and(|row| row.kind == PolicyType::Server);
    let mut columns = Vec::new();
    if namespaces {
        columns.push(("NAMESPACE", Align::Left));
    }
    columns.push(("NAME", Align::Left));
    if !is_server {
        columns.push(("SERVER", Align::Left));
    }
    let figures = ["UNAUTHORIZED", "SUCCESS", "RPS", "LATENCY_P50", "LATENCY_P95", "LATENCY_P99"];
    columns.extend(figures.map(|name| (name, Align::Right)));
    if is_server {
        columns.push(("TCP_CONN", Align::Right));
    }
    let connections = rows.iter().any(|row| row.connections > 0.0);
    columns.extend(connections.then_some(("CONNECTIONS", Align::Right)));
    let mut table = Table::new(&columns);
    for row in rows {
        let mut cells = Vec::new();
        if namespaces {
            cells.push(row.namespace.clone());
        }
        cells.push(row.name.clone());
        if !is_server {
            cells.push(row.server.clone().unwrap_or_else(|| NONE.to_owned()));
        }
        cells.push(row.denied_rps.map_or_else(|| NONE.to_owned(), format::rps));
        cells.extend(format::http(row.http.as_ref()));
        if is_server {
            cells.push(row.open_connections.map_or_else(|| NONE.to_owned(), format::count));
        }
        cells.extend(connections.then(|| format::count_or_none(row.connections)));
        table.row(cells);
    }
    table
}

fn json_text(rows: &[PolicyRow]) -> Result<String> {
    let row = |row: &PolicyRow| {
        let http = row.http.as_ref();
        json!({
            "namespace": row.namespace,
            "kind": row.kind.as_str(),
            "name": row.name,
            "server": row.server,
            "unauthorized_rps": row.denied_rps,
            "success": http.and_then(|http| http.success_rate),
            "rps": http.map(|http| http.rps),
            "latency_ms_p50": http.and_then(|http| http.latency_ms.p50),
            "latency_ms_p95": http.and_then(|http| http.latency_ms.p95),
            "latency_ms_p99": http.and_then(|http| http.latency_ms.p99),
            "tcp_open_connections": row.open_connections.map(count),
            "tcp_connections": count(row.connections),
        })
    };
    Ok(format!("{}\n", serde_json::to_string_pretty(&rows.iter().map(row).collect::<Vec<_>>())?))
}

#[cfg(test)]
mod tests {
    use weft_api::viz::{HttpStats, LatencyMs};

    use super::*;

    type Parsed = Option<Vec<(PolicyType, Option<String>)>>;

    fn parse(words: &[&str]) -> Result<Parsed> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let found = PolicyTarget::parse(&words)?;
        Ok(found.map(|all| all.into_iter().map(|target| (target.kind, target.name)).collect()))
    }

    #[test]
    fn policies_are_named_as_other_resources_are() {
        let named = |kind, name: &str| (kind, Some(name.to_owned()));
        assert_eq!(parse(&["srv"]).unwrap().unwrap(), [(PolicyType::Server, None)]);
        assert_eq!(parse(&["server/web"]).unwrap().unwrap(), [named(PolicyType::Server, "web")]);
        assert_eq!(
            parse(&["saz", "a", "b"]).unwrap().unwrap(),
            [named(PolicyType::ServerAuthorization, "a"), named(PolicyType::ServerAuthorization, "b")]
        );
        assert_eq!(
            parse(&["srv", "authorizationpolicy"]).unwrap().unwrap(),
            [(PolicyType::Server, None), (PolicyType::AuthorizationPolicy, None)]
        );
        assert_eq!(parse(&["deploy"]).unwrap(), None);
        assert!(parse(&["srv/web", "deploy/web"]).unwrap_err().to_string().contains("command of its own"));
    }

    #[test]
    fn a_server_has_what_it_refused_and_an_authorization_its_server() {
        let latency = LatencyMs { p50: Some(1.0), p95: Some(2.0), p99: Some(2.0) };
        let row = |kind, name: &str, server: Option<&str>| PolicyRow {
            kind,
            namespace: "emojivoto".to_owned(),
            name: name.to_owned(),
            server: server.map(str::to_owned),
            denied_rps: server.is_none().then_some(0.5),
            http: Some(HttpStats::of(60.0, 6.0, 60.0, latency)),
            open_connections: server.is_none().then_some(3.0),
            connections: 0.0,
        };
        assert_eq!(
            table(&[row(PolicyType::Server, "voting-grpc", None)], false).render(),
            "\
NAME          UNAUTHORIZED   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
voting-grpc         0.5rps    90.00%   1.0rps           1ms           2ms           2ms          3
"
        );
        assert_eq!(
            table(&[row(PolicyType::AuthorizationPolicy, "web", Some("voting-grpc"))], true).render(),
            "\
NAMESPACE   NAME   SERVER        UNAUTHORIZED   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99
emojivoto   web    voting-grpc              -    90.00%   1.0rps           1ms           2ms           2ms
"
        );
        let mut opaque = row(PolicyType::AuthorizationPolicy, "web", Some("redis"));
        (opaque.http, opaque.connections) = (None, 12.0);
        assert_eq!(
            table(&[opaque], false).render(),
            "\
NAME   SERVER   UNAUTHORIZED   SUCCESS   RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   CONNECTIONS
web    redis               -         -     -             -             -             -            12
"
        );
    }
}

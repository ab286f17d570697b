//! Tables and JSON of `weft viz stat`.

use anyhow::Result;
use serde::Serialize;
use weft_api::viz::{ResourceType, StatRow};

use crate::viz::{
    format::{self, NONE},
    json::count,
    resource::short,
    table::{Align, Table},
};

/// How rows become tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    /// With a column for the namespace.
    pub(super) namespaces: bool,
    /// With the type before names, as in `deploy/web`.
    pub(super) prefix: bool,
    pub(super) wide: bool,
}

impl Tables {
    /// One table per type. The rows of a type stand together.
    pub(super) fn render(self, rows: &[StatRow]) -> String {
        let tables = rows.chunk_by(|a, b| a.resource.kind == b.resource.kind).map(|rows| self.table(rows));
        tables.collect::<Vec<_>>().join("\n")
    }

    fn table(self, rows: &[StatRow]) -> String {
        let kind = rows.first().map(|row| row.resource.kind);
        let namespaces = self.namespaces && kind != Some(ResourceType::Namespace);
        let status = kind == Some(ResourceType::Pod);
        let split = rows.iter().any(|row| row.split.is_some());
        let mut columns = Vec::new();
        if namespaces {
            columns.push(("NAMESPACE", Align::Left));
        }
        columns.push(("NAME", Align::Left));
        if status {
            columns.push(("STATUS", Align::Right));
        }
        if split {
            columns.extend([("APEX", Align::Left), ("LEAF", Align::Left), ("WEIGHT", Align::Right)]);
        }
        let figures = ["MESHED", "SUCCESS", "RPS", "LATENCY_P50", "LATENCY_P95", "LATENCY_P99", "TCP_CONN"];
        columns.extend(figures.map(|name| (name, Align::Right)));
        if self.wide {
            columns.extend(["READ_BYTES/SEC", "WRITE_BYTES/SEC"].map(|name| (name, Align::Right)));
        }
        let mut table = Table::new(&columns);
        for row in rows {
            let mut cells = Vec::new();
            if namespaces {
                cells.push(row.resource.namespace.clone());
            }
            cells.push(if self.prefix {
                format!("{}/{}", short(row.resource.kind), row.resource.name)
            } else {
                row.resource.name.clone()
            });
            if status {
                cells.push(row.status.clone().unwrap_or_else(|| NONE.to_owned()));
            }
            if split {
                match &row.split {
                    Some(split) => {
                        cells.extend([split.apex.clone(), split.leaf.clone(), split.weight.to_string()]);
                    }
                    None => cells.extend([NONE, NONE, NONE].map(str::to_owned)),
                }
            }
            cells.push(format::meshed(row.pods));
            cells.extend(format::http(row.http.as_ref()));
            cells.push(row.tcp.map_or_else(|| NONE.to_owned(), |tcp| format::count(tcp.open_connections)));
            if self.wide {
                cells.extend(match row.tcp {
                    Some(tcp) => {
                        [tcp.read_bytes_per_second, tcp.write_bytes_per_second].map(format::bytes_per_second)
                    }
                    None => [NONE, NONE].map(str::to_owned),
                });
            }
            table.row(cells);
        }
        table.render()
    }
}

/// A row as Linkerd's `stat -o json` has it.
#[derive(Debug, Serialize)]
struct JsonRow<'a> {
    namespace: &'a str,
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    meshed: Option<String>,
    success: Option<f64>,
    rps: Option<f64>,
    latency_ms_p50: Option<f64>,
    latency_ms_p95: Option<f64>,
    latency_ms_p99: Option<f64>,
    tcp_open_connections: Option<u64>,
    tcp_read_bytes_rate: Option<f64>,
    tcp_write_bytes_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    apex: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leaf: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
}

pub(super) fn json(rows: &[StatRow]) -> Result<String> {
    let rows: Vec<_> = rows.iter().map(json_row).collect();
    Ok(format!("{}\n", serde_json::to_string_pretty(&rows)?))
}

fn json_row(row: &StatRow) -> JsonRow<'_> {
    let http = row.http.as_ref();
    JsonRow {
        namespace: &row.resource.namespace,
        kind: row.resource.kind.as_str(),
        name: &row.resource.name,
        status: row.status.as_deref(),
        meshed: row.pods.map(|pods| format!("{}/{}", pods.meshed, pods.running)),
        success: http.and_then(|http| http.success_rate),
        rps: http.map(|http| http.rps),
        latency_ms_p50: http.and_then(|http| http.latency_ms.p50),
        latency_ms_p95: http.and_then(|http| http.latency_ms.p95),
        latency_ms_p99: http.and_then(|http| http.latency_ms.p99),
        tcp_open_connections: row.tcp.map(|tcp| count(tcp.open_connections)),
        tcp_read_bytes_rate: row.tcp.map(|tcp| tcp.read_bytes_per_second),
        tcp_write_bytes_rate: row.tcp.map(|tcp| tcp.write_bytes_per_second),
        apex: row.split.as_ref().map(|split| split.apex.as_str()),
        leaf: row.split.as_ref().map(|split| split.leaf.as_str()),
        weight: row.split.as_ref().map(|split| split.weight),
    }
}

#[cfg(test)]
mod tests {
    use weft_api::viz::{HttpStats, LatencyMs, PodCount, ResourceRef, TcpStats};

    use super::*;

    fn row(kind: ResourceType, name: &str, requests: f64, failures: f64) -> StatRow {
        let latency = LatencyMs { p50: Some(0.5), p95: Some(4.2), p99: Some(10.0) };
        StatRow {
            resource: ResourceRef::new("emojivoto", kind, name),
            status: (kind == ResourceType::Pod).then(|| "Running".to_owned()),
            pods: Some(PodCount { meshed: 1, running: 1, failed: 0 }),
            http: (requests > 0.0).then(|| HttpStats::of(requests, failures, 60.0, latency)),
            tcp: Some(TcpStats {
                open_connections: 3.0,
                read_bytes_per_second: 1024.0,
                write_bytes_per_second: 12.25,
            }),
            spark: None,
            split: None,
        }
    }

    const NARROW: Tables = Tables { namespaces: false, prefix: false, wide: false };

    #[test]
    fn deployments_look_as_in_linkerd() {
        let rows = [
            row(ResourceType::Deployment, "emoji", 132.0, 0.0),
            row(ResourceType::Deployment, "vote-bot", 0.0, 0.0),
            row(ResourceType::Deployment, "voting", 64.0, 8.0),
        ];
        assert_eq!(
            NARROW.render(&rows),
            "\
NAME       MESHED   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
emoji         1/1   100.00%   2.2rps         0.5ms           4ms          10ms          3
vote-bot      1/1         -        -             -             -             -          3
voting        1/1    87.50%   1.1rps         0.5ms           4ms          10ms          3
"
        );
    }

    #[test]
    fn pods_of_all_namespaces_have_a_status_and_a_namespace() {
        let rows = [row(ResourceType::Pod, "web-1", 60.0, 0.0)];
        assert_eq!(
            Tables { namespaces: true, prefix: false, wide: true }.render(&rows),
            "\
NAMESPACE   NAME     STATUS   MESHED   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN   READ_BYTES/SEC   WRITE_BYTES/SEC
emojivoto   web-1   Running      1/1   100.00%   1.0rps         0.5ms           4ms          10ms          3        1024.0B/s           12.2B/s
"
        );
    }

    #[test]
    fn several_types_are_several_tables() {
        let rows = [
            row(ResourceType::Deployment, "web", 60.0, 0.0),
            row(ResourceType::Service, "web-svc", 60.0, 0.0),
        ];
        let text = Tables { prefix: true, ..NARROW }.render(&rows);
        let names: Vec<_> = text.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
        assert_eq!(names, ["NAME", "deploy/web", "", "NAME", "svc/web-svc"]);
    }

    #[test]
    fn json_has_the_fields_of_linkerd() {
        let text = json(&[row(ResourceType::Deployment, "voting", 64.0, 8.0)]).unwrap();
        let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(rows[0]["kind"], "deployment");
        assert_eq!(rows[0]["meshed"], "1/1");
        assert_eq!(rows[0]["success"], 0.875);
        assert_eq!(rows[0]["latency_ms_p99"], 10.0);
        assert!(text.contains("\"tcp_open_connections\": 3,"), "a count is an integer: {text}");
    }
}

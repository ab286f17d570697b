// The edges of the topology as a table.
import { useMemo } from "react";
import type { TopologyEdge, TopologyNode } from "../api/types";
import { DataTable, type Column } from "../components/DataTable";
import { SuccessRate } from "../components/HealthMark";
import { Empty } from "../components/Loaded";
import { ResourceLink } from "../components/ResourceLink";
import { Secured } from "../components/Secured";
import { count, millis, rate } from "../format/numbers";
import { securedLabel } from "../format/secured";
import styles from "./EdgeList.module.css";

export function EdgeList({ edges, nodes, find }: { edges: TopologyEdge[]; nodes: TopologyNode[]; find: string }) {
  const byId = useMemo(() => new Map(nodes.map((node) => [node.id, node])), [nodes]);
  const columns = useMemo<Column<TopologyEdge>[]>(() => {
    const end = (id: string) => {
      const node = byId.get(id);
      return (
        <span className={styles.end}>
          {node?.resource ? <ResourceLink resource={node.resource} /> : <span title={node?.label}>{node?.label ?? id}</span>}
          <span className={styles.namespace}>{node?.namespace}</span>
        </span>
      );
    };
    return [
      { id: "source", header: "Source", sort: (edge) => edge.source, cell: (edge) => end(edge.source) },
      { id: "target", header: "Destination", sort: (edge) => edge.target, cell: (edge) => end(edge.target) },
      { id: "success", header: "Success", width: 7, narrowWidth: 6.4, numeric: true, sort: (edge) => edge.http?.successRate, cell: (edge) => <SuccessRate value={edge.http?.successRate} /> },
      { id: "rps", header: "RPS", width: 5, narrowWidth: 3.8, numeric: true, sort: (edge) => edge.http?.rps, cell: (edge) => rate(edge.http?.rps) },
      { id: "p99", header: "P99", width: 6, numeric: true, wideOnly: true, sort: (edge) => edge.http?.latencyMs.p99, cell: (edge) => millis(edge.http?.latencyMs.p99) },
      { id: "connections", header: "Connections", width: 8, numeric: true, wideOnly: true, sort: (edge) => edge.tcp.openConnections, cell: (edge) => count(edge.tcp.openConnections) },
      { id: "secured", header: "Secured", width: 9, wideOnly: true, sort: (edge) => securedLabel(edge.secured), cell: (edge) => <Secured value={edge.secured} /> },
    ];
  }, [byId]);
  const text = find.toLowerCase();
  const shown = edges.filter((edge) => `${edge.source} ${edge.target}`.toLowerCase().includes(text));
  if (shown.length === 0) return <Empty title="No edge is left">Change the search, or show healthy and idle edges.</Empty>;
  return <DataTable caption="Edges" columns={columns} rows={shown} rowKey={(edge) => edge.id} initialSort={{ id: "source", desc: false }} sortParam="edges" />;
}

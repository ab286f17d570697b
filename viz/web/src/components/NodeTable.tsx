// Nodes with their proxies.
import { useMemo } from "react";
import type { NodeItem } from "../api/types";
import { ago, bytes, count, duration, NONE, until } from "../format/numbers";
import { DataTable, type Column } from "./DataTable";
import { HealthMark } from "./HealthMark";
import { Meshed } from "./Meshed";
import styles from "./NodeTable.module.css";

export function NodeTable({ nodes, now }: { nodes: NodeItem[]; now: number }) {
  const columns = useMemo<Column<NodeItem>[]>(() => [
    { id: "name", header: "Node", sort: (node) => node.name, cell: (node) => <span title={node.name}>{node.name}</span> },
    { id: "proxy", header: "Proxy", width: 11, narrowWidth: 9, sort: (node) => stateOf(node).words, cell: (node) => {
      const { health, words } = stateOf(node);
      return <span className={styles[health]} title={node.proxy?.reason ?? undefined}><HealthMark health={health} /> {words}</span>;
    } },
    { id: "pods", header: "Meshed pods", width: 7, numeric: true, sort: (node) => node.pods.meshed, cell: (node) => <Meshed pods={node.pods} /> },
    { id: "connections", header: "Connections", width: 7, numeric: true, wideOnly: true, sort: (node) => node.proxy?.connections, cell: (node) => (
      <span title={node.proxy?.connectionsLimit ? `at most ${node.proxy.connectionsLimit}` : undefined}>{count(node.proxy?.connections)}</span>
    ) },
    { id: "memory", header: "Memory", width: 6, numeric: true, wideOnly: true, sort: (node) => node.proxy?.memoryBytes, cell: (node) => bytes(node.proxy?.memoryBytes) },
    { id: "cpu", header: "CPU", width: 5.5, numeric: true, wideOnly: true, sort: (node) => node.proxy?.cpuCores, cell: (node) => node.proxy?.cpuCores == null ? NONE : `${node.proxy.cpuCores.toFixed(2)} cores` },
    { id: "uptime", header: "Uptime", width: 6, numeric: true, wideOnly: true, sort: (node) => node.proxy?.startedAt && -node.proxy.startedAt, cell: (node) => duration(node.proxy?.startedAt && now - node.proxy.startedAt) },
    { id: "certificate", header: "Certificate ends", width: 8.5, numeric: true, wideOnly: true, sort: (node) => node.proxy?.certificateExpiresAt, cell: (node) => until(node.proxy?.certificateExpiresAt, now) },
    { id: "scraped", header: "Scraped", width: 6, numeric: true, wideOnly: true, sort: (node) => node.proxy?.lastScrapeAt, cell: (node) => ago(node.proxy?.lastScrapeAt, now) },
  ], [now]);
  return <DataTable caption="Nodes" columns={columns} rows={nodes} rowKey={(node) => node.name} initialSort={{ id: "name", desc: false }} sortParam="nodes" />;
}

function stateOf(node: NodeItem): { health: "good" | "warn" | "bad"; words: string } {
  if (!node.proxy) return { health: "bad", words: "none" };
  if (node.proxy.state === "starting") return { health: "warn", words: "starting" };
  if (node.proxy.state === "not_scraped") return { health: "warn", words: "not scraped" };
  return node.proxy.controlPlaneConnected ? { health: "good", words: "ready" } : { health: "warn", words: "no control plane" };
}

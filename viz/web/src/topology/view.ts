// What the map shows of the topology: namespaces as boxes, folded to one node, or not at all.
import type { HttpStats, Secured, TcpStats, Topology, TopologyEdge, TopologyNode } from "../api/types";
import { healthOf, type Health } from "../format/health";
import { sumHttp, sumTcp, worstSecured } from "./sums";

export const GROUPINGS = ["boxes", "folded", "none"] as const;
export type Grouping = (typeof GROUPINGS)[number];

export interface ViewNode {
  id: string;
  kind: TopologyNode["kind"] | "namespace";
  label: string;
  namespace: string | null;
  resource: TopologyNode["resource"];
  pods: TopologyNode["pods"];
  http: HttpStats | null;
  /** For a folded namespace: how many workloads it holds, and how many of them fail requests. */
  members: number;
  failing: number;
  health: Health;
}
export interface ViewEdge {
  id: string;
  source: string;
  target: string;
  http: HttpStats | null;
  tcp: TcpStats;
  secured: Secured;
}
export interface View {
  nodes: ViewNode[];
  edges: ViewEdge[];
  /** Boxes around nodes: their namespaces. */
  groups: { id: string; namespace: string; members: string[] }[];
}

const MANY = 60;

/** Few workloads are shown in boxes; many are folded at first. */
export function defaultGrouping(topology: Topology): Grouping {
  return topology.nodes.length > MANY ? "folded" : "boxes";
}

export const groupId = (namespace: string): string => `namespace:${namespace}`;

export function buildView(topology: Topology, grouping: Grouping, open: ReadonlySet<string>): View {
  const folded = (node: TopologyNode): boolean => grouping === "folded" && node.namespace !== null && !open.has(node.namespace);
  const idOf = new Map<string, string>();
  const nodes: ViewNode[] = [];
  const byNamespace = new Map<string, TopologyNode[]>();
  for (const node of topology.nodes) {
    if (node.namespace !== null) byNamespace.set(node.namespace, [...(byNamespace.get(node.namespace) ?? []), node]);
    idOf.set(node.id, folded(node) ? groupId(node.namespace ?? "") : node.id);
    if (!folded(node)) nodes.push({ ...node, members: 1, failing: 0, health: healthOf(node.http?.successRate) });
  }
  const groups: View["groups"] = [];
  for (const [namespace, members] of byNamespace) {
    if (grouping === "folded" && !open.has(namespace)) nodes.push(foldedNode(namespace, members));
    else if (grouping !== "none") groups.push({ id: groupId(namespace), namespace, members: members.map((node) => node.id) });
  }
  return { nodes: nodes.sort(byId), edges: mergeEdges(topology.edges, idOf), groups: groups.sort(byId) };
}

function foldedNode(namespace: string, members: TopologyNode[]): ViewNode {
  const pods = members.flatMap((node) => (node.pods ? [node.pods] : []));
  const http = sumHttp(members.map((node) => node.http));
  const health = healthOf(http?.successRate);
  const failing = members.filter((node) => ["warn", "bad"].includes(healthOf(node.http?.successRate))).length;
  return {
    id: groupId(namespace), kind: "namespace", label: namespace, namespace,
    resource: { namespace, type: "namespace", name: namespace },
    pods: {
      meshed: pods.reduce((sum, p) => sum + p.meshed, 0), running: pods.reduce((sum, p) => sum + p.running, 0),
      failed: pods.reduce((sum, p) => sum + p.failed, 0),
    },
    http, members: members.length, failing,
    // A few failing workloads must not disappear in the sum.
    health: failing > 0 && health === "good" ? "warn" : health,
  };
}

/** Edges between the same two nodes become one; edges within a folded namespace disappear. */
function mergeEdges(edges: TopologyEdge[], idOf: ReadonlyMap<string, string>): ViewEdge[] {
  const merged = new Map<string, TopologyEdge[]>();
  for (const edge of edges) {
    const source = idOf.get(edge.source);
    const target = idOf.get(edge.target);
    if (!source || !target || source === target) continue;
    const key = `${source}>${target}`;
    merged.set(key, [...(merged.get(key) ?? []), edge]);
  }
  return [...merged].map(([id, parts]) => {
    const first = parts[0] as TopologyEdge;
    return {
      id, source: idOf.get(first.source) ?? "", target: idOf.get(first.target) ?? "",
      http: sumHttp(parts.map((e) => e.http)), tcp: sumTcp(parts.map((e) => e.tcp)), secured: worstSecured(parts.map((e) => e.secured)),
    };
  }).sort(byId);
}

function byId(a: { id: string }, b: { id: string }): number {
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

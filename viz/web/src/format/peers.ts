// Who stands beside a resource: what it exchanges requests or bytes with, and everything else that connects to it.
import type { Edge, HttpStats, ResourceDetail, ResourceRef, StatRow } from "../api/types";
import { refKey } from "./names";
import { plural } from "./numbers";
import { securedLabel } from "./secured";

export interface Peer {
  key: string;
  name: string;
  /** null for what is no object of the cluster. */
  resource: ResourceRef | null;
  http: HttpStats | null;
  /** Says how it is connected, if there are no figures of its traffic. */
  connection: string | null;
}

/** Clients without a proxy, refused ones, and addresses outside have connections, but no rows with figures. */
export function peersOf(detail: ResourceDetail): { inbound: Peer[]; outbound: Peer[] } {
  const { row, edges } = detail;
  return {
    inbound: [...ranked(detail.inbound), ...connected(row, edges, detail.inbound, "source", "destination")],
    outbound: [...ranked(detail.outbound), ...connected(row, edges, detail.outbound, "destination", "source")],
  };
}

/** The ends of connections with `own`, at the side `far`, that `known` lacks. */
function connected(own: ResourceRef, edges: Edge[], known: StatRow[], far: "source" | "destination", near: "source" | "destination"): Peer[] {
  const names = new Set(known.map(refKey));
  const found = new Map<string, { peer: Peer; open: number; states: Set<string> }>();
  for (const edge of edges) {
    const [end, self] = [edge[far], edge[near]];
    // Health checks of the node are no traffic of the application.
    if (edge.secured.state === "plaintext" && edge.secured.reason === "from_node") continue;
    // The edges of a pod end at pods, its rows at their owners: whether a pod is known cannot be told.
    const isOther = end === null ? self !== null : own.type !== "pod" && self !== null && refKey(self) === refKey(own) && !names.has(refKey(end));
    if (!isOther) continue;
    const name = end?.name ?? (far === "source" ? edge.sourceLabel : edge.destinationLabel) ?? "outside";
    const key = end ? refKey(end) : name;
    const entry = found.get(key) ?? { peer: { key, name, resource: end, http: null, connection: null }, open: 0, states: new Set<string>() };
    entry.open += edge.openConnections;
    entry.states.add(securedLabel(edge.secured));
    found.set(key, entry);
  }
  return [...found.values()].map(({ peer, open, states }) => ({ ...peer, connection: `${[...states].sort().join(", ")}, ${open > 0 ? plural(open, "connection") : "none open now"}` }));
}

/** Failing ones first, then the busiest. */
function ranked(rows: StatRow[]): Peer[] {
  const failures = (row: StatRow): number => row.http?.failures ?? 0;
  return [...rows].sort((a, b) => failures(b) - failures(a) || (b.http?.rps ?? 0) - (a.http?.rps ?? 0))
    .map((row) => ({ key: refKey(row), name: row.name, resource: row, http: row.http, connection: null }));
}

/** Requests and connections per second that policy refused. */
export function deniedRate(detail: ResourceDetail): number {
  return detail.authorizations.reduce((sum, row) => sum + row.deniedRps, 0);
}

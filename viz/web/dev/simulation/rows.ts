// SIMULATED rows of the tables: by namespace, workload, pod and service.
import type { Edge, PodItem, ResourceRef, StatRow, Window } from "../../src/api/types";
import { BULK_NAMESPACE, BULK_PODS, NODES, type SimCluster, type SimLink, type SimWorkload } from "./cluster";
import { httpOf, SECONDS, sparkOf, tcpOf } from "./figures";
import { hash } from "./random";

export class Rows {
  constructor(readonly cluster: SimCluster, readonly at: number, readonly window: Window) {}

  private row(ref: ResourceRef, inbound: SimLink[], members: SimWorkload[] | null, share = 1): StatRow {
    const http = httpOf(inbound, this.at, SECONDS[this.window]);
    if (http && share !== 1) {
      http.rps *= share;
      http.requests = Math.round(http.requests * share);
      http.failures = Math.round(http.failures * share);
    }
    const running = members?.reduce((sum, w) => sum + w.pods, 0) ?? 0;
    const meshed = members?.reduce((sum, w) => sum + (w.meshed ? w.pods : 0), 0) ?? 0;
    return {
      ...ref, status: members && ref.type === "pod" ? "Running" : null,
      pods: members ? { meshed, running, failed: 0 } : null,
      http, tcp: tcpOf(inbound, this.at), spark: sparkOf(inbound, this.at, this.window), split: null,
    };
  }

  namespaces(): StatRow[] {
    return [...new Set(this.cluster.workloads.map((w) => w.ref.namespace))].sort().map((name) => this.row(
      { namespace: name, type: "namespace", name },
      this.cluster.links.filter((l) => l.to.ref.namespace === name),
      this.cluster.workloads.filter((w) => w.ref.namespace === name),
    ));
  }

  workload(workload: SimWorkload): StatRow {
    return this.row(workload.ref, this.cluster.links.filter((l) => l.to === workload), [workload]);
  }

  workloads(namespace: string | null): StatRow[] {
    return this.cluster.workloads.filter((w) => w.ref.type !== "pod" && (!namespace || w.ref.namespace === namespace)).map((w) => this.workload(w));
  }

  pods(namespace: string | null): StatRow[] {
    if (namespace === BULK_NAMESPACE) return bulk();
    return this.cluster.workloads.filter((w) => !namespace || w.ref.namespace === namespace).flatMap((w) => {
      const links = this.cluster.links.filter((l) => l.to === w);
      return podNames(w).map((name) => this.row({ namespace: w.ref.namespace, type: "pod", name }, links, [{ ...w, pods: 1 }], 1 / w.pods));
    });
  }

  services(namespace: string | null): StatRow[] {
    const byService = new Map<string, SimLink[]>();
    for (const link of this.cluster.links) {
      if (!link.service || (namespace && link.to.ref.namespace !== namespace)) continue;
      const key = `${link.to.ref.namespace}/${link.service}`;
      byService.set(key, [...(byService.get(key) ?? []), link]);
    }
    return [...byService].map(([key, links]) => {
      const [ns, name] = key.split("/") as [string, string];
      return this.row({ namespace: ns, type: "service", name }, links, null);
    });
  }

  /** The other ends of links, with the figures of those links. */
  peers(links: SimLink[], end: "from" | "to"): StatRow[] {
    const by = new Map<SimWorkload, SimLink[]>();
    for (const link of links) {
      const peer = link[end];
      if (peer) by.set(peer, [...(by.get(peer) ?? []), link]);
    }
    return [...by].map(([peer, own]) => this.row(peer.ref, own, [peer]));
  }

  podItems(workload: SimWorkload): PodItem[] {
    const links = this.cluster.links.filter((l) => l.to === workload);
    return podNames(workload).map((name) => {
      const row = this.row({ namespace: workload.ref.namespace, type: "pod", name }, links, [workload], 1 / workload.pods);
      return {
        namespace: workload.ref.namespace, name, owner: workload.ref.type === "pod" ? null : workload.ref,
        node: NODES[workload.node] ?? null, phase: "Running", ready: true, startedAt: this.at - 86_400 - (hash(name) % 90_000),
        meshed: workload.meshed, proxy: workload.meshed ? { state: "served", reason: null } : null,
        tap: workload.meshed ? "allowed" : "not_meshed", http: row.http, tcp: row.tcp, spark: row.spark,
      };
    });
  }
}

export function edgesOf(links: SimLink[]): Edge[] {
  return links.map((link) => ({
    source: link.from?.ref ?? null, destination: link.to.ref,
    sourceLabel: link.from ? null : (link.fromLabel ?? null), destinationLabel: null,
    clientId: link.from?.meshed ? identity(link.from) : null,
    serverId: link.to.meshed && link.secured.state !== "plaintext" ? identity(link.to) : null,
    secured: link.secured, openConnections: link.connections,
  }));
}

export function identity(workload: SimWorkload): string {
  return `${workload.ref.name}.${workload.ref.namespace}.serviceaccount.identity.linkerd.cluster.local`;
}

export function podNames(workload: SimWorkload): string[] {
  const { type, name } = workload.ref;
  if (type === "pod") return [name];
  return Array.from({ length: workload.pods }, (_, i) => type === "statefulset"
    ? `${name}-${i}`
    : `${name}-${hash(name).toString(36).slice(0, 6)}-${hash(`${name}${i}`).toString(36).slice(0, 5)}`);
}

function bulk(): StatRow[] {
  return Array.from({ length: BULK_PODS }, (_, i) => ({
    namespace: BULK_NAMESPACE, type: "pod" as const, name: `series-${String(i).padStart(5, "0")}`, status: "Running",
    pods: { meshed: 1, running: 1, failed: 0 },
    http: { requests: i, failures: i % 97 === 0 ? i : 0, successRate: i % 97 === 0 ? 0 : 1, rps: i / 60, latencyMs: { p50: 1, p95: 2, p99: (i % 100) + 1 } },
    tcp: { openConnections: i % 7, readBytesPerSecond: i * 10, writeBytesPerSecond: i * 20 },
    spark: null, split: null,
  }));
}

// SIMULATED answers about the mesh itself: problems, nodes, control plane, checks.
import type { CheckReport, ControlPlane, NodeItem, Overview, PodCount, Problem } from "../../src/api/types";
import { cluster, worst, type Query } from "./answers";
import { NODE_WITHOUT_PROXY, NODES, type SimWorkload } from "./cluster";
import { httpOf, SECONDS, seriesOf } from "./figures";
import { wave } from "./random";

const { workloads, links } = cluster;
const VERSION = "0.0.0-simulated";

function countPods(of: SimWorkload[]): PodCount {
  const running = of.reduce((sum, w) => sum + w.pods, 0);
  return { running, meshed: of.reduce((sum, w) => sum + (w.meshed ? w.pods : 0), 0), failed: 0 };
}

export function overview(query: Query): Overview {
  const http = httpOf(links, query.at, SECONDS[query.window]);
  const between = links.filter((l) => l.from?.meshed && l.to.meshed);
  const outside = links.filter((l) => !l.from?.meshed && l.to.meshed && l.secured.state === "plaintext");
  const connections = (of: typeof links) => of.reduce((sum, l) => sum + l.connections, 0);
  return {
    totals: {
      namespaces: new Set(workloads.map((w) => w.ref.namespace)).size, nodes: { total: NODES.length, withProxy: NODES.length - 1 },
      pods: countPods(workloads), http: http ?? { requests: 0, failures: 0, successRate: null, rps: 0, latencyMs: { p50: null, p95: null, p99: null } },
      secured: { total: connections(between), connections: connections(between.filter((l) => l.secured.state !== "plaintext")), plaintextFromOutside: connections(outside) },
    },
    series: seriesOf(links, query.at, query.window, 60),
    problems: problems(query),
  };
}

export function problems(query: Query): Problem[] {
  const found: Problem[] = [];
  for (const workload of workloads) {
    const own = links.filter((l) => l.to === workload);
    const http = httpOf(own, query.at, SECONDS[query.window]);
    if (http?.successRate == null || http.successRate >= 0.95) continue;
    found.push({
      kind: "success-rate", id: `success-rate:${workload.ref.namespace}/${workload.ref.name}`, severity: http.successRate < 0.9 ? "critical" : "warning",
      since: query.at - 2700, summary: `${workload.ref.name} answers with failures`, resource: workload.ref, successRate: http.successRate,
      baseline: workload.ref.namespace === "emojivoto" ? http.successRate + 0.002 : 0.998, baselineSeconds: 3_600, rps: http.rps, worst: worst(own, query)[0] ?? null,
    });
  }
  found.sort((a, b) => (a.kind === "success-rate" && b.kind === "success-rate" ? a.successRate - b.successRate : 0));
  const slow = links.find((l) => l.p50 === 80);
  if (slow) {
    found.push({ kind: "latency", id: `latency:${slow.to.ref.name}`, severity: "warning", since: query.at - 600, summary: `${slow.to.ref.name} is slow`,
      resource: slow.to.ref, p99Ms: 360 * wave("slow", query.at), baselineP99Ms: 41, baselineSeconds: 420, rps: slow.rps });
  }
  for (const link of links.filter((l) => l.from?.meshed && l.to.meshed && l.secured.state === "plaintext")) {
    found.push({ kind: "plaintext", id: `plaintext:${link.to.ref.name}`, severity: "warning", since: null, summary: "Meshed pods talk in plaintext",
      source: (link.from as SimWorkload).ref, destination: link.to.ref, reason: "not_provided_by_service_discovery", connections: link.connections });
  }
  return [...found,
    { kind: "node-without-proxy", id: `node:${NODE_WITHOUT_PROXY}`, severity: "critical", since: query.at - 7_300, summary: "A node runs no proxy", node: NODE_WITHOUT_PROXY, meshedPods: 6, lastSeenAt: query.at - 7_300 },
    { kind: "certificate", id: "certificate:issuer", severity: "warning", since: null, summary: "The issuer expires soon", what: "issuer", identity: null, node: null, expiresAt: query.at + 19 * 86_400 },
    { kind: "denied", id: "denied:safe", severity: "warning", since: query.at - 5_000, summary: "Requests are denied", clientId: null, rps: 0.2,
      resource: { namespace: "vault", type: "statefulset", name: "safe" }, source: { namespace: "demo", type: "pod", name: "unmeshed" } },
  ].sort((a, b) => Number(a.severity !== "critical") - Number(b.severity !== "critical")) as Problem[];
}

export function nodes(query: Query): NodeItem[] {
  return NODES.map((name, i) => {
    const own = workloads.filter((w) => w.node === i);
    const without = name === NODE_WITHOUT_PROXY;
    return {
      name, ready: true, pods: without ? { meshed: 6, running: 8, failed: 0 } : countPods(own),
      perNamespace: [...new Set(own.map((w) => w.ref.namespace))].sort().map((namespace) => {
        const { meshed, running } = countPods(own.filter((w) => w.ref.namespace === namespace));
        return { namespace, meshed, running };
      }),
      proxy: without ? null : {
        version: VERSION, state: "ready" as const, reason: null, startedAt: query.at - 200_000 - i * 5_000, lastScrapeAt: query.at - 4,
        memoryBytes: 48e6 * wave(name, query.at, 0.05), cpuCores: 0.22 * wave(name, query.at), connections: 420 + i * 31, connectionsLimit: 131_072,
        controlPlaneConnected: true, certificateExpiresAt: query.at + 60_000,
      },
    };
  });
}

export function controlPlane(query: Query): ControlPlane {
  const pod = (name: string, ready = true) => ({ name, phase: "Running", ready, restarts: ready ? 0 : 3, startedAt: query.at - 400_000 });
  return {
    components: [
      { name: "weft-control", namespace: "linkerd", version: VERSION, desired: 2, pods: [pod("weft-control-6d8f-a1"), pod("weft-control-6d8f-b2")] },
      { name: "weft-proxy", namespace: "linkerd", version: VERSION, desired: 4, pods: ["x1", "x2", "x3"].map((n) => pod(`weft-proxy-${n}`)) },
      { name: "metrics-api", namespace: "linkerd-viz", version: VERSION, desired: 1, pods: [pod("metrics-api-77c-q")] },
      { name: "tap", namespace: "linkerd-viz", version: VERSION, desired: 1, pods: [pod("tap-5b4-z")] },
      { name: "web", namespace: "linkerd-viz", version: VERSION, desired: 1, pods: [pod("web-9f1-k")] },
      { name: "prometheus", namespace: "linkerd-viz", version: "2.55.1", desired: 1, pods: [pod("prometheus-0", false)] },
    ],
    namespaces: [...new Set(workloads.map((w) => w.ref.namespace))].sort().map((namespace) => {
      const { meshed, running } = countPods(workloads.filter((w) => w.ref.namespace === namespace));
      return { namespace, meshed, running };
    }),
    issuer: { subject: "identity.linkerd.cluster.local", notBefore: query.at - 346 * 86_400, expiresAt: query.at + 19 * 86_400 },
    anchors: [{ subject: "root.linkerd.cluster.local", notBefore: query.at - 346 * 86_400, expiresAt: query.at + 3300 * 86_400 }],
  };
}

export function check(): CheckReport {
  const ok = (description: string) => ({ description, result: "success" as const, error: null, hint: null });
  return {
    success: true,
    categories: [
      { name: "linkerd-existence", checks: [ok("control plane pods are ready"), ok("cluster networks contains all pods")] },
      { name: "linkerd-identity", checks: [ok("certificate config is valid"), {
        description: "issuer cert is valid for at least 60 days", result: "warning", error: "the issuer expires in 19 days", hint: "https://linkerd.io/2/checks/#l5d-identity-issuer-cert-not-expiring-soon" }] },
      { name: "linkerd-viz", checks: [ok("linkerd-viz Namespace exists"), ok("tap API service is running"), ok("viz extension self-check")] },
    ],
  };
}

// SIMULATED answers of /api/…: one function per call, in the shapes of src/api/types.ts.
import {
  RESOURCE_TYPES, WINDOWS, type Answer, type AuthzRow, type ExtensionItem, type GatewayItem, type PathStats,
  type ResourceDetail, type ResourceItem, type ResourceRef, type RouteRow, type StatRow, type Topology, type VersionInfo, type Window,
} from "../../src/api/types";
import { BULK_NAMESPACE, BULK_PODS, buildCluster, type SimLink, type SimWorkload } from "./cluster";
import { httpOf, SECONDS, seriesOf, sparkOf, tcpOf, worstSecured } from "./figures";
import { edgesOf, identity, podNames, Rows } from "./rows";

export class Refused extends Error {
  constructor(readonly status: number, readonly code: string, message: string, readonly hint: string | null = null) {
    super(message);
  }
}

export const cluster = buildCluster();
const { workloads, links } = cluster;

export interface Query {
  params: URLSearchParams;
  at: number;
  window: Window;
}

export function readQuery(params: URLSearchParams): Query {
  const window = params.get("window") ?? "1m";
  if (!(WINDOWS as readonly string[]).includes(window)) {
    throw new Refused(400, "bad_request", `window=${window} is not known`, `Use one of ${WINDOWS.join(", ")}.`);
  }
  return { params, at: Date.now() / 1000, window: window as Window };
}

export function answer<T>(query: Query, data: T): Answer<T> {
  return { meta: { at: query.at, window: query.window, source: "prometheus", warnings: [{ code: "node_not_scraped", message: "Figures of node-d are missing: no proxy runs there." }] }, data };
}

/** The workloads that a reference means: itself, those of a namespace, of a service, of a pod's owner. */
export function resolve(ref: ResourceRef): SimWorkload[] {
  const inside = workloads.filter((w) => w.ref.namespace === ref.namespace);
  if (ref.type === "namespace") return inside;
  if (ref.type === "service") return [...new Set(links.filter((l) => l.service === ref.name && l.to.ref.namespace === ref.namespace).map((l) => l.to))];
  if (ref.type === "pod") return inside.filter((w) => podNames(w).includes(ref.name));
  return inside.filter((w) => w.ref.type === ref.type && w.ref.name === ref.name);
}

export function readRef(params: URLSearchParams, prefix = ""): ResourceRef | null {
  const type = params.get(`${prefix}type`);
  const namespace = params.get(`${prefix}namespace`);
  if (!namespace) return null;
  if (!type || type === "namespace") return { namespace, type: "namespace", name: namespace };
  if (!(RESOURCE_TYPES as readonly string[]).includes(type)) throw new Refused(400, "bad_request", `type=${type} is not known`);
  const name = params.get(`${prefix}name`);
  return name ? { namespace, type: type as ResourceRef["type"], name } : null;
}

export function version(): VersionInfo {
  return {
    version: "0.0.0-simulated", clusterDomain: "cluster.local", controlPlaneNamespace: "linkerd", vizNamespace: "linkerd-viz",
    source: "kubernetes", prometheus: { available: true, retentionSeconds: 7 * 86_400 },
    grafana: { url: "https://grafana.example.org", uidPrefix: "" }, cli: ["weft", "viz"],
  };
}

export function resources(): ResourceItem[] {
  const rows = new Rows(cluster, 0, "1m");
  const named = workloads.map((w) => ({ ...w.ref, meshed: w.meshed }));
  const services = rows.services(null).map(({ namespace, type, name }) => ({ namespace, type, name, meshed: true }));
  const bulk = Array.from({ length: BULK_PODS }, (_, i) => ({ namespace: BULK_NAMESPACE, type: "pod" as const, name: `series-${String(i).padStart(5, "0")}`, meshed: true }));
  return [...named, ...services, ...bulk];
}

export function tpsReports(query: Query): StatRow[] {
  const rows = new Rows(cluster, query.at, query.window);
  const type = query.params.get("type") ?? "all";
  const namespace = query.params.get("namespace");
  if (type === "namespace") return rows.namespaces().filter((r) => !namespace || r.name === namespace);
  if (type === "pod") return rows.pods(namespace);
  if (type === "service") return rows.services(namespace);
  const found = rows.workloads(namespace);
  if (type !== "all") return found.filter((r) => r.type === type);
  return [...found, ...rows.services(namespace), ...rows.pods(namespace)];
}

export function topology(query: Query): Topology {
  const namespace = query.params.get("namespace");
  const chosen = links.filter((l) => !namespace || l.to.ref.namespace === namespace || l.from?.ref.namespace === namespace);
  const id = (w: SimWorkload | null): string => (w ? `${w.ref.namespace}/${w.ref.type}/${w.ref.name}` : "outside");
  const members = new Set<SimWorkload>(workloads.filter((w) => !namespace || w.ref.namespace === namespace));
  for (const link of chosen) for (const w of [link.from, link.to]) if (w) members.add(w);
  const rows = new Rows(cluster, query.at, query.window);
  const nodes: Topology["nodes"] = [...members].map((w) => {
    const row = rows.workload(w);
    return { id: id(w), label: w.ref.name, namespace: w.ref.namespace, resource: w.ref, kind: w.meshed ? "workload" : "unmeshed", pods: row.pods, http: row.http };
  });
  if (chosen.some((l) => !l.from)) nodes.push({ id: "outside", label: "outside the cluster", namespace: null, resource: null, kind: "outside", pods: null, http: null });
  const grouped = new Map<string, SimLink[]>();
  for (const link of chosen) {
    const key = `${id(link.from)}>${id(link.to)}`;
    grouped.set(key, [...(grouped.get(key) ?? []), link]);
  }
  const edges = [...grouped].map(([key, own]) => ({
    id: key, source: id((own[0] as SimLink).from), target: id((own[0] as SimLink).to),
    http: httpOf(own, query.at, SECONDS[query.window]), tcp: tcpOf(own, query.at), secured: worstSecured(own),
  }));
  return { nodes, edges };
}

export function timeseries(query: Query) {
  const ref = readRef(query.params);
  const own = ref ? links.filter((l) => resolve(ref).includes(l.to)) : links;
  return seriesOf(own, query.at, query.window, 120);
}

export function worst(own: SimLink[], query: Query): PathStats[] {
  return own.flatMap((l) => l.paths.filter(([, , , failing]) => failing > 0).map(([method, path, share, failing]) => {
    const requests = Math.round(l.rps * share * SECONDS[query.window]);
    return { method, path, requests, failures: Math.round(requests * failing) };
  })).sort((a, b) => b.failures - a.failures).slice(0, 10);
}

export function routes(query: Query): RouteRow[] {
  const ref = readRef(query.params);
  if (!ref) throw new Refused(400, "bad_request", "namespace is missing", "Choose what to show routes of.");
  const own = links.filter((l) => resolve(ref).includes(l.to) && l.rps > 0);
  return own.flatMap((l) => l.paths.flatMap(([method, path, share, failing]): RouteRow[] => {
    const own = [{ ...l, rps: l.rps * share, failing }];
    const http = httpOf(own, query.at, SECONDS[query.window]);
    if (!http) return [];
    return [{ route: l.paths.length > 2 ? `${method} ${path}` : "[DEFAULT]", service: `${l.service}.${l.to.ref.namespace}`, http, actual: null, spark: sparkOf(own, query.at, query.window) }];
  }));
}

export function authz(own: SimLink[], query: Query): AuthzRow[] {
  const denied = own.filter((l) => l.connections === 0);
  const rows: AuthzRow[] = [{
    server: "default:all-unauthenticated", route: "default", authorization: "default/all-unauthenticated", deniedRps: 0,
    http: httpOf(own, query.at, SECONDS[query.window]), connections: 0,
  }];
  return denied.length === 0 ? rows : [...rows, { server: "safe", route: "default", authorization: null, deniedRps: 0.2, http: null, connections: 12 }];
}

export function resource(query: Query, ref: ResourceRef): ResourceDetail {
  const own = resolve(ref);
  if (own.length === 0) {
    throw new Refused(404, "not_found", `${ref.type} ${ref.name} does not exist in ${ref.namespace}`, "It may have been deleted, or its name is misspelt.");
  }
  const rows = new Rows(cluster, query.at, query.window);
  const inbound = links.filter((l) => own.includes(l.to));
  const outbound = links.filter((l) => l.from && own.includes(l.from));
  const row = (ref.type === "pod" ? rows.pods(ref.namespace) : ref.type === "service" ? rows.services(ref.namespace) : rows.workloads(ref.namespace))
    .find((r) => r.name === ref.name) ?? rows.workload(own[0] as SimWorkload);
  return {
    row, identities: own.map(identity), labels: { app: ref.name, "app.kubernetes.io/part-of": ref.namespace, note: "<b>labels are text</b>" },
    inbound: rows.peers(inbound, "from"), outbound: rows.peers(outbound, "to"), split: [],
    pods: own.flatMap((w) => rows.podItems(w)).filter((p) => ref.type !== "pod" || p.name === ref.name), edges: edgesOf([...inbound, ...outbound]),
    authorizations: authz(inbound, query), worst: worst(inbound, query),
    tap: own.every((w) => w.meshed) ? "allowed" : "not_meshed",
  };
}

export function extensions(): ExtensionItem[] {
  return [
    { name: "viz", description: "Metrics, tap and this dashboard", installed: true, namespace: "linkerd-viz", version: "0.0.0-simulated", install: null },
  ];
}

export function gateways(): GatewayItem[] {
  return [];
}

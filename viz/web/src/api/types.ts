// The contract between the dashboard and weft-viz: every answer of `/api`. docs/viz-api.md explains the calls.
//
// Units: times are Unix seconds, durations of windows and steps are seconds, latencies are milliseconds, ratios are
// 0 to 1, rates are per second, sizes are bytes. `null` means "not known" or "no traffic"; NaN never occurs.

// === What is addressed ===

export const WORKLOAD_TYPES = [
  "cronjob", "daemonset", "deployment", "job", "replicaset", "replicationcontroller", "statefulset",
] as const;
export type WorkloadType = (typeof WORKLOAD_TYPES)[number];
export const RESOURCE_TYPES = [...WORKLOAD_TYPES, "pod", "service"] as const;
export type ResourceType = (typeof RESOURCE_TYPES)[number];

/** A Kubernetes object. A namespace is written with `type: "namespace"` and its own name as `namespace`. */
export interface ResourceRef {
  namespace: string;
  type: ResourceType | "namespace";
  name: string;
}

export const WINDOWS = ["1m", "10m", "1h", "6h"] as const;
export type Window = (typeof WINDOWS)[number];

// === What every answer carries ===

export interface Meta {
  /** When the figures were evaluated. */
  at: number;
  window: Window;
  /** `proxies`: Prometheus is not installed or does not answer; the last minute was read from the proxies themselves. */
  source: "prometheus" | "proxies";
  /** What is missing from the answer. Empty if it is complete. */
  warnings: Warning[];
}
export interface Warning {
  code: "prometheus_unavailable" | "node_not_scraped" | "history_too_short" | "truncated" | "source_slow" | (string & {});
  message: string;
}
export interface Answer<T> {
  meta: Meta;
  data: T;
}

export type ErrorCode =
  | "bad_request" | "host_not_allowed" | "origin_not_allowed" | "forbidden" | "not_found" | "method_not_allowed"
  | "too_many_taps" | "tap_disabled" | "prometheus_unavailable" | "cluster_unavailable" | "timeout" | "internal";
/** The body of every answer with a status from 400 on. */
export interface ErrorBody {
  error: { code: ErrorCode | (string & {}); message: string; hint: string | null };
}

// === Figures ===

export interface LatencyMs {
  p50: number | null;
  p95: number | null;
  p99: number | null;
}
export interface HttpStats {
  /** Responses that ended within the window. */
  requests: number;
  failures: number;
  successRate: number | null;
  rps: number;
  latencyMs: LatencyMs;
}
export interface TcpStats {
  openConnections: number;
  readBytesPerSecond: number;
  writeBytesPerSecond: number;
}
/** Values at `from`, `from + step`, …; all arrays have the same length; null where there was no traffic. */
export interface Series {
  from: number;
  step: number;
  successRate: (number | null)[];
  rps: (number | null)[];
  p50: (number | null)[];
  p95: (number | null)[];
  p99: (number | null)[];
}
/** The small charts of a row: at most 30 values. */
export type Spark = Pick<Series, "from" | "step" | "successRate" | "rps" | "p99">;

export interface PodCount {
  meshed: number;
  running: number;
  /** Pods that should run and do not. */
  failed: number;
}

// === GET /api/version ===

export interface VersionInfo {
  version: string;
  clusterDomain: string;
  controlPlaneNamespace: string;
  vizNamespace: string;
  /** Where objects come from. `manifests`: a dev VM without Kubernetes. */
  source: "kubernetes" | "manifests";
  prometheus: { available: boolean; retentionSeconds: number | null };
  /** Links of resources to Grafana; null if no Grafana is configured. `url` has no slash at its end. */
  grafana: { url: string; uidPrefix: string } | null;
  /** Words that a CLI command on this cluster starts with, for example ["weft", "viz"]. */
  cli: string[];
}

// === GET /api/resources ===

export interface ResourceItem extends ResourceRef {
  meshed: boolean;
}

// === GET /api/overview ===

export interface Overview {
  totals: {
    namespaces: number;
    nodes: { total: number; withProxy: number };
    pods: PodCount;
    http: HttpStats;
    /** Open connections between meshed pods, how many of them are secured, and those in plaintext from what is not meshed. */
    secured: { connections: number; total: number; plaintextFromOutside: number };
  };
  series: Series;
  /** The worst first. */
  problems: Problem[];
}

interface ProblemBase {
  /** Stays the same while the problem lasts. */
  id: string;
  severity: "critical" | "warning";
  /** When it began; null if that is before the history. */
  since: number | null;
  /** One sentence, for clients that do not know the kind. */
  summary: string;
}
export type Problem = ProblemBase & (
  | { kind: "success-rate"; resource: ResourceRef; successRate: number; baseline: number | null; baselineSeconds: number; rps: number; worst: PathStats | null }
  | { kind: "latency"; resource: ResourceRef; p99Ms: number; baselineP99Ms: number; baselineSeconds: number; rps: number }
  | { kind: "plaintext"; source: ResourceRef; destination: ResourceRef; reason: string; connections: number }
  | { kind: "denied"; resource: ResourceRef; source: ResourceRef | null; clientId: string | null; rps: number }
  | { kind: "certificate"; what: "anchor" | "issuer" | "workload"; identity: string | null; node: string | null; expiresAt: number }
  | { kind: "node-without-proxy"; node: string; meshedPods: number; lastSeenAt: number | null }
  | { kind: "node-not-scraped"; node: string; lastScrapeAt: number | null }
  | { kind: "pod-not-served"; resource: ResourceRef; node: string; reason: string }
);

/** Requests of one method and path, without a tap: the proxies keep a bounded table of those that fail most. */
export interface PathStats {
  method: string;
  path: string;
  requests: number;
  failures: number;
}

// === GET /api/tps-reports ===

export interface StatRow extends ResourceRef {
  /** "Running", "Pending", "2/3 ready", …; null for what has no status. */
  status: string | null;
  /** null for a service. */
  pods: PodCount | null;
  http: HttpStats | null;
  tcp: TcpStats | null;
  spark: Spark | null;
  /** Rows of `ResourceDetail.split` and of `/api/tps-reports` for services with a split. */
  split: { apex: string; leaf: string; weight: number } | null;
}

// === GET /api/pods, /api/services ===

export interface PodItem {
  namespace: string;
  name: string;
  owner: ResourceRef | null;
  node: string | null;
  phase: string;
  ready: boolean;
  startedAt: number | null;
  meshed: boolean;
  /** null for a pod that is not meshed. */
  proxy: { state: "joining" | "served" | "leaving" | "refused" | "no_proxy"; reason: string | null } | null;
  tap: "allowed" | "disabled" | "not_meshed";
  http: HttpStats | null;
  tcp: TcpStats | null;
  spark: Spark | null;
}
export interface ServiceItem {
  namespace: string;
  name: string;
  clusterIp: string | null;
  ports: { name: string | null; port: number; protocol: string }[];
}

// === GET /api/edges ===

export type Secured =
  /** mTLS between nodes. */
  | { state: "mtls" }
  /** On one node; the kernel knows both identities. */
  | { state: "same_node" }
  /** The application's own TLS, which weft carries unread. */
  | { state: "opaque_tls" }
  | { state: "plaintext"; reason: string };
export interface Edge {
  source: ResourceRef | null;
  destination: ResourceRef | null;
  /** What to call an end that is not an object of the cluster: an address, or a name. */
  sourceLabel: string | null;
  destinationLabel: string | null;
  clientId: string | null;
  serverId: string | null;
  secured: Secured;
  openConnections: number;
}

// === GET /api/topology ===

export interface Topology {
  nodes: TopologyNode[];
  edges: TopologyEdge[];
}
export interface TopologyNode {
  /** Unique and stable. */
  id: string;
  label: string;
  /** null for `outside`. */
  namespace: string | null;
  resource: ResourceRef | null;
  kind: "workload" | "unmeshed" | "outside";
  pods: PodCount | null;
  http: HttpStats | null;
}
export interface TopologyEdge {
  id: string;
  source: string;
  target: string;
  http: HttpStats | null;
  tcp: TcpStats;
  /** The worst of its connections. */
  secured: Secured;
}

// === GET /api/timeseries: Series ===

// === GET /api/routes, /api/authz ===

export interface RouteRow {
  /** "[DEFAULT]" for what no route matches. */
  route: string;
  /** The service, or the authority. */
  service: string;
  http: HttpStats;
  /** With `to_…` and retries: what the client saw, beside what was sent. */
  actual: { successRate: number | null; rps: number } | null;
  spark: Spark | null;
}
export interface AuthzRow {
  server: string;
  route: string;
  /** null in the row of what nothing allowed. */
  authorization: string | null;
  /** Requests and connections. */
  deniedRps: number;
  http: HttpStats | null;
  /** Within the window, not read as HTTP: how many were allowed, or in the row of what nothing allowed, denied. */
  connections: number;
}

// === GET /api/policy-reports ===

export interface PolicyRow {
  type: "server" | "serverauthorization" | "authorizationpolicy";
  namespace: string;
  name: string;
  /** The Server that an authorization let clients in to; null in the row of a Server. */
  server: string | null;
  /** What nothing allowed; null in the row of an authorization. */
  deniedRps: number | null;
  http: HttpStats | null;
  /** null in the row of an authorization. */
  openConnections: number | null;
  /** Let in within the window, and not read as HTTP. */
  connections: number;
}

// === GET /api/resource/NAMESPACE/TYPE/NAME ===

export interface ResourceDetail {
  row: StatRow;
  /** Identities of its service accounts. */
  identities: string[];
  labels: Record<string, string>;
  inbound: StatRow[];
  outbound: StatRow[];
  /** For a service whose traffic is split: one row per backend. Empty otherwise. */
  split: StatRow[];
  pods: PodItem[];
  edges: Edge[];
  authorizations: AuthzRow[];
  worst: PathStats[];
  tap: "allowed" | "disabled" | "not_meshed";
}

// === GET /api/resource-definition ===

export interface ResourceDefinition {
  /** YAML without values of environment variables, Secrets and managed fields. */
  yaml: string;
  /** The manifest that has it, on a dev VM; null on Kubernetes. */
  file: string | null;
}

// === GET /api/nodes, /api/control-plane ===

export interface NodeItem {
  name: string;
  ready: boolean;
  pods: PodCount;
  perNamespace: { namespace: string; meshed: number; running: number }[];
  proxy: NodeProxy | null;
}
export interface NodeProxy {
  version: string;
  state: "ready" | "starting" | "not_scraped";
  /** Why it is not ready. */
  reason: string | null;
  startedAt: number | null;
  lastScrapeAt: number | null;
  memoryBytes: number | null;
  /** Cores in use, averaged over the window. */
  cpuCores: number | null;
  connections: number;
  connectionsLimit: number | null;
  controlPlaneConnected: boolean;
  /** The first of its certificates that expires. */
  certificateExpiresAt: number | null;
}
export interface ControlPlane {
  components: ComponentItem[];
  namespaces: { namespace: string; meshed: number; running: number }[];
  issuer: CertificateInfo | null;
  anchors: CertificateInfo[];
}
export interface ComponentItem {
  name: string;
  namespace: string;
  version: string | null;
  desired: number;
  pods: { name: string; phase: string; ready: boolean; restarts: number; startedAt: number | null }[];
}
export interface CertificateInfo {
  subject: string;
  notBefore: number;
  expiresAt: number;
}

// === GET /api/check ===

export interface CheckReport {
  success: boolean;
  categories: { name: string; checks: CheckItem[] }[];
}
export interface CheckItem {
  description: string;
  result: "success" | "warning" | "error";
  error: string | null;
  hint: string | null;
}

// === GET /api/extensions, /api/gateways ===

export interface ExtensionItem {
  name: string;
  description: string;
  installed: boolean;
  namespace: string | null;
  version: string | null;
  /** The CLI command that installs it. */
  install: string | null;
}
export interface GatewayItem {
  cluster: string;
  alive: boolean;
  pairedServices: number;
  latencyMs: LatencyMs;
}

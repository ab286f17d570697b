// SIMULATED objects: emojivoto, a small demo, 200 workloads of an invented shop, and names meant to break pages.
import type { ResourceRef, Secured, WorkloadType } from "../../src/api/types";
import { pick, random } from "./random";

export interface SimWorkload {
  ref: ResourceRef & { type: WorkloadType | "pod" };
  pods: number;
  meshed: boolean;
  node: number;
}
export interface SimLink {
  from: SimWorkload | null;
  fromLabel?: string;
  to: SimWorkload;
  service: string | null;
  rps: number;
  failing: number;
  p50: number;
  secured: Secured;
  connections: number;
  paths: [method: string, path: string, share: number, failing: number][];
}
export interface SimCluster {
  workloads: SimWorkload[];
  links: SimLink[];
}

export const NODES = ["node-a", "node-b", "node-c", "node-d"];
/** node-d runs no proxy. */
export const NODE_WITHOUT_PROXY = "node-d";
export const BULK_NAMESPACE = "bulk";
export const BULK_PODS = 10_000;
export const HOSTILE_NAME = "<img src=x onerror=alert(1)>";
export const LONG_NAME = `very-long-${"name-".repeat(45)}end`;

const plaintext = (reason: string): Secured => ({ state: "plaintext", reason });

export function buildCluster(): SimCluster {
  const cluster: SimCluster = { workloads: [], links: [] };
  const add = (
    namespace: string, name: string, pods = 1, options: Partial<SimWorkload> & { type?: WorkloadType | "pod" } = {},
  ): SimWorkload => {
    const workload: SimWorkload = {
      ref: { namespace, type: options.type ?? "deployment", name }, pods, meshed: options.meshed ?? true,
      node: options.node ?? cluster.workloads.length % 3,
    };
    cluster.workloads.push(workload);
    return workload;
  };
  const link = (from: SimWorkload | null, to: SimWorkload, rest: Partial<SimLink> = {}): void => {
    const secured = rest.secured ?? (from?.node === to.node ? { state: "same_node" as const } : { state: "mtls" as const });
    cluster.links.push({
      from, to, service: `${to.ref.name}-svc`, rps: 5, failing: 0, p50: 1, connections: 1,
      paths: [["GET", `/api/${to.ref.name}`, 1, 0]], ...rest, secured,
    });
  };
  emojivoto(add, link);
  demo(add, link);
  shop(add, link);
  const hostile = add("hostile", HOSTILE_NAME, 1, { node: 0 });
  const long = add("hostile", LONG_NAME, 1, { node: 1 });
  link(hostile, long, { rps: 2, paths: [["GET", `/<script>alert(1)</script>?q="'${"x".repeat(300)}`, 1, 0.5]], failing: 0.5 });
  return cluster;
}

type Add = (namespace: string, name: string, pods?: number, options?: Partial<SimWorkload> & { type?: WorkloadType | "pod" }) => SimWorkload;
type Link = (from: SimWorkload | null, to: SimWorkload, rest?: Partial<SimLink>) => void;

function emojivoto(add: Add, link: Link): void {
  const bot = add("emojivoto", "vote-bot", 2, { node: 0 });
  const web = add("emojivoto", "web", 1, { node: 0 });
  const emoji = add("emojivoto", "emoji", 1, { node: 1 });
  const voting = add("emojivoto", "voting", 2, { node: 1 });
  link(bot, web, {
    rps: 20, p50: 1.8, connections: 2, failing: 0.1225, service: "web-svc",
    paths: [["GET", "/api/list", 0.5, 0], ["GET", "/api/vote", 0.5, 0.245]],
  });
  link(null, web, { fromLabel: "192.168.1.20", rps: 0.4, connections: 1, secured: plaintext("no_tls_from_remote"), service: "web-svc",
    paths: [["GET", "/", 1, 0]] });
  link(web, emoji, {
    rps: 20, p50: 0.5, service: "emoji-svc",
    paths: [["POST", "/emojivoto.v1.EmojiService/ListAll", 0.5, 0], ["POST", "/emojivoto.v1.EmojiService/FindByShortcode", 0.5, 0]],
  });
  link(web, voting, {
    rps: 10, p50: 0.5, failing: 0.245, connections: 2, service: "voting-svc",
    paths: [["POST", "/emojivoto.v1.VotingService/VoteDoughnut", 0.245, 1],
      ...["Joy", "Rocket", "Wave", "Cat2", "Ghost"].map((n): [string, string, number, number] => ["POST", `/emojivoto.v1.VotingService/Vote${n}`, 0.151, 0])],
  });
}

function demo(add: Add, link: Link): void {
  const client = add("demo", "client", 1, { type: "pod", node: 0 });
  const webA = add("demo", "web-a", 1, { type: "pod", node: 0 });
  const webB = add("demo", "web-b", 1, { type: "pod", node: 1 });
  const unmeshed = add("demo", "unmeshed", 1, { type: "pod", meshed: false, node: 1 });
  const safe = add("vault", "safe", 1, { type: "statefulset", node: 1 });
  for (const to of [webA, webB, safe]) link(client, to, { rps: 0, paths: [], connections: 2, service: "web" });
  link(unmeshed, webA, { rps: 0, paths: [], secured: plaintext("no_tls_from_remote"), service: "web" });
  link(unmeshed, safe, { rps: 0, paths: [], connections: 0, secured: plaintext("no_tls_from_remote"), service: "safe" });
}

const TEAMS = ["checkout", "catalog", "payments", "shipping", "search", "accounts", "reviews", "pricing", "media", "fraud"];
const ROLES = ["gateway", "api", "orders", "events", "cache", "worker", "rules", "quotes", "index", "sync", "audit", "mail",
  "store", "feed", "limits", "tokens", "report", "archive", "stream", "db"];

/** Ten teams with twenty workloads each; gateways call services, services call stores. */
function shop(add: Add, link: Link): void {
  const rand = random(7);
  const teams = TEAMS.map((team) => ROLES.map((role) =>
    add(`shop-${team}`, `${team}-${role}`, role === "db" ? 3 : 1 + Math.floor(rand() * 4), {
      type: role === "db" ? "statefulset" : role === "archive" ? "cronjob" : "deployment",
    })));
  teams.forEach((members, t) => {
    members.forEach((to, i) => {
      if (i === 0) return;
      const from = members[i < 5 ? 0 : 1 + Math.floor(rand() * 4)] as SimWorkload;
      const slow = rand() < 0.05;
      link(from, to, { rps: 1 + rand() * 200, failing: rand() < 0.06 ? rand() * 0.12 : rand() * 0.002, p50: slow ? 80 : 0.5 + rand() * 8, connections: 1 + Math.floor(rand() * 6) });
      if (i > 4 && i < 19 && i % 3 === 0) link(to, members[19] as SimWorkload, { rps: 0, paths: [], connections: 2 + Math.floor(rand() * 8) });
    });
    const other = teams[(t + 1) % teams.length] as SimWorkload[];
    link(members[1] as SimWorkload, other[0] as SimWorkload, { rps: 20 + rand() * 50, p50: 4 });
    if (t % 3 === 0) link(members[2] as SimWorkload, pick(rand, teams[(t + 4) % teams.length] as SimWorkload[]), { rps: 5, p50: 3 });
  });
  link(teams[2]?.[3] as SimWorkload, teams[2]?.[7] as SimWorkload, { rps: 3, secured: plaintext("not_provided_by_service_discovery") });
}

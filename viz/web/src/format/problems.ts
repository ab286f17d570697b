// What a problem says, and where to look next.
import type { Problem, ResourceRef } from "../api/types";
import { resourcePath } from "./names";
import { ago, duration, millis, percent, plural, rate, restPercent, until } from "./numbers";
import { reasonText } from "./secured";

export interface ProblemText {
  /** What is wrong, without the name of the resource. */
  title: string;
  subject: string;
  where: string | null;
  detail: string;
  links: ProblemLink[];
}
export interface ProblemLink {
  label: string;
  path: string;
  params?: Record<string, string>;
}

export function problemText(problem: Problem, now: number): ProblemText {
  switch (problem.kind) {
    case "success-rate": {
      const baseline = problem.baseline === null ? "" : `; ${percent(problem.baseline)} ${before(problem.baselineSeconds)}`;
      const worst = problem.worst ? `. Most failures: ${problem.worst.method} ${problem.worst.path}` : "";
      return about(problem.resource, `fails ${restPercent(problem.successRate)} of its requests`,
        `Success rate ${percent(problem.successRate)} at ${rate(problem.rps)} requests/s${baseline}${worst}.`, [liveCalls(problem.resource), topology(problem.resource)]);
    }
    case "latency":
      return about(problem.resource, "slower than before",
        `99th percentile ${millis(problem.p99Ms)}; ${millis(problem.baselineP99Ms)} ${before(problem.baselineSeconds)}, at ${rate(problem.rps)} requests/s.`,
        [liveCalls(problem.resource), topology(problem.resource)]);
    case "plaintext":
      return about(problem.destination, "receives plaintext from a meshed pod",
        `${plural(problem.connections, "open connection")} from ${problem.source.namespace}/${problem.source.name}: ${reasonText(problem.reason)}.`,
        [{ label: "Connections", path: resourcePath(problem.destination), params: { tab: "edges" } }]);
    case "denied":
      return about(problem.resource, "refuses clients by policy",
        `${rate(problem.rps)} per second in the last minute, ${problem.source ? `from ${problem.source.namespace}/${problem.source.name}` : `from ${problem.clientId ?? "clients without an identity"}`}.`,
        [{ label: "Authorizations", path: resourcePath(problem.resource), params: { tab: "authz" } }]);
    case "certificate": {
      const names = { anchor: "The trust anchor", issuer: "The issuer's certificate", workload: "A workload's certificate" };
      const expired = problem.expiresAt < now;
      return {
        title: expired ? "expired" : "expires soon", subject: names[problem.what], where: problem.node,
        detail: `${problem.identity ? `${problem.identity}, ` : ""}${until(problem.expiresAt, now)}. ${expired ? "Meshed connections fail without it." : "Renew it before then."}`,
        links: [{ label: "Control plane", path: "/controlplane" }],
      };
    }
    case "node-without-proxy":
      return node(problem.node, "runs no proxy",
        `${plural(problem.meshedPods, "meshed pod")} on it cannot be secured${problem.lastSeenAt === null ? "" : `. A proxy was last seen ${ago(problem.lastSeenAt, now)}`}.`);
    case "node-not-scraped":
      return node(problem.node, "is not scraped",
        `Figures of its pods are missing${problem.lastScrapeAt === null ? "" : ` since ${ago(problem.lastScrapeAt, now)}`}.`);
    case "pod-not-served":
      return about(problem.resource, "is meshed but not served", `On ${problem.node}: ${problem.reason}.`,
        [{ label: "Pod", path: resourcePath(problem.resource) }]);
    default: {
      // A newer server may know more kinds.
      const unknown = problem as { summary: string };
      return { title: "", subject: unknown.summary, where: null, detail: "", links: [] };
    }
  }
}

/** The hour before, or as much of it as is known. */
function before(seconds: number): string {
  return seconds >= 3_600 ? "in the hour before" : `in the ${duration(seconds)} before`;
}

function about(resource: ResourceRef, title: string, detail: string, links: ProblemLink[]): ProblemText {
  return { title, subject: resource.name, where: `${resource.type} in ${resource.namespace}`, detail, links };
}

function node(name: string, title: string, detail: string): ProblemText {
  return { title, subject: name, where: "node", detail, links: [{ label: "Nodes", path: "/controlplane" }] };
}

function liveCalls(resource: ResourceRef): ProblemLink {
  return { label: "Live calls", path: resourcePath(resource), params: { tab: "live" } };
}

function topology(resource: ResourceRef): ProblemLink {
  return { label: "Topology", path: `/namespaces/${encodeURIComponent(resource.namespace)}`, params: { select: `${resource.namespace}/${resource.type}/${resource.name}` } };
}

export function problemResource(problem: Problem): ResourceRef | null {
  if ("resource" in problem) return problem.resource;
  return problem.kind === "plaintext" ? problem.destination : null;
}

// SIMULATED server: answers /api/… with the contract's shapes, errors and headers, and can be told to fail.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { ResourceRef } from "../../src/api/types";
import { typeOfPlural } from "../../src/format/names";
import * as answers from "./answers";
import { edgesOf, Rows } from "./rows";
import * as health from "./health";

/** How the simulated server misbehaves; GET /dev/fault?mode=… sets it. */
export const fault: { mode: "none" | "down" | "error" | "slow" | "empty" } = { mode: "none" };

type Handler = (query: answers.Query) => unknown;
const HANDLERS: Record<string, Handler> = {
  overview: health.overview, "tps-reports": answers.tpsReports, topology: answers.topology, timeseries: answers.timeseries,
  routes: answers.routes, nodes: health.nodes, "control-plane": health.controlPlane, check: health.check,
  extensions: answers.extensions, gateways: answers.gateways, resources: answers.resources, version: answers.version,
  pods: (q) => {
    const rows = new Rows(answers.cluster, q.at, q.window);
    return answers.cluster.workloads.filter((w) => !q.params.get("namespace") || w.ref.namespace === q.params.get("namespace")).flatMap((w) => rows.podItems(w));
  },
  services: (q) => new Rows(answers.cluster, q.at, q.window).services(q.params.get("namespace"))
    .map(({ namespace, name }) => ({ namespace, name, clusterIp: "10.96.0.7", ports: [{ name: "http", port: 80, protocol: "TCP" }] })),
  edges: (q) => {
    const ns = q.params.get("namespace");
    return edgesOf(answers.cluster.links.filter((l) => !ns || l.to.ref.namespace === ns || l.from?.ref.namespace === ns));
  },
  authz: (q) => {
    const ref = answers.readRef(q.params);
    return answers.authz(answers.cluster.links.filter((l) => !ref || answers.resolve(ref).includes(l.to)), q);
  },
  "resource-definition": (q) => {
    const ref = answers.readRef(q.params);
    return { file: null, yaml: `apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: ${ref?.name}\n  namespace: ${ref?.namespace}\n  annotations:\n    linkerd.io/inject: enabled\nspec:\n  template:\n    spec:\n      containers:\n      - name: app\n        env:\n        - name: PASSWORD\n          value: "(redacted)"\n` };
  },
};

export async function handleApi(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://localhost");
  if (fault.mode === "down") {
    request.socket.destroy();
    return;
  }
  if (fault.mode === "slow") await new Promise((resolve) => setTimeout(resolve, 3000));
  try {
    if (fault.mode === "error") throw new answers.Refused(503, "prometheus_unavailable", "Prometheus does not answer", "Look at the pods of weft-viz: weft viz check");
    if (request.method !== "GET") throw new answers.Refused(405, "method_not_allowed", "Only GET is served");
    send(response, 200, dispatch(url));
  } catch (error) {
    const { status, code, message, hint } = error instanceof answers.Refused ? error : { status: 500, code: "internal", message: String(error), hint: null };
    send(response, status, { error: { code, message, hint } });
  }
}

export function dispatch(url: URL): unknown {
  const path = url.pathname.slice("/api/".length);
  const query = answers.readQuery(url.searchParams);
  const detail = /^resource\/([^/]+)\/([^/]+)\/([^/]+)$/.exec(path);
  if (detail) {
    const [namespace, type, name] = detail.slice(1).map(decodeURIComponent) as [string, string, string];
    const known = typeOfPlural(`${type}s`);
    if (!known) throw new answers.Refused(400, "bad_request", `type ${type} is not known`);
    const ref: ResourceRef = { namespace, type: known, name };
    return answers.answer(query, answers.resource(query, ref));
  }
  const handler = HANDLERS[path];
  if (!handler) throw new answers.Refused(404, "not_found", `/api/${path} does not exist`);
  const data = handler(query);
  if (fault.mode === "empty") return answers.answer(query, emptied(path, data));
  return answers.answer(query, data);
}

/** What a cluster without meshed pods answers. */
function emptied(path: string, data: unknown): unknown {
  if (path === "topology") return { nodes: [], edges: [] };
  if (path === "overview") return { ...(data as object), problems: [] };
  return Array.isArray(data) ? [] : data;
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8", "cache-control": "no-store" });
  response.end(JSON.stringify(body));
}

// SIMULATED tap: events of the chosen resource over a WebSocket, as src/api/tap-types.ts describes them.
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer, type WebSocket } from "ws";
import type { TapEvent, TapMessage } from "../../src/api/tap-types";
import { cluster, readRef, Refused, resolve } from "./answers";
import type { SimLink, SimWorkload } from "./cluster";
import { fault } from "./router";
import { podNames } from "./rows";

const server = new WebSocketServer({ noServer: true });

export function handleTap(request: IncomingMessage, socket: Duplex, head: Buffer): void {
  if (fault.mode === "down") {
    socket.destroy();
    return;
  }
  server.handleUpgrade(request, socket, head, (ws) => serve(ws, new URL(request.url ?? "/", "http://localhost").searchParams));
}

export function dropTaps(): void {
  for (const client of server.clients) client.terminate();
}

function serve(ws: WebSocket, params: URLSearchParams): void {
  const send = (message: TapMessage): void => ws.send(JSON.stringify(message));
  try {
    const ref = readRef(params);
    const own = ref ? resolve(ref) : [];
    if (own.length === 0) throw new Refused(404, "not_found", "Nothing to tap", "Choose a namespace or a resource that exists.");
    if (own.every((w) => !w.meshed)) throw new Refused(409, "tap_disabled", "None of these pods is meshed", "Annotate them with linkerd.io/inject: enabled.");
    const links = cluster.links.filter((l) => (own.includes(l.to) || (l.from && own.includes(l.from))) && l.rps > 0);
    const maxRps = Math.min(100, Number(params.get("max_rps") ?? 100) || 100);
    send({ type: "started", pods: own.reduce((sum, w) => sum + w.pods, 0), maxRps, skipped: own.filter((w) => !w.meshed).map((w) => ({ pod: w.ref.name, reason: "not meshed" })) });
    let id = 0;
    const timer = setInterval(() => {
      const events: TapEvent[] = [];
      for (const link of links) {
        const expected = Math.min(link.rps, maxRps / links.length) / 4;
        const n = Math.floor(expected) + (Math.random() < expected % 1 ? 1 : 0);
        for (let i = 0; i < n; i += 1) events.push(...requestEvents(link, own, `${(id += 1)}`, params));
      }
      if (events.length > 0) send({ type: "events", events });
    }, 250);
    ws.on("close", () => clearInterval(timer));
  } catch (error) {
    const refused = error instanceof Refused ? error : new Refused(500, "internal", String(error));
    send({ type: "error", error: { code: refused.code, message: refused.message, hint: refused.hint } });
    ws.close(1011);
  }
}

function requestEvents(link: SimLink, own: SimWorkload[], id: string, params: URLSearchParams): TapEvent[] {
  let dice = Math.random();
  const path = link.paths.find(([, , share]) => (dice -= share) < 0) ?? link.paths[0];
  if (!path) return [];
  const [method, url, , failing] = path;
  if (params.get("method") && params.get("method") !== method) return [];
  if (params.get("path") && !url.startsWith(params.get("path") ?? "")) return [];
  const end = (w: SimWorkload | null, label?: string) => {
    const pods = w ? podNames(w) : [];
    return { resource: w?.ref ?? null, pod: pods[Math.floor(Math.random() * pods.length)] ?? null, address: w ? `10.244.${w.node}.${w.ref.name.length}:8080` : `${label}:51324` };
  };
  const failed = Math.random() < failing;
  const grpc = url.startsWith("/emojivoto.v1.");
  const latencyMs = link.p50 * (0.5 + Math.random() * 2);
  const base = { id, at: Date.now() / 1000, direction: own.includes(link.to) ? "inbound" as const : "outbound" as const };
  const tls = link.secured.state === "mtls" ? "true" as const : link.secured.state === "same_node" ? "local" as const : "no_identity" as const;
  return [
    { ...base, event: "request", source: end(link.from, link.fromLabel), destination: end(link.to), tls, method, scheme: "http",
      authority: `${link.service}.${link.to.ref.namespace}:80`, path: url, headers: [["user-agent", grpc ? "grpc-rust" : "vote-bot/1"]] },
    { ...base, event: "response", status: failed && !grpc ? 500 : 200, latencyMs, headers: [["content-type", grpc ? "application/grpc" : "text/html"]] },
    { ...base, event: "end", durationMs: latencyMs * 1.1, responseBytes: 300, grpcStatus: grpc ? (failed ? "UNKNOWN" : "OK") : null, reset: null },
  ];
}

// Puts the events of a tap together: calls with request, response and end; and sums over equal calls.
import type { TapEvent } from "../api/tap-types";

type Request = Extract<TapEvent, { event: "request" }>;
type Response = Extract<TapEvent, { event: "response" }>;
type End = Extract<TapEvent, { event: "end" }>;

export interface Call {
  id: string;
  request: Request;
  response: Response | null;
  end: End | null;
}

/** The latest calls, the newest first. Bounded, because a tap runs as long as the page is open. */
export class CallLog {
  private readonly calls = new Map<string, Call>();

  constructor(private readonly limit = 500) {}

  /** Returns the calls that ended with these events. */
  add(events: readonly TapEvent[]): Call[] {
    const ended: Call[] = [];
    for (const event of events) {
      if (event.event === "request") {
        this.calls.set(event.id, { id: event.id, request: event, response: null, end: null });
        if (this.calls.size > this.limit) this.calls.delete(this.calls.keys().next().value ?? "");
        continue;
      }
      const call = this.calls.get(event.id);
      // Its request came before the tap began, or fell out of the log.
      if (!call) continue;
      const next = event.event === "response" ? { ...call, response: event } : { ...call, end: event };
      this.calls.set(event.id, next);
      if (next.end) ended.push(next);
    }
    return ended;
  }

  latest(): Call[] {
    return [...this.calls.values()].reverse();
  }
}

const GRPC_FAILURES = new Set(["UNKNOWN", "DEADLINE_EXCEEDED", "PERMISSION_DENIED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"]);

/** As the proxies' metrics classify responses. */
export function failed(call: Call): boolean {
  if (call.end?.reset) return call.end.reset !== "CANCEL";
  if (call.end?.grpcStatus) return GRPC_FAILURES.has(call.end.grpcStatus);
  return (call.response?.status ?? 200) >= 500;
}

export interface TopRow {
  key: string;
  direction: "inbound" | "outbound";
  source: Request["source"];
  destination: Request["destination"];
  method: string;
  path: string;
  count: number;
  failures: number;
  best: number;
  worst: number;
  last: number;
}

/** Sums over calls with the same ends, method and path. */
export class Top {
  private readonly rows = new Map<string, TopRow>();

  constructor(private readonly limit = 2_000) {}

  add(calls: readonly Call[]): void {
    for (const call of calls) {
      const { source, destination, method, path, direction } = call.request;
      // Calls with different queries are one line.
      const bare = path.split("?", 1)[0] ?? path;
      const key = [direction, nameOf(source), nameOf(destination), method, bare].join("\n");
      const ms = call.end?.durationMs ?? call.response?.latencyMs ?? 0;
      const row = this.rows.get(key);
      const failures = failed(call) ? 1 : 0;
      // Set anew, so that the row that has not been seen for longest is the first to go.
      this.rows.delete(key);
      this.rows.set(key, row
        ? { ...row, count: row.count + 1, failures: row.failures + failures, best: Math.min(row.best, ms), worst: Math.max(row.worst, ms), last: ms }
        : { key, direction, source, destination, method, path: bare, count: 1, failures, best: ms, worst: ms, last: ms });
      if (this.rows.size > this.limit) this.rows.delete(this.rows.keys().next().value ?? "");
    }
  }

  list(): TopRow[] {
    return [...this.rows.values()];
  }
}

export function nameOf(end: Request["source"]): string {
  if (end.resource) return `${end.resource.namespace}/${end.resource.name}`;
  return end.pod ?? end.address.replace(/:\d+$/, "");
}

import { describe, expect, it } from "vitest";
import type { TapEvent } from "../api/tap-types";
import { CallLog, failed, Top } from "./calls";

const end = (name: string) => ({ resource: { namespace: "n", type: "deployment" as const, name }, pod: null, address: "10.0.0.1:80" });
function events(id: string, path: string, status: number, grpcStatus: string | null, ms: number): TapEvent[] {
  const base = { id, at: 0, direction: "inbound" as const };
  return [
    { ...base, event: "request", source: end("a"), destination: end("b"), tls: "true", method: "GET", scheme: "http", authority: "b", path, headers: [] },
    { ...base, event: "response", status, latencyMs: ms, headers: [] },
    { ...base, event: "end", durationMs: ms, responseBytes: 1, grpcStatus, reset: null },
  ];
}

describe("calls", () => {
  it("puts events together, in whatever batches they come", () => {
    const log = new CallLog();
    const [request, response, done] = events("1", "/", 200, null, 3) as [TapEvent, TapEvent, TapEvent];
    expect(log.add([request])).toEqual([]);
    expect(log.add([response, done])).toHaveLength(1);
    expect(log.latest()[0]?.response?.latencyMs).toBe(3);
    expect(log.add([{ ...done, id: "unknown" }])).toEqual([]);
  });
  it("keeps a bounded number", () => {
    const log = new CallLog(10);
    for (let i = 0; i < 50; i += 1) log.add(events(String(i), "/", 200, null, 1));
    expect(log.latest().map((call) => call.id)).toEqual(["49", "48", "47", "46", "45", "44", "43", "42", "41", "40"]);
  });
  it("classifies as the metrics do", () => {
    const log = new CallLog();
    const calls = [...events("1", "/", 500, null, 1), ...events("2", "/", 404, null, 1), ...events("3", "/", 200, "UNKNOWN", 1), ...events("4", "/", 200, "NOT_FOUND", 1)];
    expect(log.add(calls).map(failed)).toEqual([true, false, true, false]);
  });
  it("sums equal calls and drops what was not seen for longest", () => {
    const log = new CallLog();
    const top = new Top(2);
    top.add(log.add([...events("1", "/a?x=1", 200, null, 4), ...events("2", "/a?x=2", 500, null, 2), ...events("3", "/b", 200, null, 1)]));
    expect(top.list().map(({ path, count, failures, best, worst, last }) => ({ path, count, failures, best, worst, last }))).toEqual([
      { path: "/a", count: 2, failures: 1, best: 2, worst: 4, last: 2 },
      { path: "/b", count: 1, failures: 0, best: 1, worst: 1, last: 1 },
    ]);
    top.add(log.add([...events("4", "/a", 200, null, 1), ...events("5", "/c", 200, null, 1)]));
    expect(top.list().map((row) => row.path)).toEqual(["/a", "/c"]);
  });
});

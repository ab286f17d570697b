import { expect, it } from "vitest";
import { ApiError, apiUrl, errorOf } from "./client";
import { ConnectionMonitor } from "./connection";

const unreachable = new ApiError(0, "unreachable", "x", null);

it("is lost when the server is not reached, and back with its next answer", () => {
  const monitor = new ConnectionMonitor();
  const states: string[] = [];
  monitor.subscribe(() => states.push(monitor.snapshot().state));
  monitor.succeeded(1_000);
  monitor.failed(unreachable);
  monitor.failed(unreachable);
  expect(monitor.snapshot()).toEqual({ state: "lost", lastAnswer: 1_000 });
  monitor.succeeded(9_000);
  expect(monitor.snapshot()).toEqual({ state: "back", lastAnswer: 9_000 });
  expect(states).toEqual(["lost", "back"]);
});

it("is not lost when the server answers with an error", () => {
  const monitor = new ConnectionMonitor();
  monitor.failed(new ApiError(503, "prometheus_unavailable", "x", null));
  expect(monitor.snapshot().state).toBe("ok");
});

it("reads the errors of the API, and what else may answer", () => {
  expect(errorOf(404, { error: { code: "not_found", message: "no", hint: "look" } })).toMatchObject({ code: "not_found", message: "no", hint: "look", unreachable: false });
  expect(errorOf(502, null)).toMatchObject({ code: "internal", status: 502 });
  expect(apiUrl("tap", { namespace: "a&b", method: "", spark: true, name: null })).toBe("/api/tap?namespace=a%26b&spark=true");
});

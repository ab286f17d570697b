import { describe, expect, it } from "vitest";
import type { Meta } from "../api/types";
import { lacks } from "./notices";

const meta = (source: Meta["source"], ...codes: string[]): Meta => ({ at: 0, window: "1m", source, warnings: codes.map((code) => ({ code, message: `${code}.` })) });

describe("what figures lack", () => {
  it("is said once for all answers of a page", () => {
    expect(lacks([meta("prometheus", "truncated", "node_not_scraped"), meta("prometheus", "truncated")])).toEqual(["node_not_scraped.", "truncated."]);
    expect(lacks([meta("prometheus")])).toEqual([]);
  });
  it("is history where Prometheus is not installed, and the reason while it does not answer", () => {
    expect(lacks([meta("proxies"), meta("proxies")])).toEqual(["Prometheus is not installed. These are figures of the last minute, read from the proxies."]);
    expect(lacks([meta("proxies", "prometheus_unavailable")])).toEqual(["prometheus_unavailable."]);
  });
});

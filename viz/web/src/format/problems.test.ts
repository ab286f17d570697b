import { describe, expect, it } from "vitest";
import type { Problem } from "../api/types";
import { problems } from "../../dev/simulation/health";
import { readQuery } from "../../dev/simulation/answers";
import { problemText } from "./problems";
import { findResources } from "./search";

describe("problems", () => {
  it("of every kind are told in words, with a link", () => {
    for (const problem of problems(readQuery(new URLSearchParams()))) {
      const text = problemText(problem, 0);
      expect(text.title, problem.kind).not.toBe("");
      expect(text.links.length, problem.kind).toBeGreaterThan(0);
    }
  });
  it("give shares that make up 100 % together, and say of how long the comparison is", () => {
    const resource = { namespace: "shop", type: "deployment", name: "web" } as const;
    const slow = { kind: "success-rate", id: "", severity: "critical", since: null, summary: "", resource, successRate: 0.828_15, baseline: 0.839_99, baselineSeconds: 420, rps: 5, worst: null } as Problem;
    const text = problemText(slow, 0);
    expect(text.title).toBe("fails 17.19% of its requests");
    expect(text.detail).toBe("Success rate 82.81% at 5.0 requests/s; 83.99% in the 7m before.");
    expect(problemText({ ...slow, baselineSeconds: 3_600 } as Problem, 0).detail).toContain("83.99% in the hour before");
  });
  it("of unknown kinds show their summary", () => {
    const unknown = { kind: "weather", id: "x", severity: "warning", since: null, summary: "It rains" } as unknown as Problem;
    expect(problemText(unknown, 0).subject).toBe("It rains");
  });
});

describe("search", () => {
  const items = ["voting", "web", "emoji-voting"].map((name) => ({ namespace: "emojivoto", type: "deployment" as const, name, meshed: true }));
  it("prefers names that begin with what is typed", () => {
    expect(findResources(items, "vot", 10).map((item) => item.name)).toEqual(["voting", "web", "emoji-voting"]);
    expect(findResources(items, "emojivoto/web", 10).map((item) => item.name)).toEqual(["web"]);
    expect(findResources(items, "nothing", 10)).toEqual([]);
    expect(findResources(items, "", 2)).toHaveLength(2);
  });
});

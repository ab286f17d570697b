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

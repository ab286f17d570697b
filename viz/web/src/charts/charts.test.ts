import { describe, expect, it } from "vitest";
import { scale } from "./scale";
import { sparkPath } from "./spark";

describe("small charts", () => {
  it("leave gaps where there was no traffic", () => {
    expect(sparkPath([0, 1, null, 1, 0], 0, 1)).toBe("M1.0 18.0L16.5 2.0M47.5 2.0L63.0 18.0");
    expect(sparkPath([null, null], 0)).toBe("");
    expect(sparkPath([null, 1, null], 0, 1)).toContain("h0.01");
  });
});

describe("axes", () => {
  it("end at 100% for success rates and begin at 0 for the rest", () => {
    expect(scale(0.74, 0.77, [null, 1])).toEqual([0.74, 1]);
    expect(scale(1, 1, [null, 1])).toEqual([0.95, 1]);
    expect(scale(3, 10, [0, null])).toEqual([0, 11]);
    expect(scale(0, 0, [0, null])).toEqual([0, 1]);
    expect(scale(null, null, [0, null])[1]).toBeGreaterThan(0);
  });
});

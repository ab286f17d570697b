import { expect, it } from "vitest";
import { compareValues } from "./compare";

it("orders names as people do, and figures by value", () => {
  expect(["pod-10", "Pod-2", "pod-1"].sort(compareValues)).toEqual(["pod-1", "Pod-2", "pod-10"]);
  expect([10, 9, 0.5].sort(compareValues)).toEqual([0.5, 9, 10]);
  expect([true, false].sort(compareValues)).toEqual([false, true]);
});

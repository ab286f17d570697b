// axe looks at every page, wide in light and narrow in dark colours: nothing of it may be serious.
import axe, { type AxeResults } from "axe-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectQuiet, startTestbed, visit, type Testbed } from "./browser";
import { PAGES } from "./pages";

let bed: Testbed;
const minor = new Map<string, number>();
beforeAll(async () => {
  bed = await startTestbed();
});
afterAll(async () => {
  await bed.close();
  console.log("below serious:", minor.size === 0 ? "nothing" : Object.fromEntries(minor));
});

const LOOKS: { look: string; dark?: boolean; width?: number; height?: number }[] = [{ look: "light" }, { look: "dark and narrow", dark: true, width: 360, height: 760 }];

describe.each(LOOKS)("$look", ({ dark, width, height }) => {
  it.each(PAGES)("$name has nothing serious", async ({ name, path, ready, fault }) => {
    await bed.fault(fault ?? "none");
    const { page, context, complaints } = await visit(bed, path, { dark, width, height });
    await page.waitForSelector(ready, { timeout: 30_000 });
    await page.evaluate(axe.source);
    const results = await page.evaluate(async () => {
      const found: AxeResults = await (window as unknown as { axe: typeof axe }).axe.run(document, {
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
      });
      // A map that is zoomed out has small targets. The list shows the same with large ones (WCAG 2.5.8, "equivalent").
      for (const violation of found.violations.filter(({ id }) => id === "target-size")) {
        violation.nodes = violation.nodes.filter(({ target }) => !document.querySelector(String(target[0]))?.closest(".react-flow__viewport"));
      }
      return { violations: found.violations.filter(({ nodes }) => nodes.length > 0) };
    });
    for (const violation of results.violations) {
      if (violation.impact !== "serious" && violation.impact !== "critical") minor.set(`${name} ${violation.id} ${violation.nodes[0]?.html.slice(0, 90)}`, violation.nodes.length);
    }
    expect(results.violations.filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.failureSummary?.slice(0, 200)}`).join(" | ")}`)).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth), "the page does not scroll sideways").toBe(true);
    expectQuiet(complaints);
    await context.close();
  });
});

// axe looks at every page of a running mesh: nothing of it may be serious, nothing may break, and pictures are kept.
import axe, { type AxeResults } from "axe-core";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectQuiet, visit, type Site } from "../journeys/browser";
import { PAGES } from "./pages";
import { openSite } from "./site";

const PICTURES = process.env.WEFT_PICTURES ?? join(import.meta.dirname, "..", "..", "artifacts", "mesh");
const LOOKS: { look: string; dark?: boolean; width?: number; height?: number }[] = [
  { look: "light" }, { look: "dark-narrow", dark: true, width: 360, height: 760 },
];

let site: Site;
beforeAll(async () => {
  await mkdir(PICTURES, { recursive: true });
  site = await openSite();
});
afterAll(() => site.close());

describe.each(LOOKS)("$look", ({ look, dark, width, height }) => {
  it.each(PAGES)("$name shows the mesh, and nothing is serious", async ({ name, path, ready }) => {
    const { page, context, complaints } = await visit(site, path, { dark, width, height });
    await page.locator(ready).first().waitFor({ state: "attached", timeout: 60_000 });
    await page.waitForTimeout(500);
    await page.screenshot({ path: join(PICTURES, `${name}-${look}.png`), fullPage: true });
    await page.evaluate(axe.source);
    const results = await page.evaluate((): Promise<AxeResults> => (window as unknown as { axe: typeof axe }).axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    }));
    const serious = results.violations.filter(({ id, impact }) => id !== "target-size" && (impact === "serious" || impact === "critical"));
    expect(serious.map(({ id, nodes }) => `${id}: ${nodes[0]?.html.slice(0, 160)}`)).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth), "the page does not scroll sideways").toBe(true);
    expectQuiet(complaints);
    await context.close();
  });
});

// The tables show the figures that the API gave, row by row.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Answer, StatRow } from "../../src/api/types";
import { expectQuiet, visit, type Site } from "../journeys/browser";
import { openSite } from "./site";

let site: Site;
beforeAll(async () => {
  site = await openSite();
});
afterAll(() => site.close());

/** The number in a cell; null for the dash of no traffic. */
const number = (cell: string | undefined): number | null => (cell && /\d/.test(cell) ? Number.parseFloat(cell.replace("<", "")) : null);

describe("a table", () => {
  it("shows the success rate and requests per second of the answer", async () => {
    const { page, context, complaints } = await visit(site, "/namespaces/emojivoto/deployments");
    await page.locator("tbody tr", { hasText: "voting" }).waitFor({ timeout: 60_000 });
    // The page draws the next answer, and then stays until the one after that.
    const response = await page.waitForResponse((found) => /\/api\/tps-reports\?.*deployment/.test(found.url()), { timeout: 30_000 });
    const { data } = (await response.json()) as Answer<StatRow[]>;
    const voting = data.find((row) => row.name === "voting");
    if (!voting?.http?.successRate) throw new Error(`no figures of voting: ${JSON.stringify(data)}`);
    const titles = await page.locator("thead th").allTextContents();
    const column = (title: string): number => titles.findIndex((text) => text.includes(title));
    const cells = async (): Promise<(string | undefined)[]> => {
      const all = await page.locator("tbody tr", { hasText: "voting" }).locator("th, td").allTextContents();
      return [all[column("Success")], all[column("RPS")]];
    };
    const { successRate, rps } = voting.http;
    await expect.poll(async () => number((await cells())[0]), { timeout: 4_000 }).toBeCloseTo(successRate * 100, 1);
    await expect.poll(async () => number((await cells())[1]), { timeout: 4_000 }).toBeCloseTo(rps, 0);
    expectQuiet(complaints);
    await context.close();
  });
});

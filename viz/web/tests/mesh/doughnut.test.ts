// People find the demo's broken endpoint on the dashboard of a running mesh.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectQuiet, visit, type Site } from "../journeys/browser";
import { openSite } from "./site";

let site: Site;
beforeAll(async () => {
  site = await openSite();
});
afterAll(() => site.close());

describe("the doughnut", () => {
  it("is found from the start page by topology and live calls, and the copied command finds it too", async () => {
    const { page, context, complaints } = await visit(site, "/");
    const problem = page.locator("li", { hasText: "VotingService/VoteDoughnut" });
    await problem.getByRole("link", { name: /^Topology/ }).click({ timeout: 60_000 });
    await page.waitForURL(/\/namespaces\/emojivoto\?select=/);
    const details = page.getByRole("complementary", { name: "Details" });
    await details.getByRole("link", { name: "voting" }).click();
    await page.getByRole("tab", { name: "Live calls", selected: true }).waitFor();
    const row = page.locator("tbody tr", { hasText: "VoteDoughnut" });
    await row.getByText("0.00%").waitFor({ timeout: 60_000 });
    await page.getByRole("button", { name: "Copy command" }).click();
    const command = await page.evaluate(() => navigator.clipboard.readText());
    expect(command).toBe("weft viz top deploy/voting -n emojivoto");
    expectQuiet(complaints);
    await context.close();
    expect(await run(command)).toMatch(/VoteDoughnut.*0\.00%/);
  });
  it("is a red edge on the map of its namespace", async () => {
    const { page, context, complaints } = await visit(site, "/namespaces/emojivoto");
    await page.getByRole("button", { name: /^web in emojivoto/ }).waitFor({ timeout: 30_000 });
    const figures = page.getByRole("button", { name: /^voting in emojivoto/ });
    expect(await figures.textContent()).toMatch(/\d+\.\d+%/);
    const edge = page.locator('[data-edge="emojivoto/deployment/web>emojivoto/deployment/voting"]');
    await edge.waitFor({ state: "attached", timeout: 30_000 });
    const colours = await edge.locator("path[data-line]").evaluate((line) => {
      const sample = document.createElement("i");
      sample.style.color = "var(--bad)";
      line.ownerDocument.body.append(sample);
      return { line: getComputedStyle(line).stroke, bad: getComputedStyle(sample).color };
    });
    expect(colours.line).toBe(colours.bad);
    expectQuiet(complaints);
    await context.close();
  });
});

describe("the connection", () => {
  it("is lost and comes back, while the figures stay", async () => {
    const { page, context } = await visit(site, "/namespaces");
    await page.getByRole("link", { name: "emojivoto", exact: true }).waitFor();
    await context.setOffline(true);
    await page.getByText("The connection to the dashboard's server is lost.").first().waitFor({ timeout: 30_000 });
    expect(await page.locator("table").getByRole("link", { name: "emojivoto" }).first().isVisible()).toBe(true);
    await context.setOffline(false);
    await page.getByText("Connected again. The figures are up to date.").waitFor({ timeout: 30_000 });
    await context.close();
  });
});

/** What the command prints in its first seconds. The program is the one that was built with this server. */
async function run(command: string): Promise<string> {
  const [, ...words] = command.split(" ");
  const program = process.env.WEFT_CLI;
  if (!program) throw new Error("WEFT_CLI is not set: give the path of weft");
  const output = await promisify(execFile)(program, words, { timeout: 25_000 }).catch((error: { stdout?: string }) => error);
  return output.stdout ?? "";
}

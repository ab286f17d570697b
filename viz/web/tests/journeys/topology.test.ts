// The map with 200 workloads, by keyboard, and on a narrow screen.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Page } from "playwright-core";
import { expectQuiet, startTestbed, visit, type Testbed } from "./browser";

let bed: Testbed;
beforeAll(async () => {
  bed = await startTestbed();
});
afterAll(() => bed.close());

const places = (page: Page) => page.evaluate(() => [...document.querySelectorAll<HTMLElement>(".react-flow__node")].map((node) => [node.dataset.id, node.style.transform].join(" ")).sort());
const lines = (page: Page) => page.evaluate(() => [...document.querySelectorAll(".react-flow__edge path:first-child")].map((path) => path.getAttribute("d")).sort());
const viewport = (page: Page) => page.evaluate(() => document.querySelector<HTMLElement>(".react-flow__viewport")?.style.transform);
/** Waits until the map is laid out and has stopped moving. */
async function settled(page: Page): Promise<void> {
  await page.locator('[aria-busy="false"]:has(> .react-flow)').waitFor({ timeout: 60_000 });
  let before: string | undefined;
  await expect.poll(async () => {
    const now = await viewport(page);
    const same = now === before;
    before = now;
    return same;
  }, { timeout: 30_000, interval: 400 }).toBe(true);
}

describe("200 workloads", () => {
  it("are folded at first, unfold, and are found by name", async () => {
    const { page, context, complaints } = await visit(bed, "/topology");
    await page.locator(".react-flow__node").first().waitFor({ timeout: 30_000 });
    expect(await page.locator(".react-flow__node").count()).toBeLessThan(30);
    await page.getByRole("button", { name: /^shop-payments ?:/ }).click();
    await page.getByRole("button", { name: "Unfold 20 workloads" }).click();
    await page.getByRole("button", { name: /^payments-db *in shop-payments/ }).waitFor({ timeout: 30_000 });
    expect(page.url()).toContain("open=shop-payments");
    await page.getByRole("radio", { name: "In boxes" }).click({ force: true });
    await page.getByText(/^212 nodes/).waitFor();
    await page.getByRole("searchbox", { name: "Find a workload" }).fill("fraud-quotes");
    const found = page.getByRole("button", { name: /^fraud-quotes *in shop-fraud/ });
    await found.waitFor({ timeout: 60_000 });
    // The map is laid out again, then moves to what was found.
    const width = async () => (await found.boundingBox())?.width ?? 0;
    await expect.poll(width, { timeout: 30_000, message: "what is found is large enough to read" }).toBeGreaterThan(100);
    expectQuiet(complaints);
    await context.close();
  });
  it("stay where they are while figures change", async () => {
    const { page, context } = await visit(bed, "/topology?group=boxes");
    await page.locator(".react-flow__node").first().waitFor({ timeout: 60_000 });
    await settled(page);
    const before = [await places(page), await lines(page), await viewport(page)];
    const figures = await page.locator(".react-flow__viewport").textContent();
    await page.waitForResponse(/api\/topology/, { timeout: 30_000 });
    await page.waitForResponse(/api\/topology/, { timeout: 30_000 });
    await page.waitForTimeout(500);
    expect(await page.locator(".react-flow__viewport").textContent()).not.toBe(figures);
    expect([await places(page), await lines(page), await viewport(page)]).toEqual(before);
    await page.getByLabel("Hide healthy").click();
    await page.getByText(/hidden/).waitFor();
    expect(await places(page), "hiding edges moves no node").toEqual(before[0]);
    expect((await lines(page)).length).toBeLessThan((before[1] ?? []).length / 2);
    await context.close();
  });
});

describe("keyboard only", () => {
  it("reaches a resource by search and moves through its tabs", async () => {
    const { page, context } = await visit(bed, "/");
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Skip to the page");
    await page.keyboard.press("Enter");
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("main");
    await page.keyboard.press("/");
    await page.getByRole("listbox", { name: "Resources" }).getByRole("option").first().waitFor();
    await page.keyboard.type("voting deployment");
    await page.getByRole("listbox", { name: "Resources" }).getByRole("option", { name: /^voting/ }).waitFor();
    await page.keyboard.press("Enter");
    await page.waitForURL("**/namespaces/emojivoto/deployments/voting");
    await page.getByRole("tab", { name: "Live calls" }).focus();
    await page.keyboard.press("ArrowRight");
    await page.getByRole("tab", { name: /^Inbound/, selected: true }).waitFor();
    await page.keyboard.press("End");
    await page.getByText("kind: Deployment").waitFor();
    expect(page.url()).toContain("tab=yaml");
    await context.close();
  });
  it("walks over the map", async () => {
    const { page, context } = await visit(bed, "/namespaces/emojivoto");
    const web = page.getByRole("button", { name: /^web in emojivoto/ });
    await web.waitFor({ timeout: 30_000 });
    await web.focus();
    await page.keyboard.press("Enter");
    const details = page.getByRole("complementary", { name: "Details" });
    await details.getByText("Called by").waitFor();
    await details.getByRole("button", { name: /^voting/ }).focus();
    await page.keyboard.press("Enter");
    await details.getByText("Edge", { exact: true }).waitFor();
    await page.keyboard.press("Escape");
    await details.waitFor({ state: "hidden" });
    await context.close();
  });
});

describe("looks", () => {
  it("at 360 px, the menu leads to every page and nothing is cut", async () => {
    const { page, context, complaints } = await visit(bed, "/", { width: 360, height: 740 });
    for (const name of ["Topology", "Namespaces", "Workloads", "Control plane", "Tap", "Top", "Routes", "Extensions"]) {
      await page.getByRole("button", { name: "Open navigation" }).click();
      await page.getByRole("dialog", { name: "Navigation" }).getByRole("link", { name, exact: true }).click();
      await page.getByRole("heading", { level: 1 }).waitFor();
      await page.getByRole("dialog", { name: "Navigation" }).waitFor({ state: "hidden" });
      expect(await page.evaluate(() => document.documentElement.scrollWidth), name).toBeLessThanOrEqual(360);
    }
    expectQuiet(complaints);
    await context.close();
  });
  it("at 360 px, a call that gRPC calls failed says so in place of its HTTP status", async () => {
    const { page, context, complaints } = await visit(bed, "/tap?ns=emojivoto&res=deployment%2Fweb&run=1", { width: 360, height: 740 });
    const row = page.getByRole("row").filter({ hasText: "VoteDoughnut" }).first();
    await row.getByText("UNKNOWN").filter({ visible: true }).waitFor();
    expect(await row.getByText("200", { exact: true }).isVisible()).toBe(false);
    expectQuiet(complaints);
    await context.close();
  });
  it("at 360 px, the ends of connections have their names", async () => {
    const { page, context } = await visit(bed, "/namespaces/emojivoto/deployments/web?tab=edges", { width: 360, height: 740 });
    const link = page.getByRole("table", { name: "Connections" }).getByRole("link", { name: "voting" }).first();
    await link.waitFor();
    expect(await link.evaluate((element) => element.scrollWidth <= element.clientWidth), "the name is cut").toBe(true);
    await context.close();
  });
  it("colours are the system's, or chosen and kept", async () => {
    const { page, context } = await visit(bed, "/extensions", { dark: true });
    const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const dark = await background();
    await page.getByRole("button", { name: /^Colours: system/ }).click();
    await page.getByRole("button", { name: /^Colours: dark/ }).click();
    await expect.poll(background).not.toBe(dark);
    await page.reload();
    await page.getByRole("button", { name: /^Colours: light/ }).waitFor();
    await expect.poll(background).not.toBe(dark);
    await context.close();
  });
});

// What people do with the dashboard.
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { expectQuiet, startTestbed, visit, type Testbed } from "./browser";

let bed: Testbed;
beforeAll(async () => {
  bed = await startTestbed();
});
afterEach(() => bed.fault("none"));
afterAll(() => bed.close());

describe("the doughnut", () => {
  it("is found from the start page by topology and live calls, and its command is copied", async () => {
    const { page, context, complaints } = await visit(bed, "/");
    const problem = page.locator("li", { hasText: "VotingService/VoteDoughnut" });
    await problem.getByRole("link", { name: /^Topology/ }).click();
    await page.waitForURL(/\/namespaces\/emojivoto\?select=/);
    const details = page.getByRole("complementary", { name: "Details" });
    await details.getByRole("link", { name: "voting" }).click();
    await page.getByRole("tab", { name: "Live calls", selected: true }).waitFor();
    const row = page.locator("tbody tr", { hasText: "VoteDoughnut" });
    await row.getByText("0.00%").waitFor({ timeout: 60_000 });
    await page.getByRole("button", { name: "Copy command" }).click();
    await page.getByText("Copied", { exact: true }).waitFor();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe("weft viz top deploy/voting -n emojivoto");
    expectQuiet(complaints);
    await context.close();
  });
});

describe("what figures lack", () => {
  it("is said once, on every page", async () => {
    const { page, context, complaints } = await visit(bed, "/namespaces/emojivoto/deployments/voting");
    const notices = page.getByRole("status", { name: "What the figures lack" });
    await notices.getByText("Figures of node-d are missing: no proxy runs there.").waitFor();
    expect(await notices.getByRole("listitem").count()).toBe(1);
    expectQuiet(complaints);
    await context.close();
  });
});

describe("the start page", () => {
  it("says that a share of secured connections is of the mesh, and how many come from outside in plaintext", async () => {
    const { page, context } = await visit(bed, "/");
    await page.getByText("Secured in the mesh").waitFor();
    await page.getByRole("link", { name: /open connections? from outside in plaintext/ }).click();
    await page.waitForURL(/\/topology\?as=list/);
    await page.getByRole("table").getByText("plaintext").first().waitFor();
    await context.close();
  });
});

describe("the URL", () => {
  it("holds the whole view, and the time range goes along", async () => {
    const { page, context } = await visit(bed, "/namespaces/emojivoto/deployments?metrics=tcp&q=vo&sort=-connections&w=1h");
    await page.getByRole("columnheader", { name: "Connections" }).waitFor();
    expect(await page.getByRole("columnheader", { name: "Connections" }).getAttribute("aria-sort")).toBe("descending");
    expect(await page.locator("tbody tr").count()).toBe(2);
    expect(await page.getByRole("radio", { name: "last hour" }).isChecked()).toBe(true);
    await page.getByRole("link", { name: "voting", exact: true }).click();
    await page.waitForURL("**/namespaces/emojivoto/deployments/voting?w=1h");
    await page.getByRole("radio", { name: "last 10 minutes" }).click({ force: true });
    await page.waitForURL("**/voting?w=10m");
    await page.goBack();
    await page.waitForURL(/sort=-connections/);
    await context.close();
  });
});

describe("the connection", () => {
  it("is lost and comes back, while the figures stay and say how old they are", async () => {
    const { page, context } = await visit(bed, "/namespaces");
    await page.getByRole("link", { name: "emojivoto", exact: true }).waitFor();
    await bed.fault("down");
    await page.getByText("The connection to the dashboard's server is lost.").first().waitFor({ timeout: 30_000 });
    await page.getByText(/Figures are \d+s old/).waitFor();
    expect(await page.locator("table").getByRole("link", { name: "emojivoto" }).first().isVisible()).toBe(true);
    await bed.fault("none");
    await page.getByText("Connected again. The figures are up to date.").waitFor({ timeout: 30_000 });
    await page.getByText("Connected again. The figures are up to date.").waitFor({ state: "hidden", timeout: 30_000 });
    await context.close();
  });
  it("of a tap comes back too", async () => {
    const { page, context } = await visit(bed, "/top?ns=emojivoto&run=1");
    await page.locator("tbody tr").first().waitFor({ timeout: 30_000 });
    await bed.fault("down");
    await page.getByText("The tap could not be opened").waitFor({ timeout: 30_000 });
    await bed.fault("none");
    await page.getByText(/^Tapping \d+ pods/).waitFor({ timeout: 30_000 });
    await context.close();
  });
});

describe("errors", () => {
  it("say what happened and what to do", async () => {
    await bed.fault("error");
    const { page, context } = await visit(bed, "/namespaces");
    await page.getByRole("alert").getByText("Prometheus does not answer").waitFor();
    await page.getByText("Look at the pods of weft-viz: weft viz check").waitFor();
    await bed.fault("none");
    await page.getByRole("button", { name: "Try again" }).click();
    await page.locator("table").waitFor();
    await bed.fault("error");
    await page.getByText(/These are the figures of/).waitFor({ timeout: 30_000 });
    await context.close();
  });
  it("an unknown resource, an unknown page and an empty cluster are explained", async () => {
    const { page, context } = await visit(bed, "/namespaces/emojivoto/deployments/nobody");
    await page.getByText("deployment nobody does not exist in emojivoto").first().waitFor();
    await page.getByRole("heading", { name: "Over time" }).waitFor({ state: "detached" });
    expect(await page.getByRole("tab").count(), "the error stands alone").toBe(0);
    await page.goto(`${bed.url}/nothing/here`);
    await page.getByText("Nothing is here").waitFor();
    await bed.fault("empty");
    await page.goto(`${bed.url}/namespaces/emojivoto`);
    await page.getByText("Nobody talks to anybody yet").waitFor();
    await page.goto(bed.url);
    await page.getByText("Nothing is wrong").waitFor();
    await context.close();
  });
});

describe("hostile values", () => {
  it("are text everywhere", async () => {
    const { page, context, complaints } = await visit(bed, "/namespaces/hostile");
    page.on("dialog", () => complaints.push("a script ran"));
    await page.locator(".react-flow__node").first().waitFor();
    expect(await page.locator("img").count()).toBe(0);
    await page.locator("table").getByRole("link", { name: "<img src=x onerror=alert(1)>", exact: true }).first().click();
    await page.getByRole("heading", { level: 1, name: "<img src=x onerror=alert(1)>" }).waitFor();
    await page.getByText("note=<b>labels are text</b>").waitFor();
    expect(await page.getByRole("group", { name: "Equivalent command" }).innerText()).toContain("'deploy/<img src=x onerror=alert(1)>'");
    expectQuiet(complaints);
    await context.close();
  });
  it("10 000 series are sorted and scrolled, and only those in view are drawn", async () => {
    const { page, context } = await visit(bed, "/namespaces/bulk/pods");
    await page.getByRole("link", { name: "series-00000", exact: true }).waitFor();
    expect(await page.locator("tbody tr").count()).toBeLessThan(80);
    expect(await page.locator("table").getAttribute("aria-rowcount")).toBe("10001");
    const took = await page.evaluate(async () => {
      const started = performance.now();
      [...document.querySelectorAll("th button")].find((button) => button.textContent?.startsWith("RPS"))?.dispatchEvent(new MouseEvent("click", { bubbles: true }));
      while (!document.body.innerText.includes("series-09999")) await new Promise((resolve) => requestAnimationFrame(resolve));
      return performance.now() - started;
    });
    console.log(`10 000 rows sorted in ${Math.round(took)} ms`);
    expect(took).toBeLessThan(3_000);
    await page.evaluate(() => document.querySelector("[aria-label=Pods]")?.scrollTo(0, 1e9));
    await page.getByRole("link", { name: "series-00000", exact: true }).waitFor();
    await context.close();
  });
});

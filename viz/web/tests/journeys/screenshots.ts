// Takes a screenshot of every page, dark, light and narrow, into artifacts/. Run: npx tsx tests/journeys/screenshots.ts
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { startTestbed, visit } from "./browser";
import { PAGES } from "./pages";

const only = process.argv[2];
const looks = process.argv[3]?.split(",");
const folder = join(import.meta.dirname ?? ".", "..", "..", "artifacts");
await mkdir(folder, { recursive: true });
const bed = await startTestbed();
const LOOKS = [{ look: "light" }, { look: "dark", dark: true }, { look: "narrow", width: 360, height: 760 }];
for (const { look, ...options } of LOOKS.filter((l) => !looks || looks.includes(l.look))) {
  for (const { name, path, ready, fault } of PAGES.filter((page) => !only || page.name.startsWith(only))) {
    await bed.fault(fault ?? "none");
    const { page, context, complaints } = await visit(bed, path, options);
    await page.waitForSelector(ready, { timeout: 20_000 }).catch(() => complaints.push(`${ready} did not appear`));
    await page.waitForTimeout(700);
    await page.screenshot({ path: join(folder, `${name}-${look}.png`), fullPage: look !== "narrow" || !name.startsWith("workloads") });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
    if (wide) complaints.push("the page scrolls sideways");
    if (complaints.length > 0) console.log(name, look, complaints);
    await context.close();
  }
}
await bed.close();

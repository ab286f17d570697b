// The dashboard of a running mesh: `cargo xtask test viz` starts one with the demo and says where it is.
import { startBrowser, type Site } from "../journeys/browser";

export async function openSite(): Promise<Site> {
  const url = process.env.WEFT_DASHBOARD;
  if (!url) throw new Error("WEFT_DASHBOARD is not set: give the address of a weft-viz that shows the demo, as in http://127.0.0.1:8084");
  const browser = await startBrowser();
  return { url: url.replace(/\/$/, ""), browser, close: () => browser.close() };
}

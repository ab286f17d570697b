// A browser for the journeys: pages that fail a test if anything breaks the page or its content security policy.
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import type { AddressInfo } from "node:net";
import type { Server } from "node:http";
import { expect } from "vitest";
import { startSimulation } from "../../dev/server";

export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** A dashboard, and a browser that looks at it. */
export interface Site {
  url: string;
  browser: Browser;
  close: () => Promise<void>;
}
export type Fault = "none" | "down" | "error" | "slow" | "empty";
export interface Testbed extends Site {
  /** Makes the simulated server misbehave. */
  fault: (mode: Fault) => Promise<void>;
}

export async function startTestbed(): Promise<Testbed> {
  const server: Server = await startSimulation(0);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const browser = await startBrowser();
  return {
    url, browser,
    fault: async (mode) => void (await fetch(`${url}/dev/fault?mode=${mode}`)),
    close: async () => {
      await browser.close();
      server.closeAllConnections();
      server.close();
    },
  };
}

export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
}

export interface Visit {
  page: Page;
  context: BrowserContext;
  /** What went wrong in the page: exceptions, console errors, requests to other hosts. */
  complaints: string[];
}

export async function visit(bed: Site, path: string, options: { width?: number; height?: number; dark?: boolean } = {}): Promise<Visit> {
  const context = await bed.browser.newContext({
    viewport: { width: options.width ?? 1280, height: options.height ?? 860 }, colorScheme: options.dark ? "dark" : "light",
    reducedMotion: "reduce", permissions: ["clipboard-read", "clipboard-write"],
  });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(`exception: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(bed.url) && !request.url().startsWith(bed.url.replace("http", "ws"))) complaints.push(`request to ${request.url()}`);
  });
  await page.goto(bed.url + path);
  await page.waitForSelector("h1");
  return { page, context, complaints };
}

/** Errors of the network are expected while the server is down; nothing else is. */
export function expectQuiet(complaints: string[]): void {
  expect(complaints.filter((text) => !/ERR_CONNECTION|ERR_EMPTY|Failed to load resource|WebSocket connection/.test(text))).toEqual([]);
}

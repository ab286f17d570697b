// Development server: serves the built files under the product's security headers and answers /api with a
// SIMULATED cluster. For tests and screenshots of the front end only; no part of the product.
import { createServer, type Server } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fault, handleApi } from "./simulation/router";
import { dropTaps, handleTap } from "./simulation/tap";

const DIST = join(import.meta.dirname ?? ".", "..", "dist");
const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
};
/** The headers that weft-viz sends; docs/viz-api.md lists them. */
const HEADERS = {
  "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
  "x-content-type-options": "nosniff", "x-frame-options": "DENY", "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
};

export function startSimulation(port: number): Promise<Server> {
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://localhost");
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    if (url.pathname.startsWith("/api/")) {
      void handleApi(request, response);
    } else if (url.pathname === "/dev/fault") {
      fault.mode = (url.searchParams.get("mode") ?? "none") as typeof fault.mode;
      if (fault.mode === "down") dropTaps();
      response.end(fault.mode);
    } else {
      void serveFile(url.pathname).then(([type, body]) => response.setHeader("content-type", type).end(body))
        .catch(() => response.writeHead(404).end("not found"));
    }
  });
  server.on("upgrade", (request, socket, head) => {
    if (request.url?.startsWith("/api/tap")) handleTap(request, socket, head);
    else socket.destroy();
  });
  return new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(server)));
}

/** A path without a file is a page of the single-page application. */
async function serveFile(path: string): Promise<[string, Buffer]> {
  const file = normalize(path);
  const type = TYPES[extname(file)];
  if (type && !file.startsWith("/namespaces/")) return [type, await readFile(join(DIST, file))];
  return [TYPES[".html"] as string, await readFile(join(DIST, "index.html"))];
}

if (process.argv[1]?.endsWith("dev/server.ts")) {
  const port = Number(process.env.PORT ?? 8085);
  await startSimulation(port);
  console.log(`simulated dashboard on http://127.0.0.1:${port}`);
}

// Answers /api with the simulation while Vite serves the sources (`npm run dev`).
import type { Plugin } from "vite";
import { handleApi } from "./simulation/router";
import { handleTap } from "./simulation/tap";

export function simulatedApi(): Plugin {
  return {
    name: "weft-simulated-api",
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        if (request.url?.startsWith("/api/")) void handleApi(request, response);
        else next();
      });
      server.httpServer?.on("upgrade", (request, socket, head) => {
        if (request.url?.startsWith("/api/tap")) handleTap(request, socket, head);
      });
    },
  };
}

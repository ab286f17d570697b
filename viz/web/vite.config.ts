// How the dashboard is built, and served while it is developed.
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { simulatedApi } from "./dev/plugin";

export default defineConfig(({ command }) => ({
  // `npm run dev` answers /api with the simulation; WEFT_API=http://localhost:8084 asks a real server instead.
  plugins: [react(), ...(command === "serve" && !process.env.WEFT_API ? [simulatedApi()] : [])],
  server: process.env.WEFT_API
    ? { proxy: { "/api": { target: process.env.WEFT_API, ws: true, changeOrigin: true } } }
    : {},
  build: {
    target: "es2022",
    manifest: true,
    // The CSP allows no data: URLs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 2000,
  },
  css: { modules: { localsConvention: "dashes" } },
}));

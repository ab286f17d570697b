// The dashboard of a running mesh in Debian's Chromium. WEFT_DASHBOARD is its address, WEFT_CLI the program `weft`.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["tests/mesh/**/*.test.ts"], testTimeout: 120_000, hookTimeout: 60_000, fileParallelism: false },
});

// Journeys: the built dashboard in Debian's Chromium, against the simulated server.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["tests/journeys/**/*.test.ts"], testTimeout: 90_000, hookTimeout: 60_000, fileParallelism: false },
});

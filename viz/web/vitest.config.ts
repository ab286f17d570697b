// Unit tests: logic without a browser.
import { defineConfig } from "vitest/config";

export default defineConfig({ test: { include: ["src/**/*.test.ts", "dev/**/*.test.ts"] } });

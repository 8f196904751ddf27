import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

const ROOT = new URL("../../", import.meta.url).pathname;

export default defineConfig({
  root: ROOT,
  plugins: [
    cloudflareTest({
      wrangler: { configPath: `${ROOT}wrangler.toml` },
      miniflare: { bindings: { ADMIN_TOKEN: "administrator-of-the-tests", SECRET: "secret-of-the-tests-only" } },
    }),
  ],
  test: {
    name: "worker",
    include: ["test/worker/**/*.test.ts"],
    // It starts real processes, which no Worker can.
    exclude: ["test/worker/selfhost.test.ts"],
    testTimeout: 30_000,
  },
});

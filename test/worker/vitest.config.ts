import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

const ROOT = new URL("../../", import.meta.url).pathname;

export default defineConfig({
  root: ROOT,
  plugins: [
    cloudflareTest({
      wrangler: { configPath: `${ROOT}wrangler.toml` },
      miniflare: {
        bindings: {
          ADMIN_TOKEN: "administrator-of-the-tests",
          SECRET: "secret-of-the-tests-only",
          ALLOW_INSECURE_WEBHOOKS: "true",
          // How long the fuzzing goes on: a Worker has no environment of its own.
          FUZZ_RUNS: process.env["FUZZ_RUNS"] ?? "",
        },
      },
    }),
  ],
  test: {
    name: "worker",
    include: ["test/worker/**/*.test.ts"],
    // It starts real processes, which no Worker can.
    exclude: ["test/worker/selfhost.test.ts"],
    globalSetup: [`${ROOT}test/worker/receiver-setup.ts`],
    testTimeout: 30_000,
  },
});

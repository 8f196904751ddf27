import { existsSync } from "node:fs";
import { defineConfig } from "vitest/config";

const UNIT_ROOMS = [
  "domain",
  "core",
  "protocol",
  "connector",
  "cli",
  "agent",
  "sim",
  "trace",
  "house",
  "mutants",
  "fuzz",
];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: UNIT_ROOMS.map((room) => `test/${room}/**/*.test.ts`),
          testTimeout: 30_000,
        },
      },
      ...(existsSync("test/worker/vitest.config.ts") ? ["./test/worker/vitest.config.ts"] : []),
      {
        test: {
          name: "live",
          include: ["test/live/**/*.test.ts", "test/worker/selfhost.test.ts"],
          // Real servers on two cores: one file at a time, so that each has the machine that its deadlines assume.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});

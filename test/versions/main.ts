/**
 * `npm run -s test:versions -- [MAJOR ...] [--only NAME,NAME]`: the tests of the engine on real servers, and the demo's
 * `kill-primary`, on other versions of PostgreSQL than the one that `npm test` runs on. One file at a time; ends with a
 * table, and with the names of the tests that failed or did not run. Ends with 1 when anything failed.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { BIN_VARIABLE, namedBinaries, PACKAGED_MAJOR } from "../../demo/binaries.ts";
import { binDirectoryOf, MAJORS } from "./packages.ts";
import {
  outcomeOfFile,
  outcomeOfNoServer,
  outcomeOfScenario,
  outcomeOfServer,
  renderOutcomes,
  type Outcome,
  type Report,
} from "./outcome.ts";

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const NODE = join(ROOT, "node_modules", "node", "bin", "node");
/** Ignored by git. */
const CACHE = join(ROOT, ".tsbuild", "postgres");
const FILES = [
  "engine",
  "engine-files",
  "engine-switch",
  "restore-command",
  "dead-log",
  "tail",
  "timeline-fork",
  "rebuild",
  "sync",
  "door-failover",
  "stories/automatic",
  "stories/switch",
].map((name) => `test/live/${name}.test.ts`);
const SCENARIO = "kill-primary";
const FILE_TIMEOUT_MS = 1_800_000;
const SCENARIO_TIMEOUT_MS = 300_000;

const { majors, names } = orderOrExit();
build();
const outcomes: Outcome[] = [];
for (const major of majors) {
  try {
    const binDirectory = await binDirectoryOf(major, CACHE);
    process.stderr.write(`PostgreSQL ${major}: ${binDirectory}\n`);
    const environment = { ...process.env, [BIN_VARIABLE]: binDirectory };
    outcomes.push(outcomeOfServer(major, namedBinaries(environment)?.version ?? ""));
    tryAll(major, environment);
  } catch (error) {
    outcomes.push(outcomeOfNoServer(major, { error: error as Error, names }));
  }
}
process.stdout.write(renderOutcomes(outcomes));
process.exitCode = outcomes.some(({ failed }) => failed.length > 0) ? 1 : 0;

function tryAll(major: number, environment: NodeJS.ProcessEnv): void {
  for (const name of names) {
    const file = FILES.find((path) => nameOf(path) === name);
    const outcome = file ? testFile(major, file, environment) : playScenario(major, environment);
    process.stderr.write(`  ${name}: ${outcome.told}\n`);
    outcomes.push(outcome);
  }
}

function nameOf(file: string): string {
  return basename(file).replace(/\.test\.ts$/, "");
}

function orderOrExit(): { majors: number[]; names: string[] } {
  const every = [...FILES.map(nameOf), SCENARIO];
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { only: { type: "string" } } });
  const wanted = values.only?.split(",") ?? every;
  const unknown = [
    ...positionals.filter((major) => !MAJORS.includes(Number(major))).map((major) => `version ${major}`),
    ...wanted.filter((name) => !every.includes(name)),
  ];
  if (unknown.length > 0) {
    process.stderr.write(
      `there is no ${unknown.join(", no ")}: give of ${MAJORS.join(", ")}; --only of ${every.join(",")}\n`,
    );
    process.exit(2);
  }
  // `npm test` runs on the packaged one.
  const others = MAJORS.filter((major) => major !== PACKAGED_MAJOR);
  return {
    majors: positionals.length > 0 ? positionals.map(Number) : others,
    names: every.filter((name) => wanted.includes(name)),
  };
}

function build(): void {
  const { status } = spawnSync(NODE, ["worker/build.mjs"], { cwd: ROOT, stdio: ["ignore", 2, 2] });
  if (status !== 0) throw new Error("the coordinator could not be built: see above");
}

function testFile(major: number, file: string, environment: NodeJS.ProcessEnv): Outcome {
  const scratch = mkdtempSync(join(tmpdir(), "interrex-versions-"));
  const report = join(scratch, "report.json");
  try {
    const words = [
      "run",
      "--project",
      "live",
      file,
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${report}`,
    ];
    spawnSync(NODE, ["node_modules/vitest/vitest.mjs", ...words], {
      cwd: ROOT,
      env: environment,
      stdio: ["ignore", 2, 2],
      timeout: FILE_TIMEOUT_MS,
    });
    const written = existsSync(report) ? (JSON.parse(readFileSync(report, "utf8")) as Report) : null;
    return outcomeOfFile(major, file, written);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function playScenario(major: number, environment: NodeJS.ProcessEnv): Outcome {
  const { status, stdout, stderr } = spawnSync(NODE, ["demo/main.ts", "--scenario", SCENARIO, "--json"], {
    cwd: ROOT,
    env: environment,
    encoding: "utf8",
    timeout: SCENARIO_TIMEOUT_MS,
  });
  return outcomeOfScenario({ major, scenario: SCENARIO, status, stdout, stderr });
}

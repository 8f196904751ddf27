/** What the demo was asked for on its command line. */
import { parseArgs, type ParseArgsConfig } from "node:util";
import { SCENARIOS, type ScenarioName } from "./scenario.ts";

export type DemoOptions =
  | { kind: "help" }
  | { kind: "console" }
  | { kind: "script"; file: string; json: boolean }
  | {
      kind: "scenario";
      scenario: ScenarioName;
      runs: number;
      json: boolean;
      timeline: boolean;
      sync: boolean;
      writers: number | null;
      awayMs: number | null;
      door: boolean;
    };

/** An argument that cannot be used; the message names it, its value and the remedy. */
export class OptionsError extends Error {}

export const USAGE = `Usage: npm run demo [-- OPTIONS]

A whole dataservice on this machine: a coordinator, three PostgreSQL servers with their agents, a connector, and two
applications that write through it. Everything lies in one temporary directory and is gone when the demo ends.

  (no options)          a console to play at
  --script FILE         run the console commands of FILE, and end with 0 or 1; demo/tour.rex is a tour
  --scenario NAME       measure one of
                        ${SCENARIOS.slice(0, 5).join(", ")},
                        ${SCENARIOS.slice(5).join(", ")}
  --away-s N            for how many seconds the coordinator of coordinator-away is away (default 600)
  --runs N              so many times, each on a fresh cluster (default 1)
  --sync                replicate synchronously: one replica acknowledges every commit
  --writers N           so many sessions write without a pause, instead of one with pauses
  --no-door             the same without doors in the kernel, where there would be such
  --timeline            show where the milliseconds of each run go
  --json                nothing but JSON on stdout
  --help                this text

INTERREX_POSTGRES_BIN in the environment names the bin directory of another PostgreSQL, 13 to 18, than the one from npm.
`;

const MAX_RUNS = 1_000;
const MAX_WRITERS = 64;
const MAX_AWAY_S = 86_400;
const SPEC = {
  scenario: { type: "string" },
  runs: { type: "string" },
  writers: { type: "string" },
  "away-s": { type: "string" },
  script: { type: "string" },
  json: { type: "boolean" },
  timeline: { type: "boolean" },
  sync: { type: "boolean" },
  "no-door": { type: "boolean" },
  help: { type: "boolean" },
} as const satisfies ParseArgsConfig["options"];

/** Reads the arguments; throws an OptionsError. */
export function parseOptions(args: readonly string[]): DemoOptions {
  const values = valuesOf(args);
  const { scenario, script, json = false, timeline = false, sync = false, help, runs, writers } = values;
  const door = values["no-door"] !== true;
  const away = values["away-s"];
  if (help) return { kind: "help" };
  if (scenario !== undefined && script !== undefined)
    throw new OptionsError("--scenario and --script: give one of them");
  if (scenario === undefined && (runs !== undefined || writers !== undefined || timeline || sync || !door)) {
    const misplaced =
      runs !== undefined
        ? "--runs"
        : writers !== undefined
          ? "--writers"
          : timeline
            ? "--timeline"
            : sync
              ? "--sync"
              : "--no-door";
    throw new OptionsError(`${misplaced} belongs to --scenario: add one of ${SCENARIOS.join(", ")}`);
  }
  if (away !== undefined && scenario !== "coordinator-away") {
    throw new OptionsError("--away-s belongs to --scenario coordinator-away: add it");
  }
  if (script !== undefined) return { kind: "script", file: script, json };
  if (scenario === undefined) {
    if (json) throw new OptionsError("--json belongs to --scenario or --script: add one of them");
    return { kind: "console" };
  }
  return {
    kind: "scenario",
    scenario: scenarioOf(scenario),
    runs: countOf("runs", runs ?? "1", MAX_RUNS),
    writers: writers === undefined ? null : countOf("writers", writers, MAX_WRITERS),
    awayMs: away === undefined ? null : countOf("away-s", away, MAX_AWAY_S) * 1_000,
    json,
    timeline,
    sync,
    door,
  };
}

function valuesOf(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: SPEC, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new OptionsError(`${(error as Error).message.split(". ")[0]}: see --help`);
  }
}

function scenarioOf(text: string): ScenarioName {
  const scenario = SCENARIOS.find((name) => name === text);
  if (!scenario) throw new OptionsError(`--scenario is '${text}': give one of ${SCENARIOS.join(", ")}`);
  return scenario;
}

function countOf(option: "runs" | "writers" | "away-s", text: string, most: number): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count < 1 || count > most) {
    throw new OptionsError(`--${option} is '${text}': give a whole number, 1 to ${most}`);
  }
  return count;
}

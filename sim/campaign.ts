/** Many seeds one after the other: what broke, and what they were made of. */
import { runSeed, type Outcome } from "./run.ts";
import { WORLDS } from "./worlds.ts";

const LAST_EVENTS = 60;

export interface Order {
  /** The name of a world. */
  world: string;
  from: number;
  runs: number;
  /** Whether each seed runs a second time, and must tell the same story. */
  isTwice: boolean;
  /** Whether whole traces are told. */
  isTold: boolean;
}

export interface Findings {
  runs: number;
  failures: number;
  simulatedMs: number;
  tally: Record<string, number>;
  /** What is to be printed: failures with the end of their trace. */
  lines: string[];
}

/** Runs the seeds of an order. */
export function campaign({ world, from, runs, isTwice, isTold }: Order): Findings {
  const scenario = WORLDS[world];
  if (!scenario) throw new Error(`there is no world '${world}'`);
  const findings: Findings = { runs, failures: 0, simulatedMs: 0, tally: {}, lines: [] };
  for (let seed = from; seed < from + runs; seed += 1) {
    const outcome = runSeed(seed, { scenario });
    const differs = isTwice ? firstDifference(outcome.trace, runSeed(seed, { scenario }).trace) : null;
    if (isTold) findings.lines.push(...outcome.trace);
    findings.simulatedMs += outcome.simulatedMs;
    count(findings, outcome);
    if (differs === null && !outcome.violation) continue;
    findings.failures += 1;
    if (differs !== null) findings.lines.push(`seed ${seed}: two runs differ from line ${differs + 1} on`);
    tellViolation(findings, outcome, isTold);
  }
  return findings;
}

/** Adds what another part of the campaign has found. */
export function addFindings(sum: Findings, more: Findings): void {
  sum.runs += more.runs;
  sum.failures += more.failures;
  sum.simulatedMs += more.simulatedMs;
  for (const [what, times] of Object.entries(more.tally)) sum.tally[what] = (sum.tally[what] ?? 0) + times;
}

/** The first line in which two traces differ; null when they are equal. */
function firstDifference(a: string[], b: string[]): number | null {
  const index = a.findIndex((line, at) => line !== b[at]);
  if (index !== -1) return index;
  return a.length === b.length ? null : a.length;
}

function tellViolation({ lines }: Findings, { seed, violation, trace }: Outcome, isTold: boolean): void {
  if (!violation) return;
  lines.push(`seed ${seed}: ${violation.rule} broken at ${violation.timeMs.toFixed(1)} ms: ${violation.what}`);
  if (!isTold) lines.push(...trace.slice(-LAST_EVENTS).map((line) => `    ${line}`));
}

function count({ tally }: Findings, { rest, epochs, acknowledged, lost, events }: Outcome): void {
  const add = (what: string, times = 1): void => void (tally[what] = (tally[what] ?? 0) + times);
  add(rest.kind === "needs-a-person" ? `rest: needs a person (${rest.code})` : `rest: ${rest.kind}`);
  if (rest.kind === "reigning") for (const why of rest.aside) add(`members aside: ${why}`);
  add("epochs", epochs);
  add("events", events);
  add("writes acknowledged", acknowledged);
  add("writes lost by asynchronous replication", lost);
}

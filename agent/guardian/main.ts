/**
 * The guardian's process: `main.ts STATE_DIRECTORY DATA_DIRECTORY FENCE_MS`, started by the agent. One per state
 * directory. It says "ready" on its output when an agent can connect, or "taken" when another guardian stands there.
 */
import { writeFileSync, writeSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { join } from "node:path";
import { lockState } from "../lock.ts";
import { Guardian } from "./guardian.ts";
import { hurry } from "../priority.ts";
import { GUARDIAN_VERSION, type Told } from "./lines.ts";
import { askToYield, succeed } from "./succession.ts";

/** A host that runs out of memory should end others first. */
const OOM_SCORE = "-900";
const STDOUT = 1;
const STDERR = 2;

const [stateDirectory = "", dataDirectory = "", fenceMs = ""] = process.argv.slice(2);
// One of a build that locked otherwise may stand there all the same.
const told = lockState(stateDirectory, "guardian")
  ? ((await askToYield(stateDirectory)) ?? nothingTold())
  : await succeed(stateDirectory);
if (told === null) writeSync(STDOUT, "taken\n");
else await guard(told);

function nothingTold(): Told {
  const held = { attempted: 0, released: 0, policy: "automatic", policyVersion: 0, lease: null } as const;
  return { dataDirectory, fenceMs: Number(fenceMs), held, isFencing: false };
}

async function guard(known: Told): Promise<void> {
  attempt("priority", () => hurry(process.pid));
  attempt("memory", () => writeFileSync("/proc/self/oom_score_adj", OOM_SCORE));
  attempt("pid-file", () => writeFileSync(join(stateDirectory, "guardian.pid"), `${process.pid}\n`, { mode: 0o600 }));
  const guardian = new Guardian({ stateDirectory, told: known, log, onEnd: () => process.exit(0) });
  await guardian.start();
  // Whatever a look has stumbled over, the next one must come: nobody else holds the deadline.
  process.on("uncaughtException", (error) => {
    log("stumbled", { error: String(error) });
    guardian.look();
  });
  log("started", { version: GUARDIAN_VERSION });
  writeSync(STDOUT, "ready\n");
  // The next one then starts without compiling: a guardian's end is a kill as a rule, which writes nothing.
  flushCompileCache();
}

/** What makes the guardian better and may be refused. */
function attempt(what: string, act: () => void): void {
  try {
    act();
  } catch (error) {
    log("not-allowed", { what, code: (error as NodeJS.ErrnoException).code });
  }
}

function log(event: string, data: Record<string, unknown>): void {
  try {
    writeSync(STDERR, `${JSON.stringify({ time: new Date().toISOString(), pid: process.pid, event, ...data })}\n`);
  } catch {
    // A full disk must not keep the guardian from its work.
  }
}

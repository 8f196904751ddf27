/** One database server by hand: started and stopped as an operator would, past every agent. */
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { PostgresEngine } from "../agent/engine/postgres/postgres-engine.ts";
import { livingPostmaster, processState, readLockFile, serverProcesses } from "../agent/engine/postgres/processes.ts";
import type { Account, DemoMember } from "./postgres.ts";
import { until } from "./until.ts";

const START_MS = 30_000;
const STOP_MS = 30_000;
const LOOK_EVERY_MS = 10;
const PROBE_TIMEOUT_MS = 1_000;
/** Lines of a server's log. */
const LAST_WORDS = 3;

/** The binaries, and whom they run as. */
export interface ServerSoftware {
  binDirectory: string;
  account: Account;
}

/** How a server is told to stop, in the words of `pg_ctl`. */
export type StopMode = "smart" | "fast" | "immediate";
const STOP_SIGNALS = { smart: "SIGTERM", fast: "SIGINT", immediate: "SIGQUIT" } as const;

/** An engine for the member's server; the caller closes it. */
export function engineOf(
  member: DemoMember,
  { binDirectory, account }: ServerSoftware,
  probeTimeoutMs = PROBE_TIMEOUT_MS,
): PostgresEngine {
  return new PostgresEngine({
    dataDirectory: member.dataDirectory,
    binDirectory,
    socketDirectory: member.socketDirectory,
    listenHost: member.host,
    port: member.port,
    user: "postgres",
    database: "postgres",
    replicationUser: "postgres",
    passwordFile: null,
    applicationName: member.name,
    runAs: account,
    probeTimeoutMs,
    logFile: member.logFile,
    log: pino({ level: "silent" }),
  });
}

/** Starts servers as an agent would, read-only. Until a dataservice is founded its agents start nothing. */
export async function startReadOnly(members: readonly DemoMember[], software: ServerSoftware): Promise<void> {
  await Promise.all(
    members.map(async (member) => {
      const engine = engineOf(member, software);
      const outcome = await engine.start(START_MS);
      await engine.close();
      if (!outcome.ok)
        throw new Error(`the server of ${member.name} does not start (${outcome.code}): ${outcome.detail}`);
    }),
  );
}

/** Starts a server as its directory stands: read-only when `standby.signal` lies there, else writable. Waits until it answers. */
export async function launchServer(member: DemoMember, software: ServerSoftware): Promise<void> {
  const { binDirectory, account } = software;
  await untilReaped(member);
  const log = openSync(member.logFile, "a", 0o600);
  const child = spawn(
    join(binDirectory, "postgres"),
    ["-D", member.dataDirectory, "-p", String(member.port), "-k", member.socketDirectory],
    { cwd: member.dataDirectory, detached: true, stdio: ["ignore", log, log], ...account },
  );
  closeSync(log);
  let failure: string | null = null;
  child.once("error", ({ message }) => (failure = message));
  child.once("exit", (code, signal) => (failure = signal ?? `exit status ${code}`));
  child.unref();
  await until(`the server of ${member.name}`, { deadlineMs: START_MS, everyMs: LOOK_EVERY_MS }, () => {
    if (failure !== null)
      throw new Error(`the server of ${member.name} does not start (${failure}): ${lastWords(member.logFile)}`);
    const status = livingPostmaster(member.dataDirectory)?.status;
    return status === "ready" ? { found: true } : { missing: `its lock file says '${status ?? ""}'` };
  });
}

function lastWords(path: string): string {
  return readFileSync(path, "utf8").trimEnd().split("\n").slice(-LAST_WORDS).join(" | ");
}

/** A server takes its predecessor for alive until that one's parent, which may be we, has taken note of its end. */
function untilReaped({ name, dataDirectory }: DemoMember): Promise<true> {
  return until(`the end of the server of ${name}`, { deadlineMs: STOP_MS, everyMs: LOOK_EVERY_MS }, () => {
    const lock = readLockFile(dataDirectory);
    return lock === null || processState(lock.pid) !== "Z" ? { found: true } : { missing: `${lock.pid} is not reaped` };
  });
}

/** Stops a server, and waits until no process of it is left. A stopped one is fine. */
export async function stopServer({ name, dataDirectory }: DemoMember, mode: StopMode): Promise<void> {
  const postmaster = livingPostmaster(dataDirectory);
  if (postmaster) process.kill(postmaster.pid, STOP_SIGNALS[mode]);
  await until(`the end of the server of ${name}`, { deadlineMs: STOP_MS, everyMs: LOOK_EVERY_MS }, () => {
    const pids = serverProcesses(dataDirectory);
    return pids.length === 0 ? { found: true } : { missing: `processes ${pids.join(", ")} are still there` };
  });
}

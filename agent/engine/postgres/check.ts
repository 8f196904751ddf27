/** What `rex agent --check` says about the server: it looks, and changes nothing. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { EngineCheck } from "../engine.ts";
import { codeOf, ServerConnection, type ConnectionTarget, type Row } from "./connection.ts";
import type { PostgresOptions } from "./options.ts";
import { postmasterSeen } from "./processes.ts";
import { isKnown, majorOfCluster, NEWEST_MAJOR, OLDEST_MAJOR } from "./version.ts";

const COMMAND_TIMEOUT_MS = 2_000;
const QUESTION_TIMEOUT_MS = 3_000;
/** One stream and one watch for each of two replicas, and the agent's own probe. */
const FEWEST_WAL_SENDERS = 5;
const FIRST_TO_RELOAD_RESTORE_COMMAND = 14;

const run = promisify(execFile);

export async function checkServer(options: PostgresOptions, target: ConnectionTarget): Promise<EngineCheck[]> {
  const checks = [
    await checkBinaries(options),
    checkDataDirectory(options),
    checkSocketDirectory(options),
    checkOtherManager(options.dataDirectory),
    await checkServiceUnit(options.dataDirectory),
  ];
  return [...checks, ...(await checkRunningServer(options, target))];
}

function line(name: string, ok: boolean, detail: string): EngineCheck {
  return { name, ok, detail };
}

async function checkBinaries({ binDirectory, dataDirectory }: PostgresOptions): Promise<EngineCheck> {
  const name = "server program";
  const program = join(binDirectory, "postgres");
  try {
    const { stdout } = await run(program, ["--version"], { timeout: COMMAND_TIMEOUT_MS });
    const version = /\(PostgreSQL\) (\S+)/.exec(stdout)?.[1] ?? stdout.trim();
    const major = Number.parseInt(version, 10);
    if (!isKnown(major)) {
      return line(name, false, `${program} is version ${version}: use one of ${OLDEST_MAJOR} to ${NEWEST_MAJOR}`);
    }
    const cluster = majorOfCluster(dataDirectory);
    if (cluster !== null && cluster !== major) {
      return line(
        name,
        false,
        `${program} is version ${version}, the data directory is of ${cluster}: set bin_directory to that of ${cluster}`,
      );
    }
    return line(name, true, `${program}, version ${version}`);
  } catch (error) {
    return line(
      name,
      false,
      `${program} does not run (${codeOf(error) || "failed"}): set bin_directory to the server's own bin directory`,
    );
  }
}

function checkDataDirectory({ dataDirectory, runAs }: PostgresOptions): EngineCheck {
  const name = "data directory";
  if (majorOfCluster(dataDirectory) === null) {
    return line(
      name,
      false,
      `${dataDirectory} holds no readable PG_VERSION: set data_directory to an initialised cluster`,
    );
  }
  const { uid, mode } = statSync(dataDirectory);
  const account = runAs?.uid ?? process.getuid?.();
  if (uid !== account) {
    return line(
      name,
      false,
      `${dataDirectory} belongs to uid ${uid}, the server runs as ${account}: set run_as to the owner's account`,
    );
  }
  if ((mode & 0o027) !== 0) {
    return line(
      name,
      false,
      `${dataDirectory} has mode ${(mode & 0o777).toString(8)}: chmod 700 it, or the server refuses to start`,
    );
  }
  return line(name, true, `${dataDirectory}, owned by uid ${uid}`);
}

function checkSocketDirectory({ socketDirectory, dataDirectory }: PostgresOptions): EngineCheck {
  const name = "socket directory";
  try {
    const { uid, mode } = statSync(socketDirectory);
    const isPrivate = (mode & 0o077) === 0 && uid === statSync(dataDirectory).uid;
    if (isPrivate) return line(name, true, `${socketDirectory} is private`);
    return line(
      name,
      true,
      `${socketDirectory} can be entered by others: local clients there bypass every door; a directory of mode 700 of the server's account keeps them out`,
    );
  } catch (error) {
    return line(
      name,
      false,
      `${socketDirectory} cannot be read (${codeOf(error)}): create it with mode 700 for the server's account`,
    );
  }
}

/** Two managers of one server fence each other's decisions. */
function checkOtherManager(dataDirectory: string): EngineCheck {
  const name = "no other manager";
  const trace = ["patroni.dynamic.json", "postgresql.base.conf", "postgresql-auto-failover.conf"].find((file) =>
    existsSync(join(dataDirectory, file)),
  );
  if (trace === undefined) return line(name, true, "no trace of one in the data directory");
  return line(
    name,
    false,
    `${trace} is in the data directory: stop and disable the manager that wrote it, then move that file away`,
  );
}

async function checkServiceUnit(dataDirectory: string): Promise<EngineCheck> {
  const name = "no restarting unit";
  const unit = unitOf(postmasterSeen(dataDirectory)?.pid ?? null);
  if (unit === null) return line(name, true, "the server is not run by a service unit, or is down");
  try {
    const { stdout } = await run("systemctl", ["show", "--property=Restart", "--value", unit], {
      timeout: COMMAND_TIMEOUT_MS,
    });
    const restart = stdout.trim();
    if (restart === "no" || restart === "") return line(name, true, `${unit} does not restart the server`);
    return line(name, false, `${unit} has Restart=${restart}: set Restart=no, the agent starts the server`);
  } catch {
    return line(name, true, `${unit} runs the server; whether it restarts it cannot be seen here: it must not`);
  }
}

/** The service whose control group a process is in; null for a login session or none. */
function unitOf(pid: number | null): string | null {
  if (pid === null) return null;
  try {
    return /\/([^/\n]+\.service)(?:\/|$)/m.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1] ?? null;
  } catch {
    return null;
  }
}

const SETTINGS_SQL = `
  SELECT s.major, s.restore_command, s.hot_standby, s.wal_level, s.max_wal_senders::int AS max_wal_senders, s.full_page_writes, s.wal_log_hints,
    s.data_checksums, s.data_directory, s.libraries, s.fsync,
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser,
    (SELECT count(*)::int FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r') AS unlogged
  FROM (SELECT current_setting('server_version_num')::int / 10000 AS major,
    current_setting('restore_command') AS restore_command, current_setting('hot_standby') AS hot_standby, current_setting('wal_level') AS wal_level,
    current_setting('max_wal_senders') AS max_wal_senders, current_setting('full_page_writes') AS full_page_writes,
    current_setting('wal_log_hints') AS wal_log_hints, current_setting('data_checksums') AS data_checksums,
    current_setting('data_directory') AS data_directory, current_setting('fsync') AS fsync,
    current_setting('shared_preload_libraries') AS libraries) s`;

async function checkRunningServer(
  { dataDirectory }: PostgresOptions,
  target: ConnectionTarget,
): Promise<EngineCheck[]> {
  const connection = new ServerConnection(target);
  try {
    const [row] = await connection.askWithin(SETTINGS_SQL, QUESTION_TIMEOUT_MS);
    return row ? settingChecks(row, dataDirectory) : [];
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return [
      line(
        "server answers",
        false,
        `${target.host} port ${target.port}: ${codeOf(error) || detail}: start it, and let role ${target.user} in over its Unix socket`,
      ),
    ];
  } finally {
    connection.discard();
  }
}

function settingChecks(row: Row, dataDirectory: string): EngineCheck[] {
  const senders = Number(row["max_wal_senders"]);
  const isRewindable =
    row["full_page_writes"] === "on" && (row["data_checksums"] === "on" || row["wal_log_hints"] === "on");
  const unlogged = Number(row["unlogged"]);
  const manager = /repmgr|pgautofailover/.exec(String(row["libraries"]))?.[0];
  const serves = String(row["data_directory"]);
  return [
    line(
      "server answers",
      isSamePlace(serves, dataDirectory),
      isSamePlace(serves, dataDirectory)
        ? "over its Unix socket"
        : `the server there serves ${serves}: set data_directory, socket_directory and port of one server`,
    ),
    must(
      "superuser",
      row["is_superuser"] === true,
      "the agent's role",
      "ALTER ROLE ... SUPERUSER: promotion and settings need it",
    ),
    must("hot_standby", row["hot_standby"] === "on", String(row["hot_standby"]), "set it to on"),
    must(
      "wal_level",
      row["wal_level"] !== "minimal",
      String(row["wal_level"]),
      "set it to replica and restart the server",
    ),
    must(
      "max_wal_senders",
      senders >= FEWEST_WAL_SENDERS,
      String(senders),
      `set it to at least ${FEWEST_WAL_SENDERS}: each replica needs two, the agent one`,
    ),
    must(
      "fsync",
      row["fsync"] === "on",
      String(row["fsync"]),
      "set it to on: an acknowledged write must survive a crash",
    ),
    ...restoreCommandChecks(row),
    line(
      "rewind",
      true,
      isRewindable
        ? "possible"
        : "impossible: a diverged former primary must be cloned anew; enable checksums or wal_log_hints, and full_page_writes",
    ),
    line(
      "unlogged tables",
      true,
      unlogged === 0 ? "none" : `${unlogged} in this database: emptied by every failover and every start`,
    ),
    must(
      "no other manager's library",
      manager === undefined,
      manager ?? "none is loaded",
      "stop that manager and take its library out of shared_preload_libraries",
    ),
  ];
}

/** A freeze must be able to take it out while the server runs, or no failover but that of a dead server can be decided. */
function restoreCommandChecks(row: Row): EngineCheck[] {
  if (Number(row["major"]) >= FIRST_TO_RELOAD_RESTORE_COMMAND) return [];
  const command = String(row["restore_command"]);
  const remedy = `this version changes it only at a restart, so that the member cannot be frozen: take it out, restart`;
  return [must("restore_command", command === "", command === "" ? "none" : command, remedy)];
}

function must(name: string, ok: boolean, found: string, remedy: string): EngineCheck {
  return line(name, ok, ok ? found : `${found}: ${remedy}`);
}

function isSamePlace(a: string, b: string): boolean {
  try {
    return statSync(a).ino === statSync(b).ino && statSync(a).dev === statSync(b).dev;
  } catch {
    return false;
  }
}

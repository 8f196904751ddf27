// The demo's clone_command: copies a running primary of this very machine into $INTERREX_TARGET_DIRECTORY, as
// pg_basebackup would, which the PostgreSQL from npm does not bring. Plain JavaScript that needs the `pg` package alone; the
// server's account runs it. Servers 13 and newer, without tablespaces of their own.
import { chmodSync, constants, copyFileSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "pg";

const ANSWER_MS = 60_000;
const FIRST_WITH_NEW_NAMES = 150_000;

/** Directories whose content is of the running server alone. */
const EMPTIED = new Set([
  "pg_dynshmem",
  "pg_notify",
  "pg_replslot",
  "pg_serial",
  "pg_snapshots",
  "pg_stat_tmp",
  "pg_subtrans",
  "pg_wal",
]);
/** Files that must not, or need not, be in a copy. */
const LEFT_OUT =
  /^(postmaster\.(pid|opts)|backup_label(\.old)?|tablespace_map(\.old)?|backup_manifest|current_logfiles|pg_internal\.init.*|pgsql_tmp.*)$/;

const source = required("INTERREX_SOURCE_HOST");
const target = required("INTERREX_TARGET_DIRECTORY");
const client = new Client({
  host: source,
  port: Number(required("INTERREX_SOURCE_PORT")),
  user: required("INTERREX_SOURCE_USER"),
  database: "postgres",
  query_timeout: ANSWER_MS,
  connectionTimeoutMillis: ANSWER_MS,
});

try {
  await client.connect();
  const { data_directory: data } = await one("SELECT current_setting('data_directory') AS data_directory");
  // Begun and ended in one session: the server calls a backup off whose session is gone.
  const calls = backupCalls(Number((await one("SHOW server_version_num")).server_version_num));
  await one(calls.start);
  copyTree(data, target);
  // Last, so that it says nothing of what was not copied yet.
  copyFile(join(data, "global", "pg_control"), join(target, "global", "pg_control"));
  const { lsn, labelfile, spcmapfile } = await one(calls.stop);
  if (spcmapfile.trim() !== "") refuse("the cluster has tablespaces of its own: clone it with pg_basebackup");
  writeFileSync(join(target, "backup_label"), labelfile, { mode: 0o600 });
  const { last } = await one("SELECT pg_walfile_name($1::pg_lsn) AS last", [lsn]);
  copyLog(join(data, "pg_wal"), join(target, "pg_wal"), { first: firstSegment(labelfile), last });
} catch (error) {
  refuse(error.message);
} finally {
  await client.end();
}

function required(name) {
  return process.env[name] || refuse(`${name} is not set: this is run by the agent, as its clone_command`);
}

function refuse(message) {
  process.stderr.write(`clone: ${message}\n`);
  process.exit(1);
}

async function one(sql, values = []) {
  const { rows } = await client.query(sql, values);
  return rows[0];
}

function backupCalls(version) {
  const columns = "lsn::text AS lsn, labelfile, spcmapfile";
  return version >= FIRST_WITH_NEW_NAMES
    ? {
        start: "SELECT pg_backup_start('interrex clone', true)",
        stop: `SELECT ${columns} FROM pg_backup_stop(false)`,
      }
    : {
        start: "SELECT pg_start_backup('interrex clone', true, false)",
        stop: `SELECT ${columns} FROM pg_stop_backup(false, false)`,
      };
}

/** Whatever changes meanwhile is set right by the log, from the backup's start on. */
function copyTree(from, to) {
  for (const entry of listOf(from)) {
    const [path, copy] = [join(from, entry.name), join(to, entry.name)];
    if (LEFT_OUT.test(entry.name)) continue;
    if (entry.isFile()) copyFile(path, copy);
    // A log that lies elsewhere is a link here, and a directory in the copy.
    if (!entry.isDirectory() && entry.name !== "pg_wal") continue;
    makeDirectory(copy);
    if (!EMPTIED.has(entry.name)) copyTree(path, copy);
  }
}

function listOf(directory) {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    return ignoreGone(error, []);
  }
}

/** A table may be dropped between the look and the copy. */
function copyFile(from, to) {
  try {
    copyFileSync(from, to, constants.COPYFILE_FICLONE);
    chmodSync(to, statSync(from).mode & 0o777);
  } catch (error) {
    ignoreGone(error);
  }
}

function ignoreGone(error, otherwise) {
  if (error.code !== "ENOENT") throw error;
  return otherwise;
}

function makeDirectory(path) {
  mkdirSync(path, { recursive: true, mode: 0o700 });
}

function firstSegment(label) {
  return /^START WAL LOCATION: .* \(file ([0-9A-F]{24})\)$/m.exec(label)[1];
}

/** Without the log from its start to its end the copy is no whole. The histories tell of whose line it is. */
function copyLog(from, to, { first, last }) {
  makeDirectory(join(to, "archive_status"));
  const isNeeded = (name) =>
    name.endsWith(".history") || (/^[0-9A-F]{24}$/.test(name) && name >= first && name <= last);
  for (const name of readdirSync(from).filter(isNeeded)) copyFileSync(join(from, name), join(to, name));
}

/**
 * The temporary directory that holds everything a demo makes, named after the process that owns it. What a demo leaves
 * when it is killed outright is cleared away by the next one: the name says whose it was and whether that process lives.
 */
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { isTraversable } from "./binaries.ts";
import { doorTablesOf, removeDoors } from "./kernel-doors.ts";
import { removeLeftovers, sharedMemoryOf, type SharedMemory } from "./postgres.ts";
import { until } from "./until.ts";

const NAME = /^interrex-demo-(\d+)-(\d+)-[A-Za-z0-9]+$/;
const KILL_DEADLINE_MS = 20_000;
const LOOK_EVERY_MS = 10;

/** Makes the directory of this process: every account may pass through it, none but its own may list it. */
export function makeWorkshop(): string {
  const base = temporaryBase();
  const directory = mkdtempSync(join(base, `interrex-demo-${process.pid}-${startTimeOf(process.pid) ?? 0}-`));
  chmodSync(directory, 0o711);
  return directory;
}

/** Clears away what demos of this account left whose process is gone. Returns the directories removed. */
export async function clearAbandoned(): Promise<string[]> {
  const base = temporaryBase();
  const abandoned = readdirSync(base)
    .filter((name) => isAbandoned(base, name))
    .map((name) => join(base, name));
  for (const directory of abandoned) await clearDirectory(directory, { files: [], segments: [] });
  return abandoned;
}

/**
 * Ends every process that works in the directory, removes their shared memory and `known`, and then the directory.
 * Returns what is left in spite of that, in words: nothing, as a rule.
 */
export async function clearDirectory(directory: string, known: SharedMemory): Promise<string[]> {
  const states = stateDirectoriesIn(directory);
  const inhabitants = (): number[] => [...new Set([...processesIn(directory), ...states.flatMap(guardiansOf)])];
  const memories = [known, ...dataDirectoriesIn(directory).map((data) => sharedMemoryOf(data))];
  await until(`ending what works in ${directory}`, { deadlineMs: KILL_DEADLINE_MS, everyMs: LOOK_EVERY_MS }, () => {
    const pids = inhabitants();
    for (const pid of pids) killProcess(pid);
    return pids.length === 0 ? { found: true } : { missing: `processes ${pids.join(", ")} are still there` };
  });
  for (const memory of memories) await removeLeftovers(memory);
  const left = inhabitants();
  const doors = await removeDoors(doorTablesOf(configurationsIn(directory)));
  rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  return [...leftoversOf(directory, { pids: left, memories }), ...doors];
}

/** The guardian that was started for an agent's state directory, wherever it works; null where none lives. */
export function guardianIn(stateDirectory: string): number | null {
  try {
    const pid = Number.parseInt(readFileSync(join(stateDirectory, "guardian.pid"), "ascii"), 10);
    return isGuardian(pid) ? pid : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** Both together. */
export function joinSharedMemory(a: SharedMemory, b: SharedMemory): SharedMemory {
  return { files: [...new Set([...a.files, ...b.files])], segments: [...new Set([...a.segments, ...b.segments])] };
}

/** The living processes whose working directory lies in `directory`; zombies and this process do not count. */
export function processesIn(directory: string): number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid && worksIn(pid, directory) && !isZombie(pid));
}

/** SIGKILL; a process that has gone already is fine. */
export function killProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function leftoversOf(directory: string, known: { pids: number[]; memories: SharedMemory[] }): string[] {
  const { pids, memories } = known;
  const segments = readFileSync("/proc/sysvipc/shm", "utf8");
  return [
    ...[...new Set([...pids, ...processesIn(directory)])].map((pid) => `process ${pid}`),
    ...(existsSync(directory) ? [directory] : []),
    ...memories.flatMap(({ files }) => files).filter((path) => existsSync(path)),
    ...memories
      .flatMap((memory) => memory.segments)
      .filter((id) => new RegExp(`^\\s*-?\\d+\\s+${id}\\s`, "m").test(segments))
      .map((id) => `System V shared memory segment ${id}`),
  ];
}

/** Wherever a server may live or have lived: its lock file tells of shared memory also when it is dead. */
function dataDirectoriesIn(directory: string): string[] {
  return foldersWith("postmaster.pid", directory);
}

/** Wherever an agent has kept its state: it may have left a guardian there. */
function stateDirectoriesIn(directory: string): string[] {
  return foldersWith("state.json", directory);
}

function configurationsIn(directory: string): string[] {
  return foldersWith("agent.toml", directory).map((folder) => join(folder, "agent.toml"));
}

function foldersWith(file: string, directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.name === file)
    .map((entry) => entry.parentPath);
}

function guardiansOf(stateDirectory: string): number[] {
  const pid = guardianIn(stateDirectory);
  return pid === null ? [] : [pid];
}

/** A pid may have come round to somebody else's process. */
function isGuardian(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("guardian") && !isZombie(pid);
  } catch {
    return false;
  }
}

/** A server's account must be able to walk to its files, so that a private TMPDIR does not do when root starts it. */
function temporaryBase(): string {
  const wanted = resolve(tmpdir());
  accessSync(wanted, constants.W_OK);
  if (process.getuid?.() !== 0 || isTraversable(wanted)) return wanted;
  if (isTraversable("/tmp")) return "/tmp";
  throw new Error(`TMPDIR = "${wanted}" cannot be entered by other accounts, which the servers run as: use another`);
}

function isAbandoned(base: string, name: string): boolean {
  const match = NAME.exec(name);
  if (!match) return false;
  const { uid } = lstatSync(join(base, name), { throwIfNoEntry: false }) ?? {};
  return uid === process.getuid?.() && startTimeOf(Number(match[1])) !== match[2];
}

/** When a process started, in the kernel's own ticks: a pid may come round again, the pair does not. Null when it is gone. */
function startTimeOf(pid: number): string | null {
  const fields = statFields(pid);
  return fields && fields[0] !== "Z" ? (fields[19] ?? null) : null;
}

function isZombie(pid: number): boolean {
  const state = statFields(pid)?.[0];
  return state === undefined || state === "Z" || state === "X";
}

/** The fields of `/proc/PID/stat` from the state on; what comes before may itself hold spaces. */
function statFields(pid: number): string[] | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return null;
  }
}

function worksIn(pid: number, directory: string): boolean {
  try {
    const place = readlinkSync(`/proc/${pid}/cwd`);
    return place === directory || place.startsWith(`${directory}/`) || place === `${directory} (deleted)`;
  } catch {
    return false;
  }
}

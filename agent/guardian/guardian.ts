/**
 * Holds the lease's deadline beside the agent. The agent tells what it has kept; when the lease it told of ends, and the
 * agent is gone or silent, the server is killed, all of it. The guardian starts nothing, writes none of the agent's
 * files and vouches for nothing: whoever is left finds the server dead.
 */
import { statSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { readBootId, readClocks } from "../clocks.ts";
import { serverProcesses } from "../engine/postgres/processes.ts";
import { judge, newest, type Attendance, type Verdict } from "./held.ts";
import { readKept } from "./kept.ts";
import { killAll } from "./kill.ts";
import { GUARDIAN_VERSION, LineReader, lineOf, type Line, type Told } from "./lines.ts";
import { listenAsGuardian } from "./socket.ts";

/** While a lease runs the clocks are looked at this often: a timer's own clock stands still in a machine that sleeps. */
const LOOK_EVERY_MS = 250;
/** After its own start: an agent that connects knows of renewals that a full disk has refused. */
const START_PATIENCE_MS = 500;
const RETRY_KILL_MS = 20;
const HOUSEKEEPING_MS = 5_000;
/** Without an agent and without a server there is nothing left to guard after this long. */
const IDLE_MS = 60_000;

export interface GuardianOptions {
  stateDirectory: string;
  /** What is known before the agent speaks. */
  told: Told;
  log: (event: string, data: Record<string, unknown>) => void;
  /** There is nothing left to guard, or another guardian has taken over. */
  onEnd: () => void;
}

export class Guardian {
  readonly #options: GuardianOptions;
  readonly #bootId = readBootId();
  readonly #startedMs = performance.now();
  readonly #directory: string | null;
  #told: Told;
  #agent: Socket | null = null;
  #hasMetAgent = false;
  #timer: NodeJS.Timeout | null = null;
  #isAtTheEnd = false;
  #isKilling = false;
  /** Why the last kill could not be done. */
  #trouble: string | null = null;
  /** The epoch whose server this guardian has killed: what is started after that starts read-only. */
  #killedEpoch: number | null = null;
  #idleSinceMs: number | null = null;

  constructor(options: GuardianOptions) {
    this.#options = options;
    this.#told = options.told;
    this.#directory = identityOf(options.stateDirectory);
    this.#readFiles();
  }

  /** Listens for the agent and begins to watch; settles when an agent can connect. */
  async start(): Promise<void> {
    const server = createServer((socket) => this.#meet(socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.once("listening", resolve);
      listenAsGuardian(server, this.#options.stateDirectory);
    });
    setInterval(() => this.#keepHouse(), HOUSEKEEPING_MS);
    this.look();
  }

  /** Whatever woke the guardian: the clocks come first, then what they mean. */
  look(): void {
    if (this.#timer) clearTimeout(this.#timer);
    if (this.#isKilling) return;
    const verdict = this.#verdict();
    switch (verdict.kind) {
      case "rest":
        this.#isAtTheEnd = false;
        this.#killedEpoch = null;
        return;
      case "wait":
        if (verdict.isOver) this.#meetTheEnd();
        else this.#isAtTheEnd = false;
        this.#killedEpoch = null;
        return this.#lookIn(Math.min(verdict.forMs, LOOK_EVERY_MS));
      case "kill":
        if (this.#killedEpoch === this.#told.held.attempted) return;
        if (this.#meetTheEnd()) return this.look();
        void this.#kill();
    }
  }

  #verdict(): Verdict {
    const clocks = readClocks();
    const { held, isFencing, fenceMs } = this.#told;
    const attendance: Attendance = this.#agent === null ? "gone" : isFencing ? "fencing" : "silent";
    const verdict = judge(held, { attendance, fenceMs }, { bootId: this.#bootId, clocks });
    const earlyMs = this.#hasMetAgent ? 0 : START_PATIENCE_MS - (performance.now() - this.#startedMs);
    return verdict.kind === "kill" && earlyMs > 0 ? { kind: "wait", forMs: earlyMs, isOver: true } : verdict;
  }

  /** Once per lease: another process may have written a renewal, and an agent whose timer is late is woken. */
  #meetTheEnd(): boolean {
    if (this.#isAtTheEnd) return false;
    this.#isAtTheEnd = true;
    this.#readFiles();
    this.#agent?.write(lineOf({ kind: "look" }));
    return true;
  }

  #lookIn(ms: number): void {
    this.#timer = setTimeout(() => this.look(), Math.max(1, Math.ceil(ms)));
  }

  async #kill(): Promise<void> {
    this.#isKilling = true;
    const { dataDirectory, held } = this.#told;
    const { log } = this.#options;
    const beganMs = performance.now();
    let isDone = false;
    let trouble: string | null = null;
    try {
      const killed = await killAll(dataDirectory, () => this.#verdict().kind === "kill");
      isDone = killed !== null;
      const data = { epoch: held.attempted, agent: this.#agent === null ? "gone" : "silent", processes: killed };
      log(isDone ? "killed" : "called-off", { ...data, tookMs: Math.round(performance.now() - beganMs) });
    } catch (error) {
      // Tried again and again, and said once.
      if (String(error) !== this.#trouble) log("cannot-kill", { epoch: held.attempted, error: String(error) });
      trouble = String(error);
    }
    this.#trouble = trouble;
    this.#isKilling = false;
    if (isDone) this.#killedEpoch = held.attempted;
    this.#lookIn(isDone ? 0 : RETRY_KILL_MS);
  }

  #readFiles(): void {
    const kept = readKept(this.#options.stateDirectory);
    if (kept) this.#told = { ...this.#told, held: newest(this.#told.held, kept, this.#bootId) };
  }

  #meet(socket: Socket): void {
    const reader = new LineReader();
    socket.setEncoding("utf8");
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#part(socket));
    socket.on("data", (chunk: string) => {
      try {
        for (const line of reader.push(chunk)) this.#hear(socket, line);
      } catch (error) {
        this.#options.log("connection-dropped", { error: String(error) });
        socket.destroy();
      }
    });
    socket.write(lineOf({ kind: "hello", version: GUARDIAN_VERSION, pid: process.pid }));
  }

  #hear(socket: Socket, line: Line): void {
    switch (line.kind) {
      case "told": {
        if (this.#agent !== socket) this.#agent?.destroy();
        this.#agent = socket;
        this.#hasMetAgent = true;
        const { kind: _, ...told } = line;
        // An agent that has lost its state file knows of no reign; one that was not over before does not end with that.
        const { held } = this.#told;
        const isOver = held.attempted <= held.released || this.#killedEpoch === held.attempted;
        this.#told = isOver ? told : { ...told, held: newest(held, told.held, this.#bootId) };
        return this.look();
      }
      case "yield":
        this.#options.log("yielded", {});
        socket.end(lineOf({ kind: "told", ...this.#told }), () => this.#options.onEnd());
        return;
      case "hello":
      case "look":
        throw new Error(`"${line.kind}" is not said to a guardian`);
    }
  }

  /** What the agent had kept before it ended may be more than what it had told. */
  #part(socket: Socket): void {
    if (this.#agent !== socket) return;
    this.#agent = null;
    this.#told = { ...this.#told, isFencing: false };
    this.#readFiles();
    this.look();
  }

  #keepHouse(): void {
    const { stateDirectory, log, onEnd } = this.#options;
    // A lease that runs is held to its end, whatever has become of the files.
    if (this.#isKilling || this.#verdict().kind === "wait") return;
    if (identityOf(stateDirectory) !== this.#directory) {
      log("ended", { why: "the state directory is gone" });
      return onEnd();
    }
    if (this.#agent !== null || this.#hasServer()) {
      this.#idleSinceMs = null;
      return;
    }
    this.#idleSinceMs ??= performance.now();
    if (performance.now() - this.#idleSinceMs < IDLE_MS) return;
    log("ended", { why: "no agent and no server" });
    onEnd();
  }

  #hasServer(): boolean {
    const { dataDirectory } = this.#told;
    try {
      return serverProcesses(dataDirectory).length > 0;
    } catch {
      // What cannot be seen may be there.
      return true;
    }
  }
}

function identityOf(directory: string): string | null {
  const stat = statSync(directory, { throwIfNoEntry: false });
  return stat ? `${stat.dev}:${stat.ino}` : null;
}

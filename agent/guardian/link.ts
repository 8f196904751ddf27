/**
 * The agent's side of its guardian: one that runs is spoken to, none is started twice, and one that ends is replaced at
 * once. What is told on each connection is everything, so that nothing told before matters.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { getCompileCacheDir } from "node:module";
import type { Socket } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Logger } from "pino";
import type { MemberState } from "#shared/core/member/state.ts";
import { GUARDIAN_VERSION, LineReader, lineOf, type Line } from "./lines.ts";
import { connectGuardian } from "./socket.ts";

const PROGRAM = fileURLToPath(new URL("./main.ts", import.meta.url));
/** It holds next to nothing: this keeps its garbage small. */
const NODE_FLAGS = ["--max-old-space-size=16", "--max-semi-space-size=1", "--disable-warning=ExperimentalWarning"];
/** A guardian that does not come up is started again after this long, doubled each time up to the longest. */
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 5_000;

export interface GuardianLinkOptions {
  stateDirectory: string;
  dataDirectory: string;
  fenceMs: number;
  /** The lease has ended by the guardian's clocks: look at the time. */
  onLook: () => void;
  log: Logger;
}

export class GuardianLink {
  readonly #options: GuardianLinkOptions;
  #socket: Socket | null = null;
  /** Whether the guardian has said hello on the connection. */
  #isMet = false;
  #told: { state: Pick<MemberState, "durable" | "phase">; line: string } | null = null;
  #said = "";
  #retryMs = FIRST_RETRY_MS;
  #retryTimer: NodeJS.Timeout | null = null;
  #isStarting = false;
  #stopped = false;
  #onMet: () => void = () => {};

  constructor(options: GuardianLinkOptions) {
    this.#options = options;
    this.#connect();
  }

  /** Settles when a guardian stands, or after `patienceMs`; true when one does. */
  async met(patienceMs: number): Promise<boolean> {
    if (this.#isMet) return true;
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), patienceMs);
      this.#onMet = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  /** Tells what has been kept; to be called before anything rests on it. What changes nothing costs nothing. */
  tell(state: Pick<MemberState, "durable" | "phase">): void {
    if (this.#told?.state.durable === state.durable && this.#told.state.phase === state.phase) return;
    const { attempted, released, policy, policyVersion, lease } = state.durable;
    const { dataDirectory, fenceMs } = this.#options;
    const held = { attempted, released, policy, policyVersion, lease };
    const isFencing = state.phase.kind === "fencing";
    this.#told = { state, line: lineOf({ kind: "told", dataDirectory, fenceMs, held, isFencing }) };
    this.#say();
  }

  /** Lets go of the guardian, which goes on. */
  stop(): void {
    this.#stopped = true;
    if (this.#retryTimer) clearTimeout(this.#retryTimer);
    this.#socket?.destroy();
  }

  #say(): void {
    const line = this.#told?.line;
    const socket = this.#socket;
    // A guardian that does not read is told the newest when it does, not everything in between.
    if (!socket || !this.#isMet || line === undefined || line === this.#said || socket.writableNeedDrain) return;
    this.#said = line;
    socket.write(line);
  }

  #connect(): void {
    try {
      this.#converse(connectGuardian(this.#options.stateDirectory));
    } catch (error) {
      this.#retry(String(error));
    }
  }

  #converse(socket: Socket): void {
    const reader = new LineReader();
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("error", () => socket.destroy());
    socket.on("drain", () => this.#say());
    socket.on("close", () => this.#lose());
    socket.on("data", (chunk: string) => {
      try {
        for (const line of reader.push(chunk)) this.#hear(line);
      } catch (error) {
        this.#options.log.error({ error: String(error) }, "the guardian's word is not understood");
        socket.destroy();
      }
    });
  }

  #hear(line: Line): void {
    switch (line.kind) {
      case "hello":
        this.#isMet = true;
        this.#said = "";
        this.#retryMs = FIRST_RETRY_MS;
        this.#options.log.info({ pid: line.pid, version: line.version }, "guardian stands");
        this.#say();
        this.#onMet();
        // The old one holds the deadline until the new one has taken its place.
        if (line.version < GUARDIAN_VERSION) this.#start();
        return;
      case "look":
        return this.#options.onLook();
      case "told":
      case "yield":
        throw new Error(`"${line.kind}" is not said to an agent`);
    }
  }

  #lose(): void {
    const wasMet = this.#isMet;
    this.#socket = null;
    this.#isMet = false;
    if (this.#stopped) return;
    if (wasMet) this.#options.log.warn("guardian lost");
    // One that yields has a successor, which listens already or says so in a moment.
    if (wasMet) this.#connect();
    else this.#start();
  }

  /** Starts one; its own word, or its end, leads on. */
  #start(): void {
    if (this.#isStarting || this.#stopped) return;
    let child: ChildProcess;
    try {
      child = this.#spawn();
    } catch (error) {
      return this.#retry(String(error));
    }
    this.#isStarting = true;
    const goOn = (word: string) => {
      if (!this.#isStarting) return;
      this.#isStarting = false;
      child.stdout?.destroy();
      if (this.#stopped || this.#socket !== null) return;
      if (word === "ready") this.#connect();
      else this.#retry(word);
    };
    child.stdout?.setEncoding("utf8").once("data", (word: string) => goOn(word.trim()));
    child.once("exit", (code, signal) => goOn(`ended with ${signal ?? code}`));
    child.once("error", (error) => goOn(error.message));
  }

  #retry(why: string): void {
    this.#options.log.error(
      { why, retryMs: this.#retryMs },
      "no guardian: an agent that hangs would hold the server open",
    );
    this.#retryTimer = setTimeout(() => this.#connect(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS);
  }

  #spawn(): ChildProcess {
    const { stateDirectory, dataDirectory, fenceMs } = this.#options;
    const log = openLog(join(stateDirectory, "guardian.log"));
    try {
      const cache = getCompileCacheDir();
      const child = spawn(process.execPath, [...NODE_FLAGS, PROGRAM, stateDirectory, dataDirectory, String(fenceMs)], {
        cwd: stateDirectory,
        detached: true,
        env: cache === undefined ? {} : { NODE_COMPILE_CACHE: dirname(cache) },
        stdio: ["ignore", "pipe", log ?? "ignore"],
      });
      child.unref();
      return child;
    } finally {
      if (log !== null) closeSync(log);
    }
  }
}

/** Null when there is no room for one: the deadline is held without a log too. */
function openLog(path: string): number | null {
  try {
    return openSync(path, "a", 0o600);
  } catch {
    return null;
  }
}

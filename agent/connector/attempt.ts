/** One dial of one server, up to its first answer. Until then no session exists and another server can take its place. */
import { connect, type LookupFunction, type Socket } from "node:net";
import type { Upstream } from "#shared/domain/messages.ts";
import { readFirstAnswer } from "./first-answer.ts";

/** Idle connections are probed so that a peer that vanished is noticed. */
export const KEEP_ALIVE_MS = 30_000;

export interface AttemptOptions {
  target: Upstream;
  dialTimeoutMs: number;
  /** Says where the server's name leads; the system's own without it. */
  lookup?: LookupFunction | undefined;
  /** The server's kernel has accepted. */
  onConnected: () => void;
  /** The server has answered; the answer waits for `handOver`. */
  onAnswer: () => void;
  /** There will be no answer: refused, timed out, closed too early, or "not now". Called at most once. */
  onFailed: (why: string) => void;
}

export class Attempt {
  readonly #options: AttemptOptions;
  readonly #socket: Socket;
  readonly #dialTimer: NodeJS.Timeout;
  #isOver = false;
  #isConnected = false;
  #hasAnswered = false;
  #answer: Buffer = Buffer.alloc(0);

  constructor(options: AttemptOptions) {
    this.#options = options;
    const { host, port } = options.target;
    this.#socket = connect({
      host,
      port,
      lookup: options.lookup,
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    });
    this.#dialTimer = setTimeout(
      () => this.#fail(`no connection within ${options.dialTimeoutMs} ms`),
      options.dialTimeoutMs,
    );
    this.#socket.once("connect", this.#onConnect);
    this.#socket.on("data", this.#onData);
    this.#socket.once("end", this.#onEnd);
    this.#socket.on("error", this.#onError);
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  write(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  /** Gives the socket away, paused and without listeners, with what the server has said and nobody has heard. */
  handOver(): { server: Socket; answer: Buffer } {
    this.#end();
    this.#socket.pause();
    this.#socket.off("error", this.#onError);
    return { server: this.#socket, answer: this.#answer };
  }

  /** Ends the attempt without a word to its owner. */
  abandon(): void {
    if (this.#isOver) return;
    this.#end();
    resetServer(this.#socket);
  }

  readonly #onConnect = (): void => {
    clearTimeout(this.#dialTimer);
    this.#isConnected = true;
    this.#options.onConnected();
  };

  readonly #onData = (chunk: Buffer): void => {
    this.#answer = Buffer.concat([this.#answer, chunk]);
    const answer = readFirstAnswer(this.#answer);
    if (answer.kind === "incomplete") return;
    if (answer.kind === "not-now") {
      this.#fail(`not now (${answer.sqlState})`);
      return;
    }
    this.#socket.pause();
    this.#hasAnswered = true;
    this.#options.onAnswer();
  };

  readonly #onEnd = (): void => this.#fail("closed without an answer");

  readonly #onError = (error: NodeJS.ErrnoException): void => this.#fail(error.code ?? error.message);

  #fail(why: string): void {
    if (this.#isOver) return;
    this.abandon();
    this.#options.onFailed(why);
  }

  /** The error listener stays: a socket that is being torn down may still report one. */
  #end(): void {
    this.#isOver = true;
    clearTimeout(this.#dialTimer);
    this.#socket.off("connect", this.#onConnect).off("data", this.#onData).off("end", this.#onEnd);
  }
}

/** Closes a server's socket so that nothing still buffered for the server is delivered to it. */
export function resetServer(server: Socket): void {
  if (server.connecting) server.destroy();
  else if (!server.destroyed) server.resetAndDestroy();
}

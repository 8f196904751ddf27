/** One connection to a server that is made when it is needed, kept, and let go of at once when it hangs. */
import { Socket } from "node:net";
import { Client, type ClientConfig } from "pg";
import { within } from "./deadline.ts";
import { findPassword } from "./password-file.ts";

export interface ConnectionTarget {
  /** A host, or the directory of a Unix socket. */
  host: string;
  port: number;
  user: string;
  database: string;
  passwordFile: string | null;
  applicationName: string;
  /** `database`: speaks SQL and replication commands; `true`: replication commands only. */
  replication?: "database" | "true";
  /** Waited for before the connection is made. Must not reject. */
  entry?: () => Promise<void>;
}

export type Row = Record<string, unknown>;

interface Open {
  /** The driver knows its backend's process from the greeting on; its types do not say so. */
  client: Client & { processID?: number | null };
  socket: Socket;
}

/** A system or SQL error's code: `ECONNREFUSED`, `57P03`; empty when it has none. */
export function codeOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : "";
}

/** Whether the server itself refused, in its own words, rather than being out of reach. */
export function isServerRefusal(error: unknown): boolean {
  return /^[0-9A-Z]{5}$/.test(codeOf(error)) && /^\d/.test(codeOf(error));
}

export class ServerConnection {
  readonly #target: ConnectionTarget;
  readonly #onLost: () => void;
  #opening: Promise<Open> | null = null;
  #current: Open | null = null;
  #isUp = false;

  /** `onLost` is called when a connection that was up ends, unless it was let go of. */
  constructor(target: ConnectionTarget, onLost: () => void = () => {}) {
    this.#target = target;
    this.#onLost = onLost;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Whether it is being made, so that its process cannot be named yet. */
  get isOpening(): boolean {
    return this.#opening !== null && !this.#isUp;
  }

  /** The server's process at the other end; null while there is none. */
  get backendPid(): number | null {
    return this.#current?.client.processID ?? null;
  }

  /** Connects, if it is not; rejects with the error of the system or the server. No deadline of its own. */
  async connect(): Promise<void> {
    await this.#open();
  }

  /** Asks without a deadline: for the one probe that may hang as long as the server does. */
  async ask(sql: string): Promise<Row[]> {
    const { client } = await this.#open();
    return (await client.query<Row>(sql)).rows;
  }

  /** Asks, and lets go of the connection when no answer comes within `ms`. */
  async askWithin(sql: string, ms: number): Promise<Row[]> {
    try {
      return await within(this.ask(sql), ms, "the server");
    } catch (error) {
      if (!isServerRefusal(error)) this.discard();
      throw error;
    }
  }

  /** Asks one question and lets go: for a server of which an old connection says nothing. */
  async askOnce(sql: string, ms: number): Promise<Row[]> {
    try {
      return await this.askWithin(sql, ms);
    } finally {
      this.discard();
    }
  }

  /** Lets go of the connection, however it stands; the next question makes a new one. */
  discard(): void {
    const current = this.#current;
    this.#forget();
    current?.socket.destroy();
  }

  #forget(): void {
    this.#current = null;
    this.#opening = null;
    this.#isUp = false;
  }

  #open(): Promise<Open> {
    this.#opening ??= this.#start();
    return this.#opening;
  }

  async #start(): Promise<Open> {
    const socket = new Socket();
    const open: Open = { socket, client: new Client(this.#config(socket)) };
    this.#current = open;
    open.client.on("error", () => this.#lost(open));
    open.client.on("end", () => this.#lost(open));
    try {
      await this.#target.entry?.();
      if (this.#current !== open) throw new Error("let go of before it was made");
      await open.client.connect();
    } catch (error) {
      socket.destroy();
      if (this.#current === open) this.#forget();
      throw error;
    }
    if (this.#current === open) this.#isUp = true;
    return open;
  }

  #lost(open: Open): void {
    if (this.#current !== open) return;
    const wasUp = this.#isUp;
    this.#forget();
    open.socket.destroy();
    if (wasUp) this.#onLost();
  }

  #config(socket: Socket): ClientConfig {
    const { host, port, user, database, passwordFile, applicationName, replication } = this.#target;
    return {
      host,
      port,
      user,
      database,
      application_name: applicationName,
      ssl: false,
      keepAlive: true,
      keepAliveInitialDelayMillis: 1_000,
      stream: () => socket,
      ...(passwordFile !== null && {
        password: () => findPassword(passwordFile, { host, port, database, user }) ?? "",
      }),
      ...(replication && { replication }),
    };
  }
}

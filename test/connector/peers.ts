/** Both ends of the wire: recording TCP peers, each wait with a deadline. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import type { Upstream } from "#shared/domain/messages.ts";
import { Connector, type ConnectorOptions } from "../../agent/connector/connector.ts";
import type { ReadOnlyRoute, ReadWriteRoute } from "../../agent/connector/route-rules.ts";

const DEADLINE_MS = 3_000;

/** Rejects with `what` when `event` does not come in time. */
export function inTime<T>(event: Promise<T>, what: string): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const timer = setTimeout(() => reject(new Error(`did not happen within ${DEADLINE_MS} ms: ${what}`)), DEADLINE_MS);
  event.then(resolve, reject).finally(() => clearTimeout(timer));
  return promise;
}

/** One socket that remembers what it has heard. */
export class Peer {
  readonly socket: Socket;
  readonly ended: Promise<void>;
  readonly closed: Promise<{ error: string }>;
  readonly #heard: Buffer[] = [];
  #count = 0;
  #wake = Promise.withResolvers<void>();

  constructor(socket: Socket) {
    this.socket = socket;
    let error = "";
    socket.on("error", (cause: NodeJS.ErrnoException) => {
      error = cause.code ?? cause.message;
    });
    this.ended = new Promise((resolve) => socket.once("end", () => resolve()));
    this.closed = new Promise((resolve) => socket.once("close", () => resolve({ error })));
    socket.on("data", (chunk: Buffer) => {
      this.#heard.push(chunk);
      this.#count += chunk.length;
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    });
  }

  get count(): number {
    return this.#count;
  }

  get text(): string {
    return this.bytes.toString("latin1");
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#heard);
  }

  say(text: string | Buffer): void {
    this.socket.write(text);
  }

  /** Resolves when at least `count` bytes have come in all. */
  async heard(count: number): Promise<string> {
    while (this.#count < count) await inTime(this.#wake.promise, `${count} bytes, after ${this.#count}`);
    return this.text;
  }
}

/** A server whose accepted peers are handed to the test one by one. */
export class Counterparty {
  readonly server: Server;
  readonly accepted: Peer[] = [];
  #wake = Promise.withResolvers<void>();
  #taken = 0;

  constructor(react: (peer: Peer) => void = () => {}) {
    this.server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      const peer = new Peer(socket);
      this.accepted.push(peer);
      react(peer);
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    });
  }

  listen(port = 0): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(port, "127.0.0.1", () => resolve((this.server.address() as AddressInfo).port));
    });
  }

  /** The next peer that has not been handed out. */
  async next(): Promise<Peer> {
    for (;;) {
      const peer = this.accepted[this.#taken];
      if (peer) {
        this.#taken += 1;
        return peer;
      }
      await inTime(this.#wake.promise, "a connection to the server");
    }
  }

  close(): Promise<void> {
    for (const peer of this.accepted) peer.socket.destroy();
    return new Promise((resolve) => this.server.close(() => resolve()));
  }
}

/** Everything that one test opens, closed together. */
export class Stage {
  nowMs = 1_000;
  troubles = 0;
  holds = 0;
  readonly logged: string[] = [];
  readonly #closing: (() => Promise<unknown> | void)[] = [];
  #trouble = Promise.withResolvers<void>();
  #echo: Promise<Peer> | null = null;

  /** The next call of `onTrouble`. */
  get trouble(): Promise<void> {
    return inTime(this.#trouble.promise, "onTrouble");
  }

  async connector(options: Partial<ConnectorOptions> = {}): Promise<{ connector: Connector; port: number }> {
    const connector = this.#connector(options);
    return { connector, port: (await connector.start()).port };
  }

  /** A connector with a door for readers, and the port of that door. */
  async readOnlyConnector(
    options: Partial<ConnectorOptions> = {},
  ): Promise<{ connector: Connector; port: number; readWritePort: number }> {
    const connector = this.#connector({ readOnlyPort: 0, ...options });
    const { port: readWritePort, readOnlyPort } = await connector.start();
    return { connector, port: readOnlyPort ?? Number.NaN, readWritePort };
  }

  #connector(options: Partial<ConnectorOptions>): Connector {
    const note = (_fields: object, message: string): void => void this.logged.push(message);
    const connector = new Connector({
      dataservice: "alpha",
      listenHost: "127.0.0.1",
      listenPort: 0,
      holdTimeoutMs: 2_000,
      dialTimeoutMs: 500,
      now: () => this.nowMs,
      onTrouble: () => {
        this.troubles += 1;
        this.#trouble.resolve();
        this.#trouble = Promise.withResolvers();
      },
      onHeld: () => {
        this.holds += 1;
      },
      log: { info: note, warn: note },
      ...options,
    });
    this.#closing.push(() => connector.close());
    return connector;
  }

  async server(react?: (peer: Peer) => void): Promise<{ server: Counterparty; port: number }> {
    const server = new Counterparty(react);
    this.#closing.push(() => server.close());
    return { server, port: await server.listen() };
  }

  async client(port: number): Promise<Peer> {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
    this.#closing.push(() => void socket.destroy());
    const peer = new Peer(socket);
    await inTime(new Promise((resolve) => socket.once("connect", resolve)), "a connection to the connector");
    return peer;
  }

  /** A client with an open session: the server has answered its startup packet. */
  async session(port: number, server: Counterparty): Promise<{ client: Peer; backend: Peer }> {
    const client = await this.client(port);
    client.say(startup());
    const backend = await server.next();
    await backend.heard(startup().length);
    backend.say("R");
    await client.heard(1);
    return { client, backend };
  }

  /** Resolves after anything that is on its way through this process's sockets has arrived. */
  async settled(): Promise<void> {
    this.#echo ??= this.server((peer) => peer.socket.pipe(peer.socket)).then(({ port }) => this.client(port));
    const echo = await this.#echo;
    for (let round = 0; round < 3; round += 1) {
      const count = echo.count + 1;
      echo.say("?");
      await echo.heard(count);
    }
  }

  async close(): Promise<void> {
    for (const close of this.#closing.toReversed()) await close();
  }
}

export function upstream(member: string, port: number): Upstream {
  return { member, host: "127.0.0.1", port };
}

export function route(epoch: number, port: number | null, validMs = 60_000, member = "db1"): ReadWriteRoute {
  const target = port === null ? null : upstream(member, port);
  return { service: "read-write", epoch, target, hold: false, validMs };
}

/** The same with the word that new connections are to wait. */
export function holding(held: ReadWriteRoute): ReadWriteRoute {
  return { ...held, hold: true };
}

/** `ports` by member. */
export function readers(epoch: number, ports: Record<string, number>, validMs = 60_000): ReadOnlyRoute {
  const targets = Object.entries(ports).map(([member, port]) => upstream(member, port));
  return { service: "read-only", epoch, targets, maxLatencyMs: 900_000, validMs };
}

/** A StartupMessage of protocol 3.0. */
export function startup(user = "app"): Buffer {
  const body = Buffer.from(`user\0${user}\0\0`, "latin1");
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + body.length, 0);
  head.writeUInt32BE(196_608, 4);
  return Buffer.concat([head, body]);
}

/** A request of the eight-byte kind: SSL, GSS encryption, or the head of a cancel. */
export function request(code: number, more: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + more.length, 0);
  head.writeUInt32BE(code, 4);
  return Buffer.concat([head, more]);
}

export const SSL_REQUEST = 80877103;
export const GSS_REQUEST = 80877104;
export const CANCEL_REQUEST = 80877102;

/** An ErrorResponse with severity, state and message. */
export function errorResponse(sqlState: string, message = "no"): Buffer {
  const body = Buffer.from(`SFATAL\0VFATAL\0C${sqlState}\0M${message}\0\0`, "latin1");
  const head = Buffer.alloc(5);
  head.write("E", "latin1");
  head.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}

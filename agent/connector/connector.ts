/**
 * The read-write door for applications.
 *
 * It forwards bytes without looking at them, and only under a proof that the primary's reign stands: a second writer
 * gets no traffic from here, also after this process or its whole machine stood still for a while. A client that comes
 * while there is no primary waits and sees no error, up to a limit.
 */
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import type { ConnectorReport, Route } from "#shared/domain/messages.ts";
import type { DataserviceName, MemberName } from "#shared/domain/names.ts";
import { KEEP_ALIVE_MS } from "./attempt.ts";
import { Connection, type Door } from "./connection.ts";
import type { Refusal } from "./refusal.ts";
import { acceptRoute, covers, dialable, isSuperseded, NO_ROUTE, type RouteState } from "./route-proof.ts";
import { SpacedSignal } from "./spaced-signal.ts";

export interface ConnectorLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface ConnectorOptions {
  /** Named in refusals. */
  dataservice: DataserviceName;
  listenHost: string;
  /** 0 lets the system choose. */
  listenPort: number;
  /** How long a client waits for a primary, counted from its accept; also how long a session waits for a new proof. */
  holdTimeoutMs?: number;
  /** How long one TCP connection to a server may take. */
  dialTimeoutMs: number;
  /** A monotonic clock in ms: the one that the sending times given to `setRoute` were read from. */
  now: () => number;
  /** A dial failed or a server ended a session: a failover may be under way. Called at most once in 50 ms. */
  onTrouble: () => void;
  log: ConnectorLog;
}

const DEFAULT_HOLD_TIMEOUT_MS = 15_000;
const TROUBLE_SPACING_MS = 50;
/**
 * How many of the clients that waited are let in at a time when a primary is there again: a server that has just opened
 * answers the first few at once, and the whole crowd only late.
 */
const LET_IN_AT_A_TIME = 6;

export class Connector {
  readonly #options: ConnectorOptions;
  readonly #holdTimeoutMs: number;
  readonly #server: Server;
  readonly #door: Door;
  readonly #trouble: SpacedSignal;
  readonly #connections = new Set<Connection>();
  readonly #targets = new Map<MemberName, { created: number; active: number }>();
  /** Clients that waited when the route changed and have not been let in yet, in the order of their coming. */
  #waiting = new Set<Connection>();
  #route: RouteState = NO_ROUTE;
  #isEnabled = true;
  #isListening = false;
  #created = 0;
  #lastFailure = "";
  #stayedAwayTimer: NodeJS.Timeout | null = null;

  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.#holdTimeoutMs = options.holdTimeoutMs ?? DEFAULT_HOLD_TIMEOUT_MS;
    this.#trouble = new SpacedSignal(TROUBLE_SPACING_MS, options.onTrouble);
    this.#door = this.#makeDoor();
    const listening = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
    this.#server = createServer(listening, (client) => this.#accept(client));
  }

  /** Listens. Rejects with the system's error when the address cannot be had. */
  start(): Promise<{ port: number }> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(this.#options.listenPort, this.#options.listenHost, () => {
        this.#server.off("error", reject);
        this.#server.on("error", (error) =>
          this.#options.log.warn({ error: error.message }, "the connector could not accept"),
        );
        this.#isListening = true;
        resolve({ port: (this.#server.address() as AddressInfo).port });
      });
    });
  }

  /**
   * Takes a route from the answer to a request that was sent at `sentMonoMs` of `now`. Late and foreign routes are
   * ignored. A higher epoch, or another target in the same one, cuts every session of the old one before this returns.
   */
  setRoute(route: Route, sentMonoMs: number): void {
    const { state, change } = acceptRoute(this.#route, route, Math.min(sentMonoMs, this.#options.now()));
    if (change === "ignored") return;
    this.#route = state;
    if (change === "changed") {
      this.#lastFailure = "";
      const { epoch, target } = route;
      this.#options.log.info({ epoch, target, connections: this.#connections.size }, "the route changed");
    }
    this.#watchProof();
    if (change === "changed") this.#waiting = new Set([...this.#connections].filter(({ phase }) => phase === "held"));
    for (const connection of this.#connections) {
      if (!this.#waiting.has(connection)) connection.routeArrived(change);
    }
    if (change === "changed") this.#letIn(LET_IN_AT_A_TIME);
  }

  /** Offline, every new or waiting client is refused at once; open sessions go on under their proof. */
  setEnabled(isEnabled: boolean): void {
    if (this.#isEnabled === isEnabled) return;
    this.#isEnabled = isEnabled;
    this.#options.log.info({ isEnabled }, "the operator set the connector online or offline");
    if (!isEnabled) for (const connection of this.#connections) connection.stopWaiting();
  }

  /** What the agent reports with its next poll. */
  report(): ConnectorReport {
    const targets = [...this.#targets].map(([member, { created, active }]) => ({ member, created, active }));
    return { pid: process.pid, state: this.#state(), created: this.#created, active: this.#connections.size, targets };
  }

  /** Stops listening and ends every connection; resolves when every client's socket is closed. */
  close(): Promise<void> {
    this.#trouble.close();
    if (this.#stayedAwayTimer) clearTimeout(this.#stayedAwayTimer);
    this.#stayedAwayTimer = null;
    this.#isListening = false;
    const isClosed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    for (const connection of this.#connections) connection.destroy();
    return isClosed;
  }

  #accept(client: Socket): void {
    this.#created += 1;
    const connection = new Connection(client, this.#door);
    this.#connections.add(connection);
    if (!this.#isEnabled) connection.stopWaiting();
  }

  /** Lets the next few of the waiting clients dial. Whoever cannot takes no turn from the others. */
  #letIn(turns: number): void {
    let left = turns;
    for (const connection of this.#waiting) {
      if (left === 0) return;
      this.#waiting.delete(connection);
      connection.routeArrived("changed");
      if (connection.phase === "opening") left -= 1;
    }
  }

  #state(): ConnectorReport["state"] {
    if (!this.#isListening || !this.#isEnabled) return "offline";
    return dialable(this.#route, this.#options.now()) ? "online" : "on-hold";
  }

  #makeDoor(): Door {
    const { now, dialTimeoutMs } = this.#options;
    return {
      holdTimeoutMs: this.#holdTimeoutMs,
      dialTimeoutMs,
      dialable: () => (this.#isEnabled ? dialable(this.#route, now()) : null),
      covers: (course) => covers(this.#route, course, now()),
      isSuperseded: (course) => isSuperseded(this.#route, course),
      refusal: () => this.#refusal(),
      failed: (member, why) => this.#failed(member, why),
      openingEnded: () => this.#letIn(1),
      sessionBegan: (member) => this.#count(member, { created: 1, active: 1 }),
      sessionEnded: (member) => this.#count(member, { created: 0, active: -1 }),
      refused: () => this.#options.log.warn({ state: this.#state() }, "a client was refused"),
      closed: (connection) => {
        this.#connections.delete(connection);
        this.#waiting.delete(connection);
      },
    };
  }

  #count(member: MemberName, by: { created: number; active: number }): void {
    const counts = this.#targets.get(member) ?? { created: 0, active: 0 };
    this.#targets.set(member, { created: counts.created + by.created, active: counts.active + by.active });
  }

  /** Logs a failure once, not once per waiting client and retry. */
  #failed(member: MemberName, why: string): void {
    const failure = `${member}: ${why}`;
    if (failure !== this.#lastFailure) this.#options.log.warn({ member, why }, "a server failed a client");
    this.#lastFailure = failure;
    if (this.#isListening) this.#trouble.raise();
  }

  #refusal(): Refusal {
    const { dataservice } = this.#options;
    if (!this.#isEnabled) {
      return {
        message: `the connector of dataservice '${dataservice}' is offline`,
        hint: "An operator took it offline: use another one, or `router online`.",
      };
    }
    return {
      message: `no primary of dataservice '${dataservice}' is available: held for ${this.#holdTimeoutMs / 1_000} s`,
      hint: "Nothing was executed: connecting again is safe. `ls` in the console shows what the dataservice waits for.",
    };
  }

  /** A paused session cannot see its server die: when no proof comes any more, waiting on would be for ever. */
  #watchProof(): void {
    if (this.#stayedAwayTimer) clearTimeout(this.#stayedAwayTimer);
    this.#stayedAwayTimer = null;
    const proof = this.#route.proof;
    if (!proof) return;
    const dueInMs = proof.validUntilMs + this.#holdTimeoutMs - this.#options.now();
    this.#stayedAwayTimer = setTimeout(
      () => {
        if (this.#options.now() < proof.validUntilMs + this.#holdTimeoutMs) {
          this.#watchProof();
          return;
        }
        this.#options.log.warn(
          { epoch: proof.epoch, member: proof.target.member },
          "no proof came: the sessions that waited for it are cut",
        );
        for (const connection of this.#connections) connection.proofStayedAway();
      },
      Math.max(1, Math.ceil(dueInMs)),
    );
  }
}

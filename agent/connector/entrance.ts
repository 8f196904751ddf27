/**
 * One listening port of the connector: the clients that came in by it, and the route that they may take.
 *
 * What a route means is the business of the rules that it is given; the way a client goes is its connection's.
 */
import { createServer, type AddressInfo, type LookupFunction, type Server, type Socket } from "node:net";
import type { Route } from "#shared/domain/messages.ts";
import type { MemberName } from "#shared/domain/names.ts";
import { KEEP_ALIVE_MS } from "./attempt.ts";
import { Connection, type Door } from "./connection.ts";
import type { Refusal } from "./refusal.ts";
import type { Course, RouteChange, RouteRules } from "./route-rules.ts";
import { SpacedSignal } from "./spaced-signal.ts";
import { Spread } from "./spread.ts";

export interface ConnectorLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface EntranceOptions<State, AnyRoute extends Route> {
  /** Named in the log. */
  service: Route["service"];
  rules: RouteRules<State, AnyRoute>;
  listenHost: string;
  /** 0 lets the system choose. */
  listenPort: number;
  /** How long a client waits for a server, counted from its accept; also how long a session waits for a new proof. */
  holdTimeoutMs: number;
  /** How long one TCP connection to a server may take. */
  dialTimeoutMs: number;
  /** Says where a server's name leads; the system's own without it. */
  lookup?: LookupFunction | undefined;
  /** What a client hears that waited in vain, and what it hears of a connector that is offline. */
  refusals: { unavailable: Refusal; offline: Refusal };
  /** A monotonic clock in ms: the one that the sending times given to `setRoute` were read from. */
  now: () => number;
  /** A dial failed or a server ended a session. */
  onTrouble: () => void;
  log: ConnectorLog;
}

/** The sessions that a member has served, and serves. */
export interface Served {
  created: number;
  active: number;
}

/**
 * How many of the clients that waited are let in at a time when a server is there again: one that has just opened
 * answers the first few at once, and the whole crowd only late.
 */
const LET_IN_AT_A_TIME = 6;
const REFUSALS_SPACING_MS = 10_000;

export class Entrance<State, AnyRoute extends Route> {
  readonly #options: EntranceOptions<State, AnyRoute>;
  readonly #server: Server;
  readonly #door: Door;
  readonly #connections = new Set<Connection>();
  readonly #spread = new Spread();
  readonly #served = new Map<MemberName, Served>();
  /** Clients that waited when the route changed and have not been let in yet, in the order of their coming. */
  #waiting = new Set<Connection>();
  #route: State;
  #isEnabled = true;
  #isListening = false;
  #created = 0;
  #lastFailure = "";
  /** Clients refused since that was told last: whoever reaches the port can have as many refused as he likes. */
  #refused = 0;
  readonly #refusals = new SpacedSignal(REFUSALS_SPACING_MS, () => this.#tellRefusals());
  #stayedAwayTimer: NodeJS.Timeout | null = null;

  constructor(options: EntranceOptions<State, AnyRoute>) {
    this.#options = options;
    this.#route = options.rules.unheard;
    this.#door = this.#makeDoor();
    const listening = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
    this.#server = createServer(listening, (client) => this.#accept(client));
  }

  /** Connections accepted since the start, open ones, and what became of them by member. */
  get counts(): Served & { served: ReadonlyMap<MemberName, Served> } {
    return { created: this.#created, active: this.#connections.size, served: this.#served };
  }

  get state(): "online" | "offline" | "on-hold" {
    if (!this.#isListening || !this.#isEnabled) return "offline";
    return this.#courses().length > 0 ? "online" : "on-hold";
  }

  /** Listens and resolves with the port. Rejects with the system's error when the address cannot be had. */
  start(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(this.#options.listenPort, this.#options.listenHost, () => {
        this.#server.off("error", reject);
        this.#server.on("error", (error) => this.#warn({ error: error.message }, "the connector could not accept"));
        this.#isListening = true;
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  /** Takes a route; every session that it supersedes is cut before this returns. */
  setRoute(route: AnyRoute, sentMs: number): RouteChange {
    const { rules, log } = this.#options;
    const { state, change } = rules.accept(this.#route, route, sentMs);
    if (change === "ignored") return change;
    this.#route = state;
    if (change === "changed") {
      this.#lastFailure = "";
      log.info({ route, connections: this.#connections.size }, "the route changed");
    }
    this.#watchProof();
    if (change === "changed") this.#waiting = new Set([...this.#connections].filter(({ phase }) => phase === "held"));
    for (const connection of this.#connections) {
      if (!this.#waiting.has(connection)) connection.routeArrived(change);
    }
    if (change === "changed") this.#letIn(LET_IN_AT_A_TIME);
    return change;
  }

  /** Offline, every new or waiting client is refused at once; open sessions go on under their proof. */
  setEnabled(isEnabled: boolean): void {
    this.#isEnabled = isEnabled;
    if (!isEnabled) for (const connection of this.#connections) connection.stopWaiting();
  }

  /** Stops listening and ends every connection; resolves when every client's socket is closed. */
  close(): Promise<void> {
    if (this.#stayedAwayTimer) clearTimeout(this.#stayedAwayTimer);
    this.#stayedAwayTimer = null;
    this.#isListening = false;
    this.#refusals.close();
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

  #courses(): Course[] {
    return this.#isEnabled ? this.#options.rules.dialable(this.#route, this.#options.now()) : [];
  }

  #makeDoor(): Door {
    const { now, dialTimeoutMs, holdTimeoutMs, lookup, rules, refusals } = this.#options;
    return {
      holdTimeoutMs,
      dialTimeoutMs,
      lookup,
      nextCourse: (tried) => {
        const untried = this.#courses().filter(({ target }) => !tried.has(target.member));
        return this.#spread.take(untried, now());
      },
      covers: (course) => rules.covers(this.#route, course, now()),
      isSuperseded: (course) => rules.isSuperseded(this.#route, course),
      refusal: () => (this.#isEnabled ? refusals.unavailable : refusals.offline),
      failed: (member, why) => this.#failed(member, why),
      openingBegan: (member) => this.#spread.began(member),
      openingEnded: (member) => this.#spread.ended(member),
      turnEnded: () => this.#letIn(1),
      sessionBegan: (member) => this.#sessionBegan(member),
      sessionEnded: (member) => this.#sessionEnded(member),
      refused: () => {
        this.#refused += 1;
        this.#refusals.raise();
      },
      closed: (connection) => {
        this.#connections.delete(connection);
        this.#waiting.delete(connection);
      },
    };
  }

  #sessionBegan(member: MemberName): void {
    this.#spread.began(member);
    this.#spread.served(member);
    this.#count(member, { created: 1, active: 1 });
  }

  #sessionEnded(member: MemberName): void {
    this.#spread.ended(member);
    this.#count(member, { created: 0, active: -1 });
  }

  #count(member: MemberName, by: Served): void {
    const { created, active } = this.#served.get(member) ?? { created: 0, active: 0 };
    this.#served.set(member, { created: created + by.created, active: active + by.active });
  }

  /** Logs a failure once, not once per waiting client and retry. */
  #failed(member: MemberName, why: string): void {
    this.#spread.failed(member, this.#options.now());
    const failure = `${member}: ${why}`;
    if (failure !== this.#lastFailure) this.#warn({ member, why }, "a server failed a client");
    this.#lastFailure = failure;
    if (this.#isListening) this.#options.onTrouble();
  }

  #tellRefusals(): void {
    this.#warn({ state: this.state, clients: this.#refused }, "clients were refused");
    this.#refused = 0;
  }

  #warn(fields: object, message: string): void {
    this.#options.log.warn({ service: this.#options.service, ...fields }, message);
  }

  /** A paused session cannot see its server die: when no proof comes any more, waiting on would be for ever. */
  #watchProof(): void {
    if (this.#stayedAwayTimer) clearTimeout(this.#stayedAwayTimer);
    this.#stayedAwayTimer = null;
    const { rules, now, holdTimeoutMs } = this.#options;
    const provedUntilMs = rules.provedUntilMs(this.#route);
    if (provedUntilMs === null) return;
    const cutMs = provedUntilMs + holdTimeoutMs;
    this.#stayedAwayTimer = setTimeout(
      () => {
        if (now() < cutMs) {
          this.#watchProof();
          return;
        }
        this.#warn({ route: this.#route }, "no proof came: the sessions that waited for it are cut");
        for (const connection of this.#connections) connection.proofStayedAway();
      },
      Math.max(1, Math.ceil(cutMs - now())),
    );
  }
}

/**
 * The doors for applications: one for writers, and one for readers where it is wanted.
 *
 * They forward bytes without looking at them, and only under a proof that the primary's reign stands, or that a server
 * is a replica fit to be read from: a second writer gets no traffic from here, also after this process or its whole
 * machine stood still for a while. A client that comes while there is no server for it waits and sees no error, up to a
 * limit.
 */
import type { LookupFunction } from "node:net";
import type { ConnectorReport, Route } from "#shared/domain/messages.ts";
import type { DataserviceName, MemberName } from "#shared/domain/names.ts";
import { type ConnectorLog, Entrance, type Served } from "./entrance.ts";
import { READ_ONLY, type ReadOnlyState } from "./read-only-proof.ts";
import type { Refusal } from "./refusal.ts";
import { READ_WRITE, type RouteState } from "./route-proof.ts";
import type { ReadOnlyRoute, ReadWriteRoute } from "./route-rules.ts";
import { SpacedSignal } from "./spaced-signal.ts";

export interface ConnectorOptions {
  /** Named in refusals. */
  dataservice: DataserviceName;
  listenHost: string;
  /** Where writers come in; 0 lets the system choose. */
  listenPort: number;
  /** Where readers come in; 0 lets the system choose. Without it there is no door for readers. */
  readOnlyPort?: number | undefined;
  /** How long a client waits for a server, counted from its accept; also how long a session waits for a new proof. */
  holdTimeoutMs?: number;
  /** How long one TCP connection to a server may take. */
  dialTimeoutMs: number;
  /** Says where a server's name leads; the system's own without it. */
  lookup?: LookupFunction;
  /** A monotonic clock in ms: the one that the sending times given to `setRoute` were read from. */
  now: () => number;
  /** A dial failed or a server ended a session: a failover may be under way. Called at most once in 50 ms. */
  onTrouble: () => void;
  /** A route with `hold` has taken effect: new writers wait from now on, and `report` says so. */
  onHeld: () => void;
  log: ConnectorLog;
}

const DEFAULT_HOLD_TIMEOUT_MS = 15_000;
const TROUBLE_SPACING_MS = 50;

export class Connector {
  readonly #options: ConnectorOptions;
  readonly #trouble: SpacedSignal;
  readonly #readWrite: Entrance<RouteState, ReadWriteRoute>;
  readonly #readOnly: Entrance<ReadOnlyState, ReadOnlyRoute> | null;
  #isEnabled = true;

  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.#trouble = new SpacedSignal(TROUBLE_SPACING_MS, options.onTrouble);
    const { listenHost, listenPort, readOnlyPort, dialTimeoutMs, lookup, now, log } = options;
    const holdTimeoutMs = options.holdTimeoutMs ?? DEFAULT_HOLD_TIMEOUT_MS;
    const onTrouble = (): void => this.#trouble.raise();
    const common = { listenHost, holdTimeoutMs, dialTimeoutMs, lookup, now, onTrouble, log };
    this.#readWrite = new Entrance({
      ...common,
      service: "read-write",
      rules: READ_WRITE,
      listenPort,
      refusals: refusalsOf(options.dataservice, "no primary", holdTimeoutMs),
    });
    this.#readOnly =
      readOnlyPort === undefined
        ? null
        : new Entrance({
            ...common,
            service: "read-only",
            rules: READ_ONLY,
            listenPort: readOnlyPort,
            refusals: refusalsOf(options.dataservice, "no replica within max_latency", holdTimeoutMs),
          });
  }

  /**
   * Listens on both ports, or on none: rejects with the system's error, which names the port, when an address cannot be
   * had. `readOnlyPort` is null without a door for readers.
   */
  async start(): Promise<{ port: number; readOnlyPort: number | null }> {
    const port = await this.#readWrite.start();
    try {
      return { port, readOnlyPort: this.#readOnly ? await this.#readOnly.start() : null };
    } catch (error) {
      await this.#readWrite.close();
      throw error;
    }
  }

  /**
   * Takes a route from the answer to a request that was sent at `sentMonoMs` of `now`. Late routes are ignored. A higher
   * epoch, or another target in the same one, cuts every session of writers before this returns; a list of replicas cuts
   * those of readers whose server is not on it.
   */
  setRoute(route: Route, sentMonoMs: number): void {
    const sentMs = Math.min(sentMonoMs, this.#options.now());
    switch (route.service) {
      case "read-write":
        if (this.#readWrite.setRoute(route, sentMs) === "changed" && route.hold) this.#options.onHeld();
        return;
      case "read-only":
        this.#readOnly?.setRoute(route, sentMs);
    }
  }

  /** Offline, every new or waiting client is refused at once; open sessions go on under their proof. */
  setEnabled(isEnabled: boolean): void {
    if (this.#isEnabled === isEnabled) return;
    this.#isEnabled = isEnabled;
    this.#options.log.info({ isEnabled }, "the operator set the connector online or offline");
    for (const entrance of this.#entrances()) entrance.setEnabled(isEnabled);
  }

  /** What the agent reports with its next poll: the state of the door for writers, and the counts of both. */
  report(): ConnectorReport {
    const counts = this.#entrances().map((entrance) => entrance.counts);
    const { created, active } = sum(counts);
    const members = new Set(counts.flatMap(({ served }) => [...served.keys()]));
    const targets = [...members].map((member) => {
      const served = sum(servedBy(member, counts));
      return { member, created: served.created, active: served.active };
    });
    return { pid: process.pid, state: this.#readWrite.state, created, active, targets };
  }

  /** Stops listening and ends every connection; resolves when every client's socket is closed. */
  async close(): Promise<void> {
    this.#trouble.close();
    await Promise.all(this.#entrances().map((entrance) => entrance.close()));
  }

  #entrances() {
    return this.#readOnly ? [this.#readWrite, this.#readOnly] : [this.#readWrite];
  }
}

function servedBy(member: MemberName, counts: { served: ReadonlyMap<MemberName, Served> }[]): Served[] {
  return counts.flatMap(({ served }) => served.get(member) ?? []);
}

function sum(counts: Served[]): Served {
  return counts.reduce(
    (total, { created, active }) => ({ created: total.created + created, active: total.active + active }),
    { created: 0, active: 0 },
  );
}

/** `nobody` says which kind of server there is none of. */
function refusalsOf(
  dataservice: DataserviceName,
  nobody: string,
  holdTimeoutMs: number,
): { unavailable: Refusal; offline: Refusal } {
  return {
    unavailable: {
      message: `${nobody} of dataservice '${dataservice}' is available: held for ${holdTimeoutMs / 1_000} s`,
      hint: "Nothing was executed: connecting again is safe. `ls` in the console shows what the dataservice waits for.",
    },
    offline: {
      message: `the connector of dataservice '${dataservice}' is offline`,
      hint: "An operator took it offline: use another one, or `router online`.",
    },
  };
}

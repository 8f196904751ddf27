/**
 * The lease door of one server, as its agent works it. The table outlives the agent; the kernel shuts it by itself when
 * the lease ends, whatever has become of the agent, its guardian and the server.
 */
import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";
import { remainingMs } from "#shared/core/member/lease.ts";
import type { DoorWish } from "#shared/core/member/state.ts";
import type { Clocks } from "#shared/domain/clocks.ts";
import type { EngineOutcome } from "../engine/engine.ts";
import { nft } from "./nft.ts";
import { orphansOf } from "./orphans.ts";
import {
  claimScript,
  DOOR_PREFIX,
  eraseScript,
  makeScript,
  refreshScript,
  removeScript,
  type DoorPlace,
  type Passage,
} from "./ruleset.ts";

const DEADLINE_MS = 1_000;
/** After a failure the next attempt waits, so that no loop of them takes the processor from the server. */
const RETRY_MS = 100;
/** How long a shut door is kept for what a dead server has left to say: the kernel gives up sending it by then. */
const ORPHANS_MS = 180_000;
const ORPHANS_LOOK_MS = 20;
/** Nobody waits for a door to go, and everybody for the successor that is promoted just then. */
const REMOVE_AFTER_MS = 300;

/** What the loop asks of the door. */
export interface DoorPort {
  /** Has the kernel do as wished; newer wishes overtake one that waits. Never rejects. */
  set: (wish: DoorWish) => Promise<EngineOutcome>;
}

export class KernelDoor implements DoorPort {
  readonly #place: DoorPlace;
  readonly #now: () => Clocks;
  /** What this process is called in what it claims. */
  readonly #agent = `agent_${randomBytes(8).toString("hex")}`;
  #hasClaimed = false;
  /** How the door stands, as far as this process knows. */
  #stands: DoorWish | null = null;
  #wishes = 0;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(place: DoorPlace, now: () => Clocks) {
    this.#place = place;
    this.#now = now;
  }

  /** Whether the kernel would take such a table; changes nothing. */
  probe(): Promise<EngineOutcome> {
    const passage = { kind: "timed", forMs: 1_000, untilWallMs: this.#now().wallMs } as const;
    const script = claimScript(this.#place, this.#agent) + makeScript(this.#place, this.#agent, passage);
    return nft(script, { deadlineMs: 2 * DEADLINE_MS, isTrial: true });
  }

  set(wish: DoorWish): Promise<EngineOutcome> {
    this.#wishes += 1;
    const serial = this.#wishes;
    const isOvertaken = () => this.#wishes !== serial;
    const done = this.#tail.then(() => (isOvertaken() ? OVERTAKEN : this.#carryOut(wish, isOvertaken)));
    this.#tail = done;
    return done;
  }

  async #carryOut(wish: DoorWish, isOvertaken: () => boolean): Promise<EngineOutcome> {
    const outcome = await this.#attempt(wish, isOvertaken);
    if (outcome.ok) this.#stands = wish;
    else if (outcome !== OVERTAKEN) {
      // A transaction whose end nobody has seen may have been carried out.
      this.#stands = null;
      await pause(RETRY_MS);
    }
    return outcome;
  }

  /** Whatever it stumbles over: the wishes after this one are to be heard. */
  async #attempt(wish: DoorWish, isOvertaken: () => boolean): Promise<EngineOutcome> {
    try {
      return await (this.#hasClaimed ? this.#work(wish, isOvertaken) : this.#claimAndWork(wish, isOvertaken));
    } catch (error) {
      return { ok: false, code: "door-failed", detail: String(error) };
    }
  }

  /** Before anything else: whatever an agent that is dead has left under way makes no door any more. */
  async #claimAndWork(wish: DoorWish, isOvertaken: () => boolean): Promise<EngineOutcome> {
    const claimed = await this.#claim();
    return claimed.ok ? this.#work(wish, isOvertaken) : claimed;
  }

  async #claim(): Promise<EngineOutcome> {
    const outcome = await nft(claimScript(this.#place, this.#agent), { deadlineMs: DEADLINE_MS });
    this.#hasClaimed = outcome.ok;
    return outcome;
  }

  #work(wish: DoorWish, isOvertaken: () => boolean): Promise<EngineOutcome> {
    switch (wish.kind) {
      case "none":
        return this.#remove(isOvertaken);
      case "endless":
        return this.#make(() => ({ kind: "endless" }));
      case "lease":
        return this.#openFor(wish);
    }
  }

  /** A door that stands is refreshed; one that has run out, or that somebody has removed, is made anew. */
  async #openFor(wish: Extract<DoorWish, { kind: "lease" }>): Promise<EngineOutcome> {
    if (this.#stands?.kind === "lease") {
      const passage = this.#passageOf(wish);
      if (passage === null) return LEASE_OVER;
      if ((await nft(refreshScript(this.#place, passage), { deadlineMs: DEADLINE_MS })).ok) return { ok: true };
    }
    return this.#make(() => this.#passageOf(wish));
  }

  /** What is left of the lease at this moment; null when it is over. */
  #passageOf({ lease }: Extract<DoorWish, { kind: "lease" }>): Extract<Passage, { kind: "timed" }> | null {
    const forMs = remainingMs(lease, lease.bootId, this.#now());
    return forMs <= 0 ? null : { kind: "timed", forMs, untilWallMs: lease.base.wallMs + lease.ttlMs };
  }

  /** Somebody may have flushed all rules, and the claim with them: the one who lives claims again. */
  async #make(passageNow: () => Passage | null): Promise<EngineOutcome> {
    const made = await this.#tryMake(passageNow());
    if (made.ok || made.code !== "nft-refused") return made;
    const claimed = await this.#claim();
    return claimed.ok ? this.#tryMake(passageNow()) : claimed;
  }

  async #tryMake(passage: Passage | null): Promise<EngineOutcome> {
    if (passage === null) return LEASE_OVER;
    return nft(makeScript(this.#place, this.#agent, passage), { deadlineMs: DEADLINE_MS });
  }

  /**
   * The server is dead or read-only. Bytes that it has left in its sockets are kept in until the kernel gives them up: an
   * acknowledgement of a write that was carried out behind the shut door must not leave when the door goes.
   */
  async #remove(isOvertaken: () => boolean): Promise<EngineOutcome> {
    const endMs = performance.now() + ORPHANS_MS;
    await pause(REMOVE_AFTER_MS);
    if (isOvertaken()) return OVERTAKEN;
    while (!this.#isOpen() && orphansOf(this.#place.port) > 0 && performance.now() < endMs) {
      if (isOvertaken()) return OVERTAKEN;
      await pause(ORPHANS_LOOK_MS);
    }
    return nft(removeScript(this.#place), { deadlineMs: DEADLINE_MS });
  }

  /** Whether traffic passes for certain, so that removing the door lets nothing out that was kept in. */
  #isOpen(): boolean {
    const stands = this.#stands;
    if (stands?.kind !== "lease") return stands !== null;
    return remainingMs(stands.lease, stands.lease.bootId, this.#now()) > 1_000;
  }
}

const OVERTAKEN: EngineOutcome = { ok: false, code: "overtaken", detail: "a newer wish came" };
const LEASE_OVER: EngineOutcome = { ok: false, code: "lease-over", detail: "the lease ended before the door was set" };

/** The tables of servers' doors that the kernel holds; none where this account may not ask. */
export async function listDoors(): Promise<string[]> {
  const outcome = await nft("list tables inet\n", { deadlineMs: DEADLINE_MS });
  if (!outcome.ok) return [];
  return [...(outcome.value ?? "").matchAll(/^table inet (\S+)$/gm)].flatMap(([, table]) =>
    table?.startsWith(DOOR_PREFIX) ? [table] : [],
  );
}

/** Removes a door whose server is gone for good, and what its agents have claimed. */
export function removeDoor(table: string): Promise<EngineOutcome> {
  return nft(eraseScript({ table, port: 0 }), { deadlineMs: DEADLINE_MS });
}

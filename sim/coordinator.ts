/**
 * The coordinator's shell: load, step, persist, then answer; crashes between any two of those; incarnations that were
 * replaced and do not know it.
 *
 * A replaced incarnation may still answer what needs no write. The write that an answer with authority needs fails for
 * it: the answer is withheld, and that is the end of it.
 */
import { freshLive, foundingState } from "#shared/core/cluster/state.ts";
import type {
  ClusterEvent,
  ClusterState,
  ClusterStep,
  DurableState,
  LeaseRecord,
  OperatorRequest,
  ReplyBody,
} from "#shared/core/cluster/state.ts";
import type { Poll, Reply } from "#shared/domain/messages.ts";
import { voucherOfText, voucherText } from "#shared/domain/voucher.ts";
import type { Checkers } from "./checkers.ts";
import { WallClock } from "./clock.ts";
import type { Machines } from "./machines.ts";
import type { Random } from "./random.ts";
import type { Scenario } from "./scenario.ts";
import type { Appointment, World } from "./world.ts";

/** How often a replaced incarnation is the one that a poll reaches. */
const REACHES_ZOMBIE_P = 0.3;

/** A copy of the storage is made every so many versions, and the newest are kept. */
const COPY_EVERY = 7;
const COPIES = 6;

interface Incarnation {
  state: ClusterState;
  lastWallMs: number;
  at: number;
  alarm: Appointment | null;
}

export interface CoordinatorPorts {
  world: World;
  random: Random;
  checkers: Checkers;
  machines: Machines;
  scenario: Scenario;
}

export class Coordinator {
  readonly clock: WallClock;
  /** What the storage holds. */
  stored: { durable: DurableState; lease: LeaseRecord | null; generation: number };
  readonly #ports: CoordinatorPorts;
  #current: Incarnation | null = null;
  /** Copies of the storage, made now and then. */
  #copies: Coordinator["stored"][] = [];
  #zombies: Incarnation[] = [];

  constructor(ports: CoordinatorPorts) {
    this.#ports = ports;
    const random = ports.random.fork("clock of the coordinator");
    this.clock = new WallClock(ports.world, random, ports.scenario.clocks === "opposed" ? "fast" : "any");
    this.stored = { durable: this.#created(false), lease: null, generation: 0 };
    this.start();
  }

  #created(isRestored: boolean): DurableState {
    const { members, settings, durability, syncPolicy } = this.#ports.scenario;
    return foundingState({
      dataservice: "alpha",
      members,
      primary: members[0]?.name ?? "",
      routers: [],
      settings,
      durability,
      syncPolicy: { ...syncPolicy, k: Math.min(syncPolicy.k, members.length - 1) },
      wallMs: this.clock.read(),
      isRestored,
    });
  }

  get state(): ClusterState | null {
    return this.#current?.state ?? null;
  }

  start(): void {
    if (this.#current) return;
    const generation = this.stored.generation + 1;
    this.stored = { ...this.stored, generation };
    const wallMs = this.clock.read();
    const { durable, lease } = this.stored;
    this.#current = {
      state: { durable, lease, live: freshLive(generation, wallMs) },
      lastWallMs: wallMs,
      at: 0,
      alarm: null,
    };
    this.#ports.world.note("coordinator", `incarnation ${generation}`);
    this.#wakeLater(this.#current);
  }

  /** What it remembers only in memory is gone. */
  crash(downMs: number): void {
    if (!this.#current) return;
    this.#ports.world.note("coordinator", "dies");
    this.#ports.world.cancel(this.#current.alarm);
    this.#current = null;
    this.#ports.world.after(downMs, () => this.start());
  }

  /** The storage of another day comes back; null loses it altogether, and the dataservice is created again. */
  restore(copy: Coordinator["stored"] | null): void {
    const { world, checkers } = this.#ports;
    if (this.#current) world.cancel(this.#current.alarm);
    this.#current = null;
    this.endZombies();
    this.stored = copy ?? { durable: this.#created(true), lease: null, generation: 0 };
    world.note("coordinator", copy ? `restored to version ${copy.durable.version}` : "lost its storage");
    checkers.restored(this.stored.durable);
    this.start();
  }

  /** A copy of the storage that was made at some time before now. */
  anyCopy(random: Random): Coordinator["stored"] {
    return random.pick([...this.#copies, this.stored]);
  }

  /** A fresh incarnation takes over while the old one goes on without knowing. */
  evict(): void {
    if (!this.#current) return;
    this.#zombies = [this.#current];
    this.#current = null;
    this.start();
  }

  endZombies(): void {
    for (const zombie of this.#zombies) this.#ports.world.cancel(zombie.alarm);
    this.#zombies = [];
  }

  /** A poll arrives; `respond` sends the answer on its way, null for an error. */
  receive(poll: Poll, respond: (reply: Reply | null) => void): void {
    const zombie = this.#zombies[0];
    const incarnation = zombie && this.#ports.random.chance(REACHES_ZOMBIE_P) ? zombie : this.#current;
    if (!incarnation) return;
    const voucher = poll.mac === "" ? null : voucherOfText(poll.mac);
    const result = this.#step(incarnation, { kind: "poll", ...this.#time(incarnation), poll, voucher });
    if (!result) return;
    if (result.answer.kind === "reply") respond(replyOf(result.answer.reply));
    else respond(null);
  }

  /** What an operator asks for. */
  command(command: OperatorRequest, force = false): void {
    if (!this.#current) return;
    const asked = { kind: "command", ...this.#time(this.#current), command, by: "operator", force } as const;
    const result = this.#step(this.#current, asked);
    const how = `${JSON.stringify(command)}${force ? " by force" : ""}`;
    const { answer } = result ?? { answer: { kind: "unanswered" } as const };
    this.#ports.world.note("operator", `${how} ${answer.kind === "refused" ? answer.refusal.code : answer.kind}`);
  }

  #time(incarnation: Incarnation): { at: number; wallMs: number } {
    const wallMs = this.clock.read();
    // Time passes with an event that is refused, too.
    incarnation.at += Math.max(0, wallMs - incarnation.lastWallMs);
    incarnation.lastWallMs = wallMs;
    return { at: incarnation.at, wallMs };
  }

  /** Steps and keeps; null when the answer may not leave. */
  #step(incarnation: Incarnation, event: ClusterEvent): ClusterStep | null {
    const { machines, checkers, world } = this.#ports;
    let result: ClusterStep;
    try {
      result = machines.cluster.step(incarnation.state, event);
    } catch (error) {
      checkers.broken("coordinator", error);
      return null;
    }
    const before = incarnation.state;
    const isCurrent = incarnation === this.#current;
    if (result.reasons.length > 0) {
      const who = isCurrent ? "coordinator" : "zombie";
      world.note(who, `${event.kind}: ${result.reasons.map((reason) => JSON.stringify(reason)).join(" ")}`);
    }
    const writes = result.confirm || result.state.durable !== before.durable || result.state.lease !== before.lease;
    if (!isCurrent && writes) {
      world.note("zombie", "withheld");
      this.endZombies();
      return null;
    }
    if (writes && this.#diesHere()) return null;
    incarnation.state = result.state;
    if (writes) {
      const { durable, lease } = result.state;
      checkers.persisted(this.stored.durable, result, event.kind === "command");
      this.stored = { ...this.stored, durable, lease };
      // By the version, not by chance: what is drawn here would change every run.
      if (durable.version % COPY_EVERY === 0) this.#copies = [...this.#copies, this.stored].slice(-COPIES);
    }
    if (isCurrent && this.#diesHere()) return null;
    // What is refused moves no clock of the machine's, and no alarm.
    if (result.answer.kind !== "refused" || result.state !== before) this.#wakeLater(incarnation);
    if (result.answer.kind === "reply") checkers.answers(result.answer.reply, this.stored);
    return result;
  }

  #diesHere(): boolean {
    const { world, random, scenario } = this.#ports;
    if (!world.chaos || !random.chance(scenario.coordinatorCrashP)) return false;
    this.crash(random.between(1, 2_000));
    return true;
  }

  #wakeLater(incarnation: Incarnation): void {
    const { world, machines, random } = this.#ports;
    world.cancel(incarnation.alarm);
    incarnation.alarm = null;
    const deadline = machines.cluster.nextDeadline(incarnation.state);
    if (deadline === null) return;
    const waitMs = this.clock.trueMs(Math.max(0, deadline - incarnation.state.live.at)) + random.between(0, 10);
    incarnation.alarm = world.after(waitMs, () => {
      const isAlive = incarnation === this.#current || this.#zombies.includes(incarnation);
      if (isAlive) this.#step(incarnation, { kind: "tick", ...this.#time(incarnation) });
    });
  }
}

function replyOf(body: ReplyBody): Reply {
  const { leaseEndedEpoch, voucher, ...rest } = body;
  return {
    ...rest,
    mac: voucherText(voucher),
    peerKey: "",
    leaseEnded: leaseEndedEpoch === null ? null : { epoch: leaseEndedEpoch, mac: "" },
  };
}

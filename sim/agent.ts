/**
 * One process of an agent: the shell around the member's machine. What changed is on disk before anything is done about
 * it, and the process may die between any two of those.
 */
import type { Clocks } from "#shared/domain/clocks.ts";
import type { Poll, PromiseRequest, Reply } from "#shared/domain/messages.ts";
import { pollOf } from "#shared/core/member/poll.ts";
import { isAlone } from "#shared/core/member/promises.ts";
import { freshLive, NO_LEASE_DOOR } from "#shared/core/member/state.ts";
import type { MemberEffect, MemberEvent, MemberState, MemberStep, Task } from "#shared/core/member/state.ts";
import { mayGiveTail } from "#shared/core/member/tail.ts";
import type { Checkers } from "./checkers.ts";
import type { Coordinator } from "./coordinator.ts";
import type { Host } from "./host.ts";
import type { Machines } from "./machines.ts";
import type { Network } from "./network.ts";
import { Engine, type FetchTailTask, type Outcome } from "./engine.ts";
import type { Server } from "./server.ts";
import type { Random } from "./random.ts";
import type { Scenario } from "./scenario.ts";
import type { Appointment, World } from "./world.ts";

const OBSERVE_EVERY_MS = 500;
const RETRY_MS = 100;
type DoorEffect = Extract<MemberEffect, { kind: "door" }>;
/** How late a timer of a busy process may fire. */
const LATEST_TIMER_MS = 20;

export interface AgentPorts {
  world: World;
  random: Random;
  network: Network;
  coordinator: Coordinator;
  checkers: Checkers;
  machines: Machines;
  scenario: Scenario;
  /** All of the dataservice, this one included. */
  hosts: readonly Host[];
  /** The host of a name. */
  hostOf: (name: string) => Host | null;
}

/** Rings once, unless it is cancelled before; cancelling what has rung does nothing. */
interface Timer {
  /** Null once cancelled: a paused process may have it in its backlog already. */
  deed: (() => void) | null;
  next: Appointment | null;
}

export class Agent {
  isAlive = true;
  readonly engine: Engine;
  readonly #host: Host;
  readonly #ports: AgentPorts;
  #state: MemberState | null = null;
  #seq = 0;
  #sent = new Map<number, Clocks>();
  #inFlight: number | null = null;
  #mustPollAgain = false;
  /** What peers wait for, by the number of their request. */
  #asked = new Map<number, (isPromised: boolean) => void>();
  #requests = 0;
  #isProbing = false;
  #probeWishes: (() => void)[] = [];
  #pollTimer: Timer | null = null;
  #deadlineTimer: Timer | null = null;
  /** The newest wish for the kernel door that waits for the one under way. */
  #doorWish: DoorEffect | null = null;
  #isSettingDoor = false;
  #awaitingDoor: ((ok: boolean) => void)[] = [];

  constructor(ports: AgentPorts, host: Host) {
    this.#ports = ports;
    this.#host = host;
    const { world, random, scenario } = ports;
    this.engine = new Engine({
      world,
      random,
      server: host.server,
      taskFailureP: scenario.taskFailureP,
      reservesTimelines: scenario.reservesTimelines,
      answersUpstream: scenario.answersUpstream,
      deadServerOf: (task) => this.#deadServerOf(task),
    });
  }

  get state(): MemberState | null {
    return this.#state;
  }

  /** Both ways must be open, and the agent there awake and of the opinion that it may. */
  #deadServerOf({ from, epoch, until }: FetchTailTask): Server | null {
    const { network, hostOf } = this.#ports;
    const peer = hostOf(from.host);
    const isNear = network.reaches(this.#host.name, from.host) && network.reaches(from.host, this.#host.name);
    const state = peer?.agent?.isAlive && !peer.isHalted ? peer.agent.state : null;
    return isNear && peer && state && mayGiveTail(state, { epoch, until }) ? peer.server : null;
  }

  /** Ends the process where it stands. */
  kill(): void {
    this.isAlive = false;
    this.engine.orphan();
  }

  /** Looks at the server now; `then` runs after what was seen has been handed in. */
  observe(then: () => void = () => {}): void {
    if (!this.isAlive || !this.#state) return;
    this.#probeWishes.push(then);
    if (!this.#isProbing) this.#probe();
  }

  /** Does it when the process runs; a paused one does it when it goes on. */
  act(deed: () => void): void {
    if (!this.isAlive) return;
    if (this.#host.isHalted) this.#host.backlog.push(() => this.act(deed));
    else deed();
  }

  /** The first step: reads the disk, counts the start, looks at the server. */
  start(): void {
    const { disk, server, clock, name } = this.#host;
    disk.write({ ...disk.written, startCount: disk.written.startCount + 1 }, true);
    const { scenario, machines } = this.#ports;
    const fresh = freshLive({
      bootId: clock.bootId,
      place: this.#host.place,
      fenceMs: scenario.settings.fenceMs,
      endpoint: server.endpoint,
      view: server.view(),
      nextPollMs: scenario.settings.pollMs,
    });
    const able = { isAble: true, isRequired: false, asked: null, askedId: 0, stands: null };
    const live = { ...fresh, leaseDoor: scenario.hasLeaseDoor ? able : NO_LEASE_DOOR };
    this.#ports.world.note(name, `agent starts (${disk.written.startCount})`);
    const durable = disk.written;
    this.#commit(durable, () => machines.member.begin(durable, live, clock.read()), "begin");
    this.#observeRegularly();
  }

  /** Goes on where another process is now: a copy of it, with all that it has in memory. */
  goOnAs(original: Agent): void {
    this.#state = original.#state;
    this.#seq = original.#seq;
    this.#ports.world.note(this.#host.name, "goes on as a copy");
    this.#pollNow();
    this.#watchDeadline();
    this.#observeRegularly();
  }

  #observeRegularly(): void {
    this.#timer(OBSERVE_EVERY_MS, () => {
      this.observe();
      this.#observeRegularly();
    });
  }

  #handle(event: MemberEvent): void {
    const state = this.#state;
    if (!state) return;
    const { machines, checkers } = this.#ports;
    if (event.kind === "replied") checkers.replied(event.reply);
    this.#commit(state.durable, () => machines.member.step(state, event), event.kind);
  }

  /** One step: compute, keep, then perform, with a chance to die before each. */
  #commit(before: MemberState["durable"], compute: () => MemberStep, what: string): void {
    const { checkers, world } = this.#ports;
    const { name, disk } = this.#host;
    let next: MemberStep;
    try {
      next = compute();
    } catch (error) {
      return checkers.broken(name, error);
    }
    if (next.reasons.length > 0)
      world.note(name, `${what}: ${next.reasons.map((reason) => JSON.stringify(reason)).join(" ")}`);
    if (next.state.durable !== before) {
      // A mark that is written with nothing else is lost or not, like any page of a kernel's.
      if (!isMarkOnly(before, next.state.durable) && this.#diesHere()) return;
      disk.write(next.state.durable, next.fsync);
      const { lease, policy } = next.state.durable;
      if (lease !== before.lease || policy !== before.policy) this.#host.guard();
    }
    this.#state = next.state;
    checkers.memberStepped(this.#host, next);
    for (const effect of next.effects) {
      if (this.#diesHere()) return;
      this.#perform(effect);
    }
    if (this.isAlive) this.#watchDeadline();
  }

  #diesHere(): boolean {
    const { world, random, scenario } = this.#ports;
    if (!world.chaos || !random.chance(scenario.crashAtEffectP)) return false;
    const downMs = random.between(10, 3_000);
    if (!this.#host.mayBeWithoutAgent(downMs)) return false;
    this.#host.crashAgent(downMs);
    return true;
  }

  #perform(effect: MemberEffect): void {
    switch (effect.kind) {
      case "poll":
        return this.#pollNow();
      case "run":
        return this.#run(effect.task);
      case "ask-promises":
        return this.#askPromises(effect.of, effect.request);
      case "answer-promise":
        this.#asked.get(effect.id)?.(effect.refusal === null);
        this.#asked.delete(effect.id);
        return;
      case "door":
        return this.#setDoor(effect);
    }
  }

  #askPromises(of: readonly string[], request: PromiseRequest): void {
    const { network, hosts, checkers } = this.#ports;
    const { name, clock } = this.#host;
    const sent = clock.read();
    for (const peer of hosts.filter((host) => of.includes(host.name))) {
      network.send(name, peer.name, () =>
        peer.agent?.act(() =>
          peer.agent?.hearRequest(request, (isPromised) => {
            if (!isPromised) return;
            checkers.promised(peer);
            network.send(peer.name, name, () =>
              this.act(() =>
                this.#handle({ kind: "promised", clocks: clock.read(), sent, by: peer.name, epoch: request.epoch }),
              ),
            );
          }),
        ),
      );
    }
  }

  /** A peer's request has arrived; `respond` sends the answer on its way. */
  hearRequest(request: PromiseRequest, respond: (isPromised: boolean) => void): void {
    if (!this.isAlive || !this.#state) return;
    this.#requests += 1;
    const id = this.#requests;
    this.#asked.set(id, respond);
    this.#handle({ kind: "asked-to-promise", clocks: this.#host.clock.read(), id, request });
  }

  /** The same poll by way of the peers: each of them carries it to the coordinator and the answer back. */
  #tunnel(seq: number, poll: Poll): void {
    const { network, coordinator, hosts } = this.#ports;
    const { name } = this.#host;
    for (const carrier of hosts.filter((host) => host !== this.#host)) {
      const peer = carrier.name;
      network.send(name, peer, () =>
        carrier.agent?.act(() =>
          network.send(peer, "coordinator", () =>
            coordinator.receive(poll, (reply) => {
              if (reply === null) return;
              network.send("coordinator", peer, () =>
                carrier.agent?.act(() => network.send(peer, name, () => this.act(() => this.#hear(seq, reply)))),
              );
            }),
          ),
        ),
      );
    }
  }

  /** One transaction at a time; a wish that waits is overtaken by a newer one. */
  #setDoor(effect: DoorEffect): void {
    this.#doorWish = effect;
    if (!this.#isSettingDoor) this.#nextDoor();
  }

  /** The kernel's tools are processes of their own: they go on when the agent is paused or dead. */
  #nextDoor(): void {
    const effect = this.#doorWish;
    this.#doorWish = null;
    this.#isSettingDoor = effect !== null;
    if (!effect) return;
    const { world, random, scenario } = this.#ports;
    const { door, clock } = this.#host;
    const transaction = scenario.hasLeaseDoor ? door.prepare(effect.wish) : null;
    door.claim(this);
    const fails = transaction === null || (world.chaos && random.chance(scenario.taskFailureP));
    const isDeed = !fails || random.chance(0.5);
    const { bootId } = clock;
    const carryOut = (): void => {
      if (isDeed && transaction && clock.bootId === bootId) door.commit(transaction, this);
      this.act(() => this.#doorIsSet(effect, !fails));
    };
    world.after(random.between(1, 25), () => {
      // Stopped or orphaned with its agent, it is carried out later, and opens nothing: unless the wall clock was set back.
      const isLate = transaction?.kind === "timed" && !scenario.faults.includes("wall-step") && random.chance(0.3);
      if (isLate && !this.isAlive) world.after(random.between(100, 9_000), carryOut);
      else if (isLate && this.#host.isHalted) this.#host.backlog.push(carryOut);
      else carryOut();
    });
  }

  #doorIsSet({ id }: DoorEffect, ok: boolean): void {
    const outcome = ok ? ({ ok } as const) : ({ ok, code: "nft-refused", detail: "" } as const);
    this.#handle({ kind: "door-set", clocks: this.#host.clock.read(), id, outcome });
    if (!this.#doorWish) for (const goOn of this.#awaitingDoor.splice(0)) goOn(ok);
    if (this.isAlive) this.#nextDoor();
  }

  #run(task: Task): void {
    this.#ports.checkers.taskBegins(this.#host, task);
    const needsDoor = (task.kind === "promote" || task.kind === "adopt") && task.needsDoor;
    if (!needsDoor || !this.#isSettingDoor) return this.#runNow(task);
    this.#awaitingDoor.push((ok) => {
      const phase = this.#state?.phase;
      if (ok && phase?.kind === "opening" && phase.running.id === task.id) return this.#runNow(task);
      this.#finish(task, { ok: false, code: "no-door", detail: "" });
    });
  }

  #runNow(task: Task): void {
    this.engine.run(task, (outcome) => this.#finish(task, outcome));
  }

  #finish(task: Task, outcome: Outcome): void {
    this.#ports.world.note(this.#host.name, `task ${task.id} ${task.kind} ${outcome.ok ? "ok" : outcome.code}`);
    this.act(() =>
      this.observe(() => this.#handle({ kind: "finished", clocks: this.#host.clock.read(), taskId: task.id, outcome })),
    );
  }

  /** One probe at a time: what is seen is handed in in the order of seeing. */
  #probe(): void {
    const { world, random } = this.#ports;
    this.#isProbing = true;
    const wishes = this.#probeWishes;
    this.#probeWishes = [];
    const view = this.#host.server.view();
    const after = this.#state?.live.nonce ?? null;
    world.after(random.between(0, 20), () =>
      this.act(() => {
        this.#isProbing = false;
        this.#handle({ kind: "observed", clocks: this.#host.clock.read(), view, after });
        for (const wish of wishes) if (this.isAlive) wish();
        if (this.#probeWishes.length > 0 && !this.#isProbing) this.#probe();
      }),
    );
  }

  #pollNow(): void {
    if (this.#inFlight !== null) {
      this.#mustPollAgain = true;
      return;
    }
    this.#cancel(this.#pollTimer);
    const { coordinator, network, checkers, scenario } = this.#ports;
    const { name, clock } = this.#host;
    if (!this.#state) return;
    this.#seq += 1;
    const seq = this.#seq;
    const sent = clock.read();
    const poll = pollOf(this.#state, {
      seq,
      clocks: sent,
      connector: null,
      peer: { host: `${name}.example`, port: 7_432 },
    });
    this.#sent.set(seq, sent);
    this.#inFlight = seq;
    checkers.polled(this.#host, poll);
    network.send(name, "coordinator", () =>
      coordinator.receive(poll, (reply) =>
        network.send("coordinator", name, () => this.act(() => this.#hear(seq, reply))),
      ),
    );
    if (scenario.hasTunnel && this.#state.phase.kind === "open" && isAlone(this.#state, sent)) this.#tunnel(seq, poll);
    this.#timer(scenario.settings.pollTimeoutMs, () => {
      if (this.#inFlight === seq) this.#settle(seq, RETRY_MS);
    });
  }

  #hear(seq: number, reply: Reply | null): void {
    const sent = this.#sent.get(seq);
    const isAwaited = this.#inFlight === seq;
    if (!sent || (!isAwaited && !this.#ports.scenario.hasLateReplies)) return;
    if (reply) this.#handle({ kind: "replied", clocks: this.#host.clock.read(), sent, reply });
    if (isAwaited && this.isAlive) this.#settle(seq, reply ? reply.nextPollMs : RETRY_MS);
  }

  /** The poll is over: the next one is due at once, or `pauseMs` after this one was sent. */
  #settle(seq: number, pauseMs: number): void {
    const sent = this.#sent.get(seq);
    this.#inFlight = null;
    if (this.#mustPollAgain || !sent) {
      this.#mustPollAgain = false;
      return this.#pollNow();
    }
    const elapsedMs = this.#host.clock.read().monoMs - sent.monoMs;
    this.#cancel(this.#pollTimer);
    this.#pollTimer = this.#timer(Math.max(1, pauseMs - elapsedMs), () => {
      if (this.#inFlight === null) this.#pollNow();
    });
  }

  #watchDeadline(): void {
    const { machines } = this.#ports;
    this.#cancel(this.#deadlineTimer);
    this.#deadlineTimer = null;
    if (!this.#state) return;
    const remainingMs = machines.member.nextDeadlineMs(this.#state, this.#host.clock.read());
    if (remainingMs === null) return;
    this.#deadlineTimer = this.#timer(remainingMs, () =>
      this.#handle({ kind: "tick", clocks: this.#host.clock.read() }),
    );
  }

  /** A timer on monotonic time: a machine that slept meanwhile has to wait for the rest of it. */
  #timer(afterMs: number, deed: () => void): Timer {
    const { world, random } = this.#ports;
    const { clock } = this.#host;
    const targetMs = clock.read().monoMs + afterMs;
    const timer: Timer = { deed, next: null };
    const wait = (): void => {
      const leftMs = targetMs - clock.read().monoMs;
      timer.next = world.after(clock.trueMs(Math.max(0, leftMs)) + random.between(0, LATEST_TIMER_MS), () => {
        if (!this.isAlive) return;
        if (clock.read().monoMs < targetMs - 0.01) return wait();
        this.act(() => timer.deed?.());
      });
    };
    wait();
    return timer;
  }

  #cancel(timer: Timer | null): void {
    if (!timer) return;
    timer.deed = null;
    this.#ports.world.cancel(timer.next);
  }
}

/** Whether nothing has changed but how far the log was seen to reach. */
function isMarkOnly(before: MemberState["durable"], after: MemberState["durable"]): boolean {
  const keys = Object.keys(after) as (keyof MemberState["durable"])[];
  return keys.every((key) => key === "furthest" || before[key] === after[key]);
}

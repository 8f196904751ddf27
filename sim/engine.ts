/**
 * The engine of one agent: it does to the simulated server what the tasks ask, in its own time, sometimes only half,
 * and sometimes after it has said that it failed.
 */
import { shutValue } from "#shared/domain/shut.ts";
import type { Task } from "#shared/core/member/state.ts";
import type { Random } from "./random.ts";
import type { Server } from "./server.ts";
import type { Appointment, World } from "./world.ts";

/** The fence is done within this, so that with a late timer it stays inside the declared bound of 1,500 ms. */
const FENCE_LONGEST_MS = 1_420;

export type Outcome = { ok: true; value?: string } | { ok: false; code: string; detail: string };

export type FetchTailTask = Extract<Task, { kind: "fetch-tail" }>;

export interface EnginePorts {
  world: World;
  random: Random;
  server: Server;
  taskFailureP: number;
  /** Whether a promotion takes the number it is given, as the engine does, or the first that the server does not know. */
  reservesTimelines: boolean;
  /** Whether servers say if they are writable. */
  answersUpstream: boolean;
  /** The dead server of a peer, if its agent would give its log now. */
  deadServerOf: (task: FetchTailTask) => Server | null;
}

interface RunningTask {
  task: Task;
  /** What is still to be done to the server. */
  deeds: Appointment[];
  /** How many of them are still to come. */
  pending: number;
  end: Appointment | null;
}

/** What a task will come to; it has until `withinMs`, as a rule until its deadline. */
interface Begun {
  takesMs: number;
  outcome: () => Outcome;
  withinMs?: number;
}

export class Engine {
  readonly #ports: EnginePorts;
  #running: RunningTask[] = [];

  constructor(ports: EnginePorts) {
    this.#ports = ports;
  }

  /** Whether the server may still become writable by a promotion that was begun. */
  get isPromoting(): boolean {
    return this.#running.some(({ task, deeds }) => task.kind === "promote" && deeds.some((deed) => deed.act !== null));
  }

  /** Begins a task; `finished` is called once, unless the agent ends before. */
  run(task: Task, finished: (outcome: Outcome) => void): void {
    // A fence stops whatever else is being done to the server.
    if (task.kind === "fence") this.#cancelDeeds(() => true);
    const running: RunningTask = { task, deeds: [], pending: 0, end: null };
    this.#running.push(running);
    const { takesMs, outcome, withinMs = task.deadlineMs } = this.#begin(task, running);
    const isTimely = takesMs <= withinMs;
    const late: Outcome = { ok: false, code: "timeout", detail: "" };
    // A machine that slept has still to do what its task is to be the end of.
    const end = (): void => {
      if (isTimely && running.pending > 0) running.end = this.#ports.world.after(10, end);
      else finished(isTimely ? outcome() : late);
    };
    running.end = this.#ports.world.after(Math.min(takesMs, withinMs), end);
  }

  /** The agent's process is gone: nobody hears of the ends, but what was asked of the server may still happen. */
  orphan(): void {
    const { world, random } = this.#ports;
    for (const { end } of this.#running) world.cancel(end);
    this.#cancelDeeds((kind) => (kind !== "promote" && kind !== "start") || random.chance(0.5));
  }

  /** The machine is gone, and everything that was to happen on it. */
  stop(): void {
    for (const { end } of this.#running) this.#ports.world.cancel(end);
    this.#cancelDeeds(() => true);
  }

  #cancelDeeds(isCancelled: (kind: Task["kind"]) => boolean): void {
    for (const running of this.#running) {
      if (!isCancelled(running.task.kind)) continue;
      for (const deed of running.deeds) this.#ports.world.cancel(deed);
      running.pending = 0;
    }
    this.#running = this.#running.filter(({ deeds, end }) => [...deeds, end].some((pending) => pending?.act));
  }

  /** Does it `afterMs` from now, as soon as the machine is awake. */
  #later(running: RunningTask, afterMs: number, deed: () => void): void {
    const { world, server } = this.#ports;
    const attempt = (): void => {
      if (server.isAsleep) return void running.deeds.push(world.after(50, attempt));
      running.pending -= 1;
      deed();
    };
    running.pending += 1;
    running.deeds.push(world.after(afterMs, attempt));
  }

  #begin(task: Task, running: RunningTask): Begun {
    const { random, server, world } = this.#ports;
    const fails = world.chaos && random.chance(this.#ports.taskFailureP);
    const isDeed = !fails || random.chance(0.5);
    const failed: Outcome = { ok: false, code: "engine-failed", detail: "" };
    const fixed = (takesMs: number) => ({ takesMs, outcome: (): Outcome => (fails ? failed : { ok: true }) });
    switch (task.kind) {
      case "adopt":
        if (isDeed) server.standbySignal = true;
        return fixed(random.between(5, 100));
      case "promote":
        return this.#promote(running, fails, task.timeline);
      case "follow":
        if (isDeed) server.follow(task.upstream);
        return fixed(random.between(5, 200));
      case "freeze":
        if (isDeed) server.follow(null);
        return fixed(random.between(5, 200));
      case "start": {
        server.standbySignal = true;
        const takesMs = random.between(100, world.chaos ? 4_000 : 1_000);
        if (isDeed) server.start(takesMs);
        return fixed(takesMs + 1);
      }
      case "fence": {
        const slowestMs = random.chance(0.3) ? FENCE_LONGEST_MS : random.between(5, FENCE_LONGEST_MS);
        const isPatient = task.patienceMs > 0 && random.chance(0.8);
        const longestMs = isPatient ? Math.min(task.patienceMs, slowestMs) : slowestMs;
        const killMs = server.life === null ? 1 : world.chaos ? longestMs : 200;
        this.#later(running, killMs, () => {
          if (isPatient || random.chance(0.5)) server.stopInOrder();
          else server.kill();
          // Whoever starts it next starts it read-only.
          server.standbySignal = true;
        });
        const takesMs = killMs + random.between(1, 60);
        return { ...fixed(takesMs), withinMs: takesMs };
      }
      case "settle":
        return { takesMs: random.between(5, 200), outcome: () => this.#settled() };
      case "prepare":
        return fixed(random.between(5, world.chaos ? 3_000 : 100));
      case "shut":
        return this.#shut(running, fails, task);
      case "reopen":
        server.isDoorShut = false;
        return fixed(random.between(1, 20));
      case "ask-upstream": {
        const upstream = server.serverAt(task.upstream);
        const takesMs = random.between(1, 150);
        let answer: string = "no-answer";
        this.#later(running, takesMs / 2, () => {
          if (this.#ports.answersUpstream) answer = upstream?.answerTo(server.name) ?? "no-answer";
        });
        return { takesMs, outcome: () => (fails ? failed : { ok: true, value: answer }) };
      }
      case "sync": {
        // Of two sets only the newer one is written from now on.
        this.#supersede(running);
        const takesMs = random.between(5, world.chaos && random.chance(0.2) ? 2_000 : 100);
        // It is in force some time before that is certain.
        if (isDeed) this.#later(running, random.between(0, takesMs), () => server.waitFor(task.set));
        return fixed(takesMs + 1);
      }
      case "fetch-tail":
        return this.#fetchTail(running, fails, task);
      case "rebuild":
        return this.#rebuild(running, fails, task);
    }
  }

  #supersede(newer: RunningTask): void {
    const older = this.#running.filter((running) => running !== newer && running.task.kind === newer.task.kind);
    for (const running of older) {
      for (const deed of running.deeds) this.#ports.world.cancel(deed);
      running.pending = 0;
    }
  }

  /** A server that somebody has started again is left alone while it is read-only. */
  #settled(): Outcome {
    const { process } = this.#ports.server;
    if (process.kind === "running" && !process.inRecovery) return { ok: false, code: "writable", detail: "" };
    if (process.kind === "starting") return { ok: false, code: "not-in-time", detail: "" };
    return { ok: true };
  }

  #shut(running: RunningTask, fails: boolean, task: Extract<Task, { kind: "shut" }>): Begun {
    const { random, server, world } = this.#ports;
    const { life } = server;
    server.isDoorShut = true;
    const takesMs = random.between(1, world.chaos ? 1.2 * task.drainMs : 50);
    if (fails) this.#later(running, takesMs, () => (server.isDoorShut = false));
    // The door belongs to the process: it opens by itself at the deadline.
    world.after(task.deadlineMs, () => {
      if (server.life === life) server.isDoorShut = false;
    });
    const failure: Outcome = { ok: false, code: "sessions-left", detail: "" };
    const isWatched = random.chance(0.7);
    const outcome = (): Outcome => {
      const hasHeirAll = isWatched && server.isConfirmedBy(task.heir);
      return { ok: true, value: shutValue({ ended: 2, hasHeirAll }) };
    };
    return { takesMs, outcome: () => (fails ? failure : outcome()) };
  }

  /** Now and then only a part of it comes, and now and then it comes too late. */
  #fetchTail(running: RunningTask, fails: boolean, task: FetchTailTask): Begun {
    const { random, server, world } = this.#ports;
    const takesMs = random.between(2, world.chaos && random.chance(0.2) ? 1.5 * task.deadlineMs : 200);
    const share = fails ? random.between(0, 1) : 1;
    let bytes: number | null = null;
    this.#later(running, takesMs / 2, () => {
      const dead = this.#ports.deadServerOf(task);
      if (dead) bytes = server.takeTail(dead, share);
    });
    const failure: Outcome = { ok: false, code: "tail-not-had", detail: "" };
    return { takesMs, outcome: () => (bytes === null || fails ? failure : { ok: true, value: String(bytes) }) };
  }

  #rebuild(running: RunningTask, fails: boolean, { upstream }: Extract<Task, { kind: "rebuild" }>): Begun {
    const { random, server } = this.#ports;
    const source = server.serverAt(upstream);
    const takesMs = random.between(50, 3_000);
    const isRefused = random.chance(0.2);
    let isDone = false;
    this.#later(running, takesMs - 1, () => {
      if (isRefused || fails || !source || source.answerTo(server.name) !== "writable") return;
      server.becomeCopyOf(source);
      isDone = true;
    });
    const refusal: Outcome = { ok: false, code: "rebuild-not-allowed", detail: "" };
    const failure: Outcome = { ok: false, code: "rewind-failed", detail: "" };
    const incarnation = `incarnation-${random.whole(0, 1_000_000_000)}`;
    return { takesMs, outcome: () => (isRefused ? refusal : isDone ? { ok: true, value: incarnation } : failure) };
  }

  #promote(running: RunningTask, fails: boolean, timeline: number): Begun {
    const { random, server, world } = this.#ports;
    server.follow(null);
    const { life } = server;
    const reservedTimeline = this.#ports.reservesTimelines ? timeline - 1 : 0;
    const isSlow = world.chaos && random.chance(0.1);
    const opensMs = random.between(20, isSlow ? 12_000 : 400);
    let isOpen = false;
    if (life !== null && (!fails || random.chance(0.5))) {
      this.#later(running, opensMs, () => {
        isOpen = server.promote(life, reservedTimeline);
      });
    }
    const failure: Outcome = { ok: false, code: "promotion-failed", detail: "" };
    return { takesMs: opensMs + random.between(1, 60), outcome: () => (isOpen && !fails ? { ok: true } : failure) };
  }
}

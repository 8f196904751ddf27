/**
 * The agent's shell around the member's machine: it brings events in, keeps what must be kept, and only then carries
 * effects out. It decides nothing about the cluster.
 */
import { performance } from "node:perf_hooks";
import { setImmediate as oneTurn, setTimeout as pause } from "node:timers/promises";
import type {
  ConnectorReport,
  Endpoint,
  Peer,
  Poll,
  PromiseRequest,
  ReaderQuestion,
  Reply,
  Route,
  Upstream,
} from "#shared/domain/messages.ts";
import { isAlone, routeOf } from "#shared/core/member/promises.ts";
import { readableUnder } from "#shared/core/member/readable.ts";
import { nextDeadlineMs, step } from "#shared/core/member/step.ts";
import { pollOf, routerPollOf } from "#shared/core/member/poll.ts";
import type {
  MemberEffect,
  MemberEvent,
  MemberReason,
  MemberState,
  MemberStep,
  PromiseRefusal,
  ServerView,
  Task,
} from "#shared/core/member/state.ts";
import { bootNowMs, readClocks } from "./clocks.ts";
import type { ReadOnlyRoute, ReadWriteRoute } from "./connector/route-rules.ts";
import type { PollOutcome } from "./coordinator-client.ts";
import type { DoorPort } from "./door/kernel-door.ts";
import { carryOut } from "./engine/carry-out.ts";
import type { Engine, EngineOutcome } from "./engine/engine.ts";
import type { TailRequest } from "./peer/tail.ts";
import { StateFileError } from "./state-file.ts";

/** An observation this young is as good as a new one. */
const FRESH_MS = 20;
/** The same when a peer has hinted: were there news, this host would have come by itself. */
const FRESH_HINTED_MS = 60;
/** How long a fence that has failed is paused before it is begun again. */
const FENCE_AGAIN_MS = 50;
/** How long a poll waits for the observation that is to go with it. */
const OBSERVE_PATIENCE_MS = 50;
const OBSERVE_PATIENCE_HINTED_MS = 20;
/** After an unanswered poll: while a lease runs, or clients are let through on a proof, there is no time to lose. */
const RETRY_IN_NEED_MS = 100;
const RETRY_AT_REST_MS = 1_000;
const NO_DOOR: EngineOutcome = { ok: false, code: "no-door", detail: "this host has no kernel door" };
const CALLED_OFF: EngineOutcome = { ok: false, code: "called-off", detail: "the server is being fenced" };
/** A step that could not be kept is tried again after this long. */
const KEEP_RETRY_MS = 1_000;

/** What the loop needs of the outside. `engine` is null on a host that carries only a connector. */
export interface LoopPorts {
  engine: Engine | null;
  /** The kernel door of the server; null where there can be none. */
  door: DoorPort | null;
  /** `isAlone`: the coordinator has not answered for a while, and other ways to it are tried as well. */
  poll: (poll: Poll, isAlone: boolean) => Promise<PollOutcome>;
  /** The agents of the other hosts; null when this one does not speak to them. */
  peers: PeerPort | null;
  /** Tells the guardian where the member stands, after it was kept and before anything rests on it. */
  guard: (state: MemberState) => void;
  /** Writes the durable state; throws a StateFileError when it could not. */
  keep: (durable: MemberState["durable"], fsync: boolean) => void;
  connectorReport: () => ConnectorReport | null;
  /** The routes of a reply; `sentBootMs` is when its poll was sent, on the clock that goes on in a machine that sleeps. */
  onRoutes: (routes: Reply["routes"], sentBootMs: number) => void;
  onReason: (reason: MemberReason) => void;
  onPollOutcome: (outcome: PollOutcome) => void;
  onKeepFailure: (error: StateFileError) => void;
  /** A broken rule of our own: the loop has stopped, and the server must be fenced. */
  onBroken: (error: unknown) => void;
}

/** What the loop says to the other agents. */
export interface PeerPort {
  readonly endpoint: Endpoint;
  /** Who they are, as a reply tells. */
  learn: (reply: Reply) => void;
  /** The member that the newest route for writers named, also to a process before this one; null when none did. */
  readonly writers?: string | null;
  /** Hints to these hosts to poll at once; returns before the hints have left. */
  nudge: (hosts: readonly string[]) => void;
  /** Asks for promises; `onPromise` hears of each that is given. */
  askPromises: (of: readonly string[], request: PromiseRequest, onPromise: (by: string) => void) => void;
  /** What another member's agent proves of its own reign. */
  askRoute: (member: string) => Promise<Route | null>;
  /** Where another member's server may be read from, by its own agent's word. */
  askReader: (member: string, question: ReaderQuestion) => Promise<Upstream | null>;
  /** Asks for a piece of a dead server's log; rejects when it cannot be had. */
  fetchTail: (peer: Peer, wanted: TailRequest, withinMs: number) => Promise<Buffer>;
}

export class AgentLoop {
  readonly #ports: LoopPorts;
  #state: MemberState;
  #seq = 0;
  #stopped = false;
  #pollTimer: NodeJS.Timeout | null = null;
  #deadlineTimer: NodeJS.Timeout | null = null;
  #polling = false;
  #pollAgain = false;
  #observing: Promise<void> | null = null;
  #observeAgain = false;
  #observedAtMs = Number.NEGATIVE_INFINITY;
  /** Until when a connector may let clients through, on the clock that goes on in a machine that sleeps. */
  #provedUntilBootMs = Number.NEGATIVE_INFINITY;
  /** The peers that wait for a promise, by the number of their request. */
  readonly #promises = new Map<number, (refusal: PromiseRefusal | null) => void>();
  #requests = 0;
  /** The member that the newest route for writers names, and whether its agent is being asked. */
  #writersTarget: string | null = null;
  #isAskingRoute = false;
  /** The coordinator's newest list for readers, and until when it holds; its members are asked when it is old. */
  #readers: { route: ReadOnlyRoute; untilBootMs: number } | null = null;
  #isAskingReaders = false;
  /** There is news that the coordinator has not heard. */
  #hasNews = false;
  /** A peer has hinted, and no poll has been sent since. */
  #isHinted = false;
  /** The newest wish for the kernel door; settles when its end has been handed in. */
  #doorWork: Promise<EngineOutcome> = Promise.resolve({ ok: true });

  /** `first` is what the machine's `begin` yielded; its durable part has been kept already. */
  constructor(ports: LoopPorts, first: MemberStep) {
    this.#ports = ports;
    this.#state = first.state;
    ports.engine?.onHint(() => void this.#observe());
    for (const reason of first.reasons) ports.onReason(reason);
    ports.guard(first.state);
    this.#perform(first.effects);
    this.#watchDeadline();
  }

  get state(): MemberState {
    return this.#state;
  }

  /** Polls at once, or right after the poll that is under way. */
  pollSoon(): void {
    this.#beginPoll(OBSERVE_PATIENCE_MS);
  }

  /** Polls because a peer has hinted to: the coordinator may have something for this host, and somebody waits for it. */
  pollForPeer(): void {
    this.#isHinted = true;
    this.#beginPoll(OBSERVE_PATIENCE_HINTED_MS);
  }

  #beginPoll(patienceMs: number): void {
    if (this.#stopped) return;
    if (this.#polling) {
      this.#pollAgain = true;
      return;
    }
    this.#polling = true;
    if (this.#pollTimer) clearTimeout(this.#pollTimer);
    void this.#pollOnce(patienceMs);
  }

  /** Looks at the time now, whatever the timers say. */
  lookAtTheTime(): void {
    this.#handle({ kind: "tick", clocks: readClocks() });
  }

  /** Lets go of the timers; the server and its lease go on. */
  stop(): void {
    this.#stopped = true;
    if (this.#pollTimer) clearTimeout(this.#pollTimer);
    if (this.#deadlineTimer) clearTimeout(this.#deadlineTimer);
  }

  #handle(event: MemberEvent): void {
    if (this.#stopped) return;
    let next: MemberStep;
    try {
      next = step(this.#state, event);
      if (next.state.durable !== this.#state.durable) this.#keep(next);
    } catch (error) {
      return this.#couldNotStep(event, error);
    }
    this.#state = next.state;
    for (const reason of next.reasons) this.#ports.onReason(reason);
    this.#ports.guard(next.state);
    this.#perform(next.effects);
    this.#watchDeadline();
  }

  /** A renewal that could not be written holds in memory: the next start then finds no lease, and fences. */
  #keep({ state, fsync }: MemberStep): void {
    try {
      this.#ports.keep(state.durable, fsync);
    } catch (error) {
      if (fsync || !(error instanceof StateFileError)) throw error;
      this.#ports.onKeepFailure(error);
    }
  }

  /**
   * What could not be kept was not done: the state stays. The end of a task comes again later, because it will not be
   * told twice; everything else will.
   */
  #couldNotStep(event: MemberEvent, error: unknown): void {
    if (!(error instanceof StateFileError)) {
      this.stop();
      this.#ports.onBroken(error);
      return;
    }
    this.#ports.onKeepFailure(error);
    if (event.kind !== "finished") return;
    setTimeout(() => this.#handle({ ...event, clocks: readClocks() }), KEEP_RETRY_MS);
  }

  #perform(effects: MemberStep["effects"]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case "poll":
          this.#pollOutOfTurn(effect.concernsOthers);
          break;
        case "run":
          void this.#run(effect.task);
          break;
        case "ask-promises":
          this.#askPromises(effect.of, effect.request);
          break;
        case "answer-promise":
          this.#promises.get(effect.id)?.(effect.refusal);
          this.#promises.delete(effect.id);
          break;
        case "door":
          this.#doorWork = this.#setDoor(effect);
          break;
      }
    }
  }

  #askPromises(of: readonly string[], request: PromiseRequest): void {
    const sent = readClocks();
    const { epoch } = request;
    this.#ports.peers?.askPromises(of, request, (by) =>
      this.#handle({ kind: "promised", clocks: readClocks(), sent, by, epoch }),
    );
  }

  /** A peer asks for a promise: settles with null when it is kept, with the reason when it is refused. */
  promise(request: PromiseRequest): Promise<PromiseRefusal | null> {
    this.#requests += 1;
    const id = this.#requests;
    return new Promise((resolve, reject) => {
      this.#promises.set(id, resolve);
      this.#handle({ kind: "asked-to-promise", clocks: readClocks(), id, request });
      // What could not be kept was not promised.
      if (this.#promises.delete(id)) reject(new Error("the promise could not be kept"));
    });
  }

  /** What this host proves of its own reign now. */
  route(): Route | null {
    return this.#stopped ? null : routeOf(this.#state, readClocks());
  }

  /** Where this host's server may be read from under that reign. */
  readable(question: ReaderQuestion): Upstream | null {
    return this.#stopped ? null : readableUnder(this.#state, question);
  }

  async #setDoor({ id, wish }: Extract<MemberEffect, { kind: "door" }>): Promise<EngineOutcome> {
    const outcome = (await this.#ports.door?.set(wish)) ?? NO_DOOR;
    this.#handle({ kind: "door-set", clocks: readClocks(), id, outcome });
    return outcome;
  }

  /** What is news for the others too they are told when the coordinator has heard it. */
  #pollOutOfTurn(concernsOthers: boolean): void {
    this.#hasNews ||= concernsOthers;
    this.pollSoon();
  }

  async #run(task: Task): Promise<void> {
    const outcome = await this.#carryOut(task);
    // It is begun again at once, and must not take the processor from whoever could end what stands in its way.
    if (!outcome.ok && (task.kind === "fence" || task.kind === "settle")) await pause(FENCE_AGAIN_MS);
    // The machine judges by what the server is now, not by what it was before the task.
    await this.#observe();
    this.#handle({ kind: "finished", clocks: readClocks(), taskId: task.id, outcome });
  }

  async #carryOut(task: Task): Promise<EngineOutcome> {
    const { engine } = this.#ports;
    if (!engine) return { ok: false, code: "no-server", detail: "this host carries no server" };
    return carryOut(engine, task, {
      mayOpen: () => this.#mayOpen(task),
      fetchTail: async ({ from: peer, epoch, until }, { from, bytes, withinMs }) => {
        const { peers } = this.#ports;
        if (!peers) throw new Error("this agent speaks to no peers");
        return peers.fetchTail(peer, { epoch, until, from, bytes }, withinMs);
      },
    });
  }

  /** Whether the door that an opening rests on stands. */
  async #mayOpen(task: Task): Promise<EngineOutcome> {
    if ((task.kind === "promote" || task.kind === "adopt") && task.needsDoor) {
      const door = await this.#doorWork;
      if (!door.ok) return { ...door, code: "no-door" };
      // A fence that began meanwhile has overtaken the opening: its server must not be opened behind its back.
      const { phase } = this.#state;
      if (phase.kind !== "opening" || phase.running.id !== task.id) return CALLED_OFF;
    }
    return { ok: true };
  }

  /** One observation at a time; a wish during one is fulfilled by another right after it. */
  async #observe(): Promise<void> {
    if (this.#observing) {
      this.#observeAgain = true;
      return this.#observing;
    }
    this.#observing = this.#observeOnce();
    await this.#observing;
  }

  async #observeOnce(): Promise<void> {
    const { engine } = this.#ports;
    try {
      do {
        this.#observeAgain = false;
        if (!engine || this.#stopped) break;
        const after = this.#state.live.nonce;
        const view: ServerView = await engine.observe();
        this.#observedAtMs = performance.now();
        this.#handle({ kind: "observed", clocks: readClocks(), view, after });
      } while (this.#observeAgain);
    } finally {
      this.#observing = null;
    }
  }

  async #pollOnce(patienceMs: number): Promise<void> {
    this.#pollAgain = false;
    // What comes with the event that made us poll, the end of a task after its observation, goes along.
    await oneTurn();
    await this.#observeBriefly(patienceMs, this.#isHinted ? FRESH_HINTED_MS : FRESH_MS);
    // The first word of an agent that was started beside an open server says that its door stands.
    if (this.#seq === 0) await Promise.race([this.#doorWork, pause(OBSERVE_PATIENCE_MS)]);
    if (this.#stopped) return;
    const sent = readClocks();
    const [carriesNews, isHinted] = [this.#hasNews, this.#isHinted];
    this.#hasNews = false;
    this.#isHinted = false;
    this.#seq += 1;
    const outcome = await this.#ports.poll(this.#pollAt(sent), isAlone(this.#state, sent));
    this.#polling = false;
    if (this.#stopped) return;
    this.#ports.onPollOutcome(outcome);
    if (outcome.kind === "reply") this.#hear(outcome.reply, sent, { carriesNews, isHinted });
    else {
      this.#hasNews ||= carriesNews;
      void this.#askRoute();
    }
    this.#schedulePoll(outcome.kind === "reply");
  }

  #hear(reply: Reply, sent: ReturnType<typeof readClocks>, of: { carriesNews: boolean; isHinted: boolean }): void {
    const { routes, nextPollMs } = reply;
    this.#takeRoutes(routes, sent);
    for (const route of routes) {
      if (route.service === "read-only") this.#readers = { route, untilBootMs: sent.bootMs + route.validMs };
    }
    // A pace that quickens says that an operation has begun, in which others may have a part. A hint is not passed on.
    const hasQuickened = nextPollMs < this.#state.live.nextPollMs / 2 && !of.isHinted;
    this.#ports.peers?.learn(reply);
    if (hasQuickened || of.carriesNews) this.#ports.peers?.nudge(reply.call);
    this.#handle({ kind: "replied", clocks: readClocks(), sent, reply });
  }

  #takeRoutes(routes: readonly Route[], sent: ReturnType<typeof readClocks>): void {
    this.#ports.onRoutes([...routes], sent.bootMs);
    this.#provedUntilBootMs = Math.max(this.#provedUntilBootMs, ...routes.map(({ validMs }) => sent.bootMs + validMs));
    for (const route of routes) {
      if (route.service === "read-write" && route.target) this.#writersTarget = route.target.member;
    }
  }

  /** Without the coordinator the writers' door goes by what the primary's own agent proves. */
  async #askRoute(): Promise<void> {
    const { connectorReport, peers } = this.#ports;
    const member = this.#writersTarget ?? peers?.writers ?? null;
    if (member === null || this.#isAskingRoute || connectorReport() === null) return;
    this.#isAskingRoute = true;
    const sent = readClocks();
    const isOwn = member === this.#state.durable.host;
    const route = isOwn ? this.route() : ((await peers?.askRoute(member)) ?? null);
    this.#isAskingRoute = false;
    // Only what the member says of itself.
    if (this.#stopped || route?.service !== "read-write" || route.target?.member !== member) return;
    this.#takeRoutes([route], sent);
    void this.#askReaders(route, sent);
  }

  /**
   * Without the coordinator the readers' door goes by what the replicas of its last list say of themselves, under the proof
   * that the primary's agent has given, and for no longer than that.
   */
  async #askReaders({ epoch, target, validMs }: ReadWriteRoute, sent: ReturnType<typeof readClocks>): Promise<void> {
    const { peers, onRoutes } = this.#ports;
    const known = this.#readers;
    if (!known || !peers || !target || this.#isAskingReaders || known.route.epoch > epoch) return;
    // A list that is young needs nobody's word, and a poll that was lost cuts nobody's session.
    if (sent.bootMs < known.untilBootMs - known.route.validMs / 2) return;
    this.#isAskingReaders = true;
    const question = { primary: target.member, epoch, maxLatencyMs: known.route.maxLatencyMs };
    const words = known.route.targets.map(async ({ member }) => {
      const isOwn = member === this.#state.durable.host;
      const word = isOwn ? this.readable(question) : await peers.askReader(member, question);
      // Only what the member says of itself.
      return word?.member === member ? [word] : [];
    });
    const targets = (await Promise.all(words)).flat();
    this.#isAskingReaders = false;
    // A coordinator that has answered meanwhile has the newer word.
    if (this.#stopped || this.#readers !== known) return;
    const route = { ...known.route, epoch, targets, validMs: Math.min(validMs, known.route.validMs) };
    this.#readers = { route: known.route, untilBootMs: sent.bootMs + route.validMs };
    onRoutes([route], sent.bootMs);
  }

  #pollAt(clocks: ReturnType<typeof readClocks>): Poll {
    const { connectorReport, peers } = this.#ports;
    const sending = { seq: this.#seq, clocks, connector: connectorReport(), peer: peers?.endpoint ?? null };
    return this.#ports.engine ? pollOf(this.#state, sending) : routerPollOf(this.#state, sending);
  }

  /** A fresh observation goes with each poll, unless the server takes its time: the lease cannot wait for it. */
  async #observeBriefly(patienceMs: number, freshMs: number): Promise<void> {
    if (!this.#ports.engine || performance.now() - this.#observedAtMs < freshMs) return;
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, patienceMs);
    });
    await Promise.race([this.#observe(), patience]);
    clearTimeout(timer);
  }

  #schedulePoll(answered: boolean): void {
    if (this.#stopped || this.#polling) return;
    if (this.#pollAgain && answered) return this.pollSoon();
    const { phase, live } = this.#state;
    const isInNeed = phase.kind === "open" || phase.kind === "opening" || this.#letsClientsThrough();
    const waitMs = answered ? live.nextPollMs : isInNeed ? RETRY_IN_NEED_MS : RETRY_AT_REST_MS;
    this.#pollTimer = setTimeout(() => this.pollSoon(), waitMs);
  }

  #letsClientsThrough(): boolean {
    return this.#ports.connectorReport() !== null && bootNowMs() < this.#provedUntilBootMs;
  }

  #watchDeadline(): void {
    if (this.#deadlineTimer) clearTimeout(this.#deadlineTimer);
    const waitMs = nextDeadlineMs(this.#state, readClocks());
    if (waitMs === null || this.#stopped) return;
    this.#deadlineTimer = setTimeout(() => this.lookAtTheTime(), Math.ceil(waitMs) + 1);
  }
}

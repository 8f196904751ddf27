/** One machine: its clocks, its disk, its server, its agent, and the guardian that fences when the agent cannot. */
import { remainingMs } from "#shared/core/member/lease.ts";
import { freshDurable, type MemberState } from "#shared/core/member/state.ts";
import { Agent, type AgentPorts } from "./agent.ts";
import { HostClock } from "./clock.ts";
import { Disk } from "./disk.ts";
import { Door } from "./door.ts";
import type { Server } from "./server.ts";

/** How long a guardian waits for a living agent to fence. With its own kill it stays inside the fence bound. */
const GUARDIAN_PATIENCE_MS = 900;
const GUARDIAN_KILL_MS = 450;
/** What must be left of a lease when an unguarded agent may run again: an observation, a late timer, and some. */
const SPARE_MS = 700;

export class Host {
  readonly name: string;
  readonly clock: HostClock;
  readonly disk: Disk;
  readonly door: Door;
  readonly server: Server;
  agent: Agent | null = null;
  /** What came while nothing could run. */
  backlog: (() => void)[] = [];
  isOn = true;
  isPaused = false;
  isAsleep = false;
  /** The machine of which this one is a copy; null for an original. */
  original: Host | null = null;
  /** Whether memory was copied too: then what was open there was open here, under the same lease. */
  isLiveImage = false;
  readonly #ports: AgentPorts;

  constructor(ports: AgentPorts, server: Server) {
    this.#ports = ports;
    this.name = server.name;
    this.server = server;
    const { clocks, members } = ports.scenario;
    const opposed = server.name === members[0]?.name ? "slow" : "fast";
    const clockwork = clocks === "opposed" ? opposed : clocks;
    this.clock = new HostClock(ports.world, ports.random.fork(`clock of ${server.name}`), clockwork);
    this.door = new Door(ports.world, this.clock, () => server.lookAgain());
    this.disk = new Disk(freshDurable({ dataservice: "alpha", host: server.name }, `incarnation-of-${server.name}`));
  }

  /** Whether no process of Interrex runs at this moment. */
  get isHalted(): boolean {
    return this.isPaused || this.isAsleep;
  }

  /** The first primary of an unfounded dataservice is writable by nobody's leave but its owner's. */
  get isManaged(): boolean {
    return this.disk.written.founded;
  }

  /** Where the agent's state lies, under this boot. A copy of a running machine cannot be told from it by that. */
  get place(): string {
    return `${this.clock.bootId} of ${this.isLiveImage && this.original ? this.original.name : this.name}`;
  }

  /**
   * Becomes a copy of another machine: of its disk, and boots; with `isLive` of its memory too, and goes on. False when
   * its agent is in the middle of something that no copy is made of.
   */
  becomeImageOf(original: Host, isLive: boolean): boolean {
    const state = original.agent?.state;
    if (isLive && (!state || !original.agent?.isAlive || original.isHalted || !isAtRest(state))) return false;
    this.original = original;
    this.isLiveImage = isLive;
    this.disk.write(isLive ? original.disk.written : original.disk.synced, true);
    if (isLive) this.clock.goOnAs(original.clock);
    else this.clock.bootId = `boot of ${this.name}`;
    this.server.becomeImageOf(original.server, isLive);
    if (!isLive) this.startAgent();
    else if (original.agent) {
      this.agent = new Agent(this.#ports, this);
      this.agent.goOnAs(original.agent);
      this.guard();
    }
    return true;
  }

  /** The machine is gone for good. */
  scrap(): void {
    this.powerOff(Infinity);
    this.isOn = false;
  }

  startAgent(): void {
    if (!this.isOn || this.agent?.isAlive) return;
    this.backlog = [];
    this.isPaused = false;
    // What was opened when the last agent died may lack what makes its next start read-only.
    if (this.isManaged) this.server.standbySignal = true;
    const agent = new Agent(this.#ports, this);
    this.agent = agent;
    agent.act(() => agent.start());
  }

  /** Ends the agent's process; it is started again after a while. */
  crashAgent(downMs: number): void {
    this.#ports.world.note(this.name, "agent dies");
    this.agent?.kill();
    this.isPaused = false;
    this.#ports.world.after(downMs, () => this.startAgent());
  }

  /** The agent's process ends, and its state file is gone when it is started again. */
  loseState(incarnation: string, downMs: number): void {
    this.#ports.world.note(this.name, "state file lost");
    this.server.standbySignal = true;
    this.disk.write(freshDurable({ dataservice: "alpha", host: this.name }, incarnation), true);
    this.#ports.checkers.forgot(this.name);
    this.crashAgent(downMs);
  }

  pause(forMs: number): void {
    if (this.isHalted) return;
    this.#ports.world.note(this.name, "agent paused");
    this.isPaused = true;
    this.#ports.world.after(forMs, () => this.resume());
  }

  resume(): void {
    if (!this.isPaused) return;
    this.#ports.world.note(this.name, "agent resumed");
    this.isPaused = false;
    this.#catchUp();
  }

  sleep(forMs: number): void {
    if (this.isHalted || !this.isOn) return;
    this.#ports.world.note(this.name, "machine sleeps");
    this.isAsleep = true;
    this.clock.sleep();
    this.server.setAsleep(true);
    this.#ports.world.after(forMs, () => this.wake());
  }

  wake(): void {
    if (!this.isAsleep) return;
    this.#ports.world.note(this.name, "machine wakes");
    this.isAsleep = false;
    this.clock.wake();
    this.server.setAsleep(false);
    this.#catchUp();
  }

  /** The kernel crashes: processes and unsynced writes are gone. */
  powerOff(forMs: number): void {
    if (!this.isOn) return;
    this.#ports.world.note(this.name, "machine off");
    this.isOn = false;
    this.isPaused = false;
    this.backlog = [];
    this.agent?.kill();
    this.agent?.engine.stop();
    this.server.kill();
    this.wake();
    this.door.lose();
    this.disk.loseUnsynced();
    if (forMs < Infinity) this.#ports.world.after(forMs, () => this.powerOn());
  }

  powerOn(): void {
    if (this.isOn) return;
    this.isOn = true;
    this.clock.reboot();
    this.startAgent();
  }

  /**
   * Whether the agent may be dead or halted for so long without breaking what the guarantees assume: somebody must be
   * there to fence a server that can write when its lease ends.
   */
  mayBeWithoutAgent(forMs: number): boolean {
    return this.#ports.scenario.hasGuardian || this.door.shutsBySelf || this.mayStandStill(forMs);
  }

  /** The same for the whole machine, guardian included. */
  mayStandStill(forMs: number): boolean {
    const { process } = this.server;
    const canWrite = (process.kind === "running" && !process.inRecovery) || this.agent?.engine.isPromoting === true;
    if (!canWrite || !this.isManaged) return true;
    if (this.agent?.state?.phase.kind === "fencing") return false;
    if (this.door.shutsInSleep) return true;
    if (this.#ports.scenario.isUntimely) return true;
    return this.#leaseLeftMs() > forMs * 1.04 + SPARE_MS;
  }

  /** The guardian reads the lease from the disk and looks again when it ends. */
  guard(): void {
    if (!this.#ports.scenario.hasGuardian) return;
    const { lease, policy } = this.disk.written;
    // In MAINTENANCE no lease ends; the agent's word that it is over brings the guardian back.
    if (!lease || !this.isOn || policy === "maintenance") return;
    this.#ports.world.after(this.clock.trueMs(Math.max(1, this.#leaseLeftMs())), () => {
      // An extension has written another lease, and is watched by another look.
      if (this.disk.written.lease !== lease) return;
      if (this.#leaseLeftMs() > 0) return this.guard();
      if (!this.#isOverdue()) return;
      const patienceMs = this.agent?.isAlive && !this.isPaused ? GUARDIAN_PATIENCE_MS : 0;
      const killMs = this.#ports.random.between(1, GUARDIAN_KILL_MS);
      this.#ports.world.after(patienceMs + killMs, () => {
        if (!this.#isOverdue()) return;
        this.#ports.world.note(this.name, "guardian kills the server");
        this.server.kill();
      });
    });
  }

  #isOverdue(): boolean {
    const { attempted, released, policy } = this.disk.written;
    if (policy === "maintenance") return false;
    return this.isOn && attempted > released && this.server.life !== null && this.#leaseLeftMs() <= 0;
  }

  #leaseLeftMs(): number {
    const { lease } = this.disk.written;
    return lease ? remainingMs(lease, this.clock.bootId, this.clock.read()) : 0;
  }

  #catchUp(): void {
    const backlog = this.#ports.random.shuffled(this.backlog);
    this.backlog = [];
    for (const deed of backlog) deed();
  }
}

/** Whether nothing is under way whose end a copy would never hear of. */
function isAtRest({ phase }: MemberState): boolean {
  if (phase.kind === "closed") return phase.running === null && phase.queued === null;
  return phase.kind === "open" && phase.running === null;
}

/**
 * What must never happen, watched from outside: by what the servers do and what the disks hold, not by what the
 * machines say of themselves.
 */
import { remainingMs } from "#shared/core/member/lease.ts";
import type { ClusterStep, DurableState, LeaseRecord, ReplyBody } from "#shared/core/cluster/state.ts";
import type { MemberStep, Task } from "#shared/core/member/state.ts";
import type { Reason } from "#shared/core/cluster/reason.ts";
import { type Durability, isOperatorsWord } from "#shared/domain/datasource.ts";
import type { Command, Poll, Reply } from "#shared/domain/messages.ts";
import { hasReached, type Position } from "#shared/domain/position.ts";
import type { Host } from "./host.ts";
import type { Scenario } from "./scenario.ts";
import type { Server, Write } from "./server.ts";
import type { World } from "./world.ts";

export interface Violation {
  rule: "tail" | "policy" | "switch" | "older" | "G1" | "G2" | "G3" | "G4" | "G5" | "G6" | "G7" | "L1" | "invariant";
  what: string;
  timeMs: number;
}

/** The highest numbers that a member was ever bound by. */
interface Bound {
  opSeen: number;
  epochSeen: number;
  released: number;
}

/** Whether an operator says, or has said, whom he wants, whatever that one lacks. */
function isTakenAsItIs({ phase }: DurableState, { reasons }: ClusterStep): boolean {
  if (reasons.some((reason) => reason.kind === "operator-command" && reason.force)) return true;
  return (phase.kind === "collecting" && phase.isForced) || (phase.kind === "vacant" && phase.welcomed !== null);
}

function lacks(server: Server, { lsn, branch }: Write): boolean {
  return lsn > server.endLsn || server.branchAt(lsn) !== branch;
}

function isRecovering({ plan }: DurableState, name: string): boolean {
  return plan?.kind === "recover" && (plan.member === name || plan.waiting.includes(name));
}

export class Checkers {
  violation: Violation | null = null;
  readonly #world: World;
  #accepting = new Set<string>();
  #hosts = new Map<string, Host>();
  /** Declared dead by an operator: until they are seen fenced, the operator answers for them. */
  #asserted = new Set<string>();
  #bounds = new Map<string, Bound>();
  /** Of whom two were known to speak when an epoch was minted. */
  #forkedAtMint = new Map<number, ReadonlySet<string>>();
  #openers = new Map<number, string>();
  #commands = new Map<string, Command>();
  #servers = new Map<string, Server>();
  #answered = new WeakSet<ReplyBody>();
  /** How far the logs had reached, by the disks of their agents, that were put back to older copies. */
  #putBack = new Map<string, Position>();

  /** Whether two that could acknowledge by themselves are one too many; in worlds without any time limits they are not. */
  readonly #mayOnlyOneBeAlone: boolean;
  /** What is promised at this moment, by what the coordinator has stored. */
  #promised: Durability;
  /** The highest epoch in which a client was told that its write is done, others having it. */
  #lastAcknowledged: { epoch: number; by: Server | null } = { epoch: 0, by: null };
  /** What no later primary may lack. An operator who takes a member as it is answers for what that one lacks. */
  #kept: Write[] = [];

  /** From when on nothing but the coordinator fails; null in a world in which anything may. */
  readonly #aloneFromMs: number | null;

  constructor(
    world: World,
    scenario: Pick<Scenario, "durability" | "faults" | "isUntimely" | "onlyCoordinatorFailsFromMs">,
  ) {
    this.#world = world;
    this.#promised = scenario.durability;
    const isChanged = scenario.faults.includes("operator-durability");
    this.#mayOnlyOneBeAlone = isChanged ? !scenario.isUntimely : scenario.durability === "async";
    this.#aloneFromMs = scenario.onlyCoordinatorFailsFromMs;
  }

  /**
   * G1 where writes are acknowledged synchronously: once one primary has, none of an earlier epoch does any more. What the
   * later one holds as well was written before, and its client merely hears of it late. What counts is what was promised
   * when it happened.
   */
  acknowledged(host: Host, write: Write): void {
    if (!write.isGuarded || this.#promised === "async" || !host.isManaged) return;
    this.#kept.push(write);
    const { attempted } = host.disk.synced;
    const { epoch, by } = this.#lastAcknowledged;
    if (attempted >= epoch) this.#lastAcknowledged = { epoch: attempted, by: host.server };
    else if (!this.#asserted.has(host.name) && by && lacks(by, write)) {
      this.fail("G1", `${host.name} acknowledges in epoch ${attempted}, after epoch ${epoch} did`);
    }
  }

  /** G2: whoever begins to write holds everything that was acknowledged with the others' word. */
  #judgeHoldings({ name, server }: Host): void {
    const lost = this.#kept.find((write) => lacks(server, write));
    if (lost)
      this.fail(
        "G2",
        `${name} becomes the primary and lacks the acknowledged write at ${lost.lsn} of branch ${lost.branch}`,
      );
  }

  #mustStay(): boolean {
    return this.#aloneFromMs !== null && this.#world.chaos && this.#world.nowMs >= this.#aloneFromMs;
  }

  /** A promise is on the disk of whoever gives it before its answer leaves. */
  promised({ name, disk }: Host): void {
    if (disk.synced.promise === null) this.fail("G3", `${name} promises what is not on its disk`);
  }

  /** Whose logs are compared. */
  watch(server: Server): void {
    this.#servers.set(server.name, server);
  }

  fail(rule: Violation["rule"], what: string): void {
    this.#world.note("checker", `${rule}: ${what}`);
    this.violation ??= { rule, what, timeMs: this.#world.nowMs };
  }

  /** A member lost its memory: what it was bound by is the coordinator's to remember. */
  forgot(name: string): void {
    this.#bounds.delete(name);
  }

  /** A data directory was put back to an older copy: from now on its log may be called shorter than it was. */
  putBack(name: string, mark: Position): void {
    const before = this.#putBack.get(name);
    this.#putBack.set(name, before && hasReached(before, mark) ? before : mark);
  }

  /** Nobody but an operator by force makes a primary of a log that lacks what its agent had seen it to hold. */
  #judgeWhole({ phase }: DurableState, name: string): void {
    const mark = this.#putBack.get(name);
    const position = this.#servers.get(name)?.position;
    const isForced = phase.kind === "collecting" && phase.isForced;
    if (!mark || !position || isForced || hasReached(position, mark)) return;
    this.fail("older", `${name} becomes the primary on ${position.lsn}, and was seen to hold ${mark.lsn}`);
  }

  /** The coordinator's storage is one of the past: what was minted since then is forgotten, and may be minted again. */
  restored({ epoch }: DurableState): void {
    for (const opened of this.#openers.keys()) if (opened > epoch) this.#openers.delete(opened);
  }

  broken(who: string, error: unknown): void {
    this.fail("invariant", `${who}: ${error instanceof Error ? error.message : String(error)}`);
  }

  /** G1, and the rules for who may begin to write: asked whenever a server's ability to write may have changed. */
  serverChanged(host: Host): void {
    const { server, name } = host;
    const was = this.#accepting.has(name);
    if (was === server.accepts) return;
    this.#world.note(name, server.accepts ? `accepts writes on timeline ${server.timeline}` : "accepts no writes");
    if (this.#mustStay()) this.fail("G7", `${name} ${server.accepts ? "begins" : "ceases"} to accept writes`);
    if (!server.accepts) {
      this.#accepting.delete(name);
      // An agent that was never founded fences nothing: whoever vouched for its server keeps it down until it obeys.
      if (server.life === null && host.disk.synced.founded) this.#asserted.delete(name);
      return;
    }
    this.#accepting.add(name);
    this.#hosts.set(name, host);
    const known = [...this.#accepting].filter((writer) => !this.#asserted.has(writer) && this.#isAlone(writer));
    const writers = known.filter((writer) => !this.#isUnheardCopy(writer, known));
    // In synchronous mode a second one may be open that can finish no write.
    if (writers.length > 1 && this.#mayOnlyOneBeAlone && !this.#areOneCopied(writers))
      this.fail("G1", `${[...this.#accepting].join(" and ")} accept writes`);
    if (host.isManaged) this.#judgeWriter(host);
    // One that stood still meanwhile goes on in its old epoch, and can finish nothing in it.
    if (host.disk.synced.attempted >= this.#lastAcknowledged.epoch) this.#judgeHoldings(host);
  }

  #isAlone(writer: string): boolean {
    return this.#hosts.get(writer)?.server.syncNames.k === 0;
  }

  /** An open server that was copied as it ran is open twice, under one epoch, and nobody could prevent that. No other is. */
  #areOneCopied(writers: readonly string[]): boolean {
    const hosts = writers.flatMap((writer) => this.#hosts.get(writer) ?? []);
    const { host: identity, attempted } = hosts[0]?.disk.synced ?? {};
    const isSame = hosts.every(({ disk: { synced } }) => synced.host === identity && synced.attempted === attempted);
    return isSame && hosts.some(({ isLiveImage }) => isLiveImage);
  }

  /**
   * Whether a machine that was copied as it ran goes on under the lease of before, while the coordinator had the word of
   * the other one that the reign was over, and had heard of no second one when it crowned a successor: none can know.
   */
  #isUnheardCopy(name: string, writers: readonly string[]): boolean {
    const stateOf = (writer: string) => this.#hosts.get(writer)?.disk.synced;
    const newest = Math.max(...writers.map((writer) => stateOf(writer)?.attempted ?? 0));
    const { host: identity = "", attempted = 0 } = stateOf(name) ?? {};
    const isCopied = [...this.#hosts.values()].some((host) => host.isLiveImage && host.disk.synced.host === identity);
    return isCopied && attempted < newest && this.#forkedAtMint.get(newest)?.has(identity) === false;
  }

  #judgeWriter(host: Host): void {
    const { attempted, released } = host.disk.synced;
    const { name } = host;
    if (attempted === 0) this.fail("G6", `${name} writes without an epoch`);
    const bound = this.#boundOf(name);
    if (attempted <= released || attempted <= bound.released) {
      this.fail(
        "G3",
        `${name} writes in epoch ${attempted}, of which ${Math.max(released, bound.released)} was released`,
      );
    }
    const opener = this.#openers.get(attempted) ?? name;
    const isCopied = this.#areOneCopied([opener, name]);
    if (opener !== name && !isCopied) this.fail("G3", `${name} and ${opener} both opened in epoch ${attempted}`);
    this.#openers.set(attempted, name);
  }

  /** G6: a server is opened only under a lease, with the attempt on disk. */
  taskBegins(host: Host, task: Task): void {
    if (task.kind !== "promote" && task.kind !== "adopt") return;
    const { attempted, released, lease } = host.disk.synced;
    const leftMs = lease ? remainingMs(lease, host.clock.bootId, host.clock.read()) : 0;
    if (attempted <= released || lease?.epoch !== attempted || leftMs <= 0) {
      this.fail("G6", `${host.name} opens: attempted ${attempted}, released ${released}, ${leftMs} ms of lease`);
    }
  }

  /** G5: whoever streams holds nothing that its source lacks. */
  connected(replica: Server, upstream: Server): void {
    this.#world.note(replica.name, `streams from ${upstream.name}`);
    if (!replica.isPrefixOf(upstream)) {
      this.fail("G5", `${replica.name} streams from ${upstream.name}, whose log is not the continuation of its own`);
    }
  }

  /** A vouched-for epoch is over for good, and nothing that binds a member is forgotten. */
  polled(host: Host, poll: Poll): void {
    const bound = this.#boundOf(host.name);
    if (poll.opSeen < bound.opSeen || poll.epochSeen < bound.epochSeen || poll.released < bound.released) {
      this.fail(
        "G3",
        `${host.name} forgot: ${JSON.stringify({ bound, opSeen: poll.opSeen, epochSeen: poll.epochSeen, released: poll.released })}`,
      );
    }
    if (poll.released >= poll.attempted && poll.attempted > 0 && host.server.accepts) {
      this.fail("G3", `${host.name} vouches for ${poll.released} while it accepts writes`);
    }
    bound.released = Math.max(bound.released, poll.released);
  }

  replied(reply: Reply): void {
    for (const command of reply.commands) this.#commands.set(command.id, command);
  }

  /** G3: what a member takes up is never of the past, and on its disk before. */
  memberStepped(host: Host, result: MemberStep): void {
    const bound = this.#boundOf(host.name);
    for (const reason of result.reasons) {
      if (reason.kind !== "command-taken") continue;
      const command = this.#commands.get(reason.id);
      if (!command) continue;
      const { synced } = host.disk;
      if (command.op < bound.opSeen || command.epoch < bound.epochSeen) {
        this.fail(
          "G3",
          `${host.name} obeys ${command.id} of operation ${command.op}, epoch ${command.epoch}, after ${JSON.stringify(bound)}`,
        );
      }
      if (synced.opSeen < command.op || synced.epochSeen < command.epoch) {
        this.fail("G3", `${host.name} obeys ${command.id} before it is on disk`);
      }
    }
    const { opSeen, epochSeen, released } = host.disk.synced;
    bound.opSeen = Math.max(bound.opSeen, opSeen);
    bound.epochSeen = Math.max(bound.epochSeen, epochSeen);
    bound.released = Math.max(bound.released, released);
  }

  /** G3 and G4 at the coordinator's storage. */
  persisted(before: DurableState, result: ClusterStep, isCommand: boolean): void {
    const after = result.state.durable;
    if (after.epoch < before.epoch || after.op < before.op || after.version < before.version) {
      this.fail("G3", `the storage went back from ${before.epoch}/${before.op} to ${after.epoch}/${after.op}`);
    }
    for (const member of Object.values(before.members)) {
      const now = after.members[member.name];
      const isRecovered = isRecovering(before, member.name) || isRecovering(after, member.name);
      // Members hold a later word than a storage of the past.
      const isRestated = before.restoration?.kind === "reporting";
      if (isCommand || isRecovered || isRestated || !now || !isOperatorsWord(member.reason)) continue;
      const isKeptOut = member.state === "failed" && now.state === "shunned";
      if (!isOperatorsWord(now.reason) && !isKeptOut) {
        this.fail("G4", `${member.name} was ${member.state} by an operator and is ${now.state} now`);
      }
    }
    // Until a restored coordinator has heard what was promised last, what it believes itself says nothing.
    if (after.restoration?.kind !== "reporting") this.#promised = after.durability;
    if (result.reasons.some(({ kind }) => kind === "read-quorum-overridden")) this.#kept = [];
    // What a member lacks that an operator takes as it is has been told in bytes.
    if (isTakenAsItIs(before, result) && result.reasons.some(({ kind }) => kind === "possible-loss")) this.#kept = [];
    if (after.epoch > before.epoch && this.#mustStay()) this.fail("G7", `epoch ${after.epoch} is minted`);
    if (after.epoch > before.epoch) {
      const forked = Object.entries(after.identities).flatMap(([name, { isForked }]) => (isForked ? [name] : []));
      this.#forkedAtMint.set(after.epoch, new Set(forked));
    }
    for (const reason of result.reasons) this.#judgeSuccession(before, reason);
    for (const reason of result.reasons) this.#judgePolicy(before, after, reason);
  }

  /** Outside AUTOMATIC nobody but an operator makes another member the primary; in MAINTENANCE nobody else starts a server. */
  #judgePolicy(before: DurableState, after: DurableState, reason: Reason): void {
    const { policy, phase } = before;
    const isOperators = [before.operation, after.operation].some((operation) => operation?.requestedBy === "operator");
    if (policy === "automatic" || after.policy === "automatic" || isOperators || phase.kind === "founding") return;
    const holder = "deposed" in phase ? phase.deposed : phase.primary;
    if (reason.kind === "epoch-minted" && reason.member !== holder) {
      this.fail("policy", `${reason.member} succeeds ${holder} in ${policy}, and no operator asked for it`);
    }
    if (reason.kind === "command-issued" && reason.command === "start" && policy === "maintenance") {
      this.fail("policy", `${reason.member} is started in maintenance, and no operator asked for it`);
    }
  }

  /** A planned successor has everything that the stopped primary ever acknowledged. */
  #judgeSuccession(before: DurableState, reason: Reason): void {
    const { plan } = before;
    if (reason.kind === "tail-salvaged") this.#judgeSalvage(reason);
    // A copied machine holds what the original had when it was copied.
    if (reason.kind === "log-lost" && !this.#putBack.has(reason.member) && this.#imagesOf(reason.member).length === 1)
      this.fail("older", `${reason.member} is said to have lost ${reason.has.lsn} to ${reason.had.lsn} and has not`);
    if (reason.kind === "reign-ended" && reason.proof === "asserted") this.#asserted.add(reason.member);
    if (reason.kind === "epoch-minted") this.#judgeWhole(before, reason.member);
    if (reason.kind !== "epoch-minted" || plan?.kind !== "switch" || plan.step.kind !== "stopping") return;
    const [old, heir] = [this.#servers.get(plan.primary), this.#servers.get(plan.target)];
    if (reason.member !== plan.target || !old || !heir) return;
    if (!old.isPrefixOf(heir)) this.fail("switch", `${plan.target} succeeds ${plan.primary} and lacks what it wrote`);
  }

  /** Whoever is said to have the tail has everything that the dead primary ever acknowledged. */
  #judgeSalvage({ from, member }: Extract<Reason, { kind: "tail-salvaged" }>): void {
    const heirs = this.#imagesOf(member);
    if (!this.#imagesOf(from).some((dead) => heirs.some((heir) => dead.isPrefixOf(heir))))
      this.fail("tail", `${member} lacks what ${from} wrote, and is said to have it`);
  }

  /** The server of a member, and those of its copies: which of them is taken for the member the coordinator alone knows. */
  #imagesOf(name: string): Server[] {
    return [...this.#servers.values()].filter((server) => server.name.replace(/-copy\d+$/, "") === name);
  }

  /** G3: no answer tells of what is not in storage. One that is given again told of what was there. */
  answers(reply: ReplyBody, stored: { durable: DurableState; lease: LeaseRecord | null }): void {
    if (this.#answered.has(reply)) return;
    this.#answered.add(reply);
    const { durable, lease } = stored;
    const isAhead =
      reply.version > durable.version ||
      reply.commands.some((command) => command.epoch > durable.epoch || command.op > durable.op) ||
      (reply.lease !== null && (reply.lease.epoch > durable.epoch || lease?.epoch !== reply.lease.epoch));
    if (isAhead) this.fail("G3", `an answer tells of what is not stored: ${JSON.stringify(reply)}`);
  }

  #boundOf(name: string): Bound {
    const known = this.#bounds.get(name);
    if (known) return known;
    const bound = { opSeen: 0, epochSeen: 0, released: 0 };
    this.#bounds.set(name, bound);
    return bound;
  }
}

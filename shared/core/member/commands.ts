/**
 * Obeying. A command is checked against what this member has seen before anything else: an operation or an epoch lower
 * than the highest seen is of the past, and its sender does not know it. What is obeyed is on disk first.
 */
import type { Command, CommandResult } from "../../domain/messages.ts";
import { mayOpenWith } from "./door.ts";
import { remainingMs } from "./lease.ts";
import { isBound } from "./promises.ts";
import type { HeldLease, RefusalCode } from "./state.ts";
import { answer, beFounded, fence, noteResult, run, setDurable, type Work } from "./work.ts";

type CommandOf<K extends Command["kind"]> = Extract<Command, { kind: K }>;

/** Takes one command of a reply; `lease` is what came with it. A repetition is recognised by its id. */
export function obey(work: Work, command: Command, lease: HeldLease | null): void {
  if (work.live.results.some((known) => known.id === command.id)) return;
  if (work.phase.kind === "closed" && work.phase.queued?.command.id === command.id) return;
  if (command.op < work.durable.opSeen) return refuse(work, command, "operation-superseded");
  if (command.epoch < work.durable.epochSeen) return refuse(work, command, "epoch-superseded");
  if (command.op > work.durable.opSeen || command.epoch > work.durable.epochSeen) {
    setDurable(work, { opSeen: command.op, epochSeen: command.epoch });
  }
  perform(work, command, lease);
}

/** Performs a command whose turn has come. */
export function perform(work: Work, command: Command, lease: HeldLease | null): void {
  const { phase } = work;
  if (phase.kind === "closed" && phase.running !== null) {
    // The newest word counts: an older one still waiting has been overtaken.
    if (phase.queued) refuse(work, phase.queued.command, "operation-superseded");
    work.phase = { ...phase, queued: { command, lease } };
    return;
  }
  switch (command.kind) {
    case "adopt":
      return adopt(work, command, lease);
    case "promote":
      return promote(work, command, lease);
    case "follow":
      return follow(work, command);
    case "freeze":
      return freeze(work, command);
    case "fence":
      return obeyFence(work, command);
    case "start":
      return start(work, command);
    case "prepare":
      return void runOpen(work, command, { kind: "prepare", deadlineMs: command.deadlineMs });
    case "shut":
      return shut(work, command);
    case "reopen":
      return void runOpen(work, command, { kind: "reopen", deadlineMs: command.deadlineMs });
    case "ask-upstream":
      return askUpstream(work, command);
    case "fetch-tail":
      return fetchTail(work, command);
    case "rebuild":
      return rebuild(work, command);
  }
}

function adopt(work: Work, command: CommandOf<"adopt">, lease: HeldLease | null): void {
  if (work.phase.kind !== "observing") return refuseOpening(work, command, "wrong-phase");
  const { report } = work.live.view;
  if (report.state !== "running" || !report.writable) return refuseOpening(work, command, "server-down");
  openUnder(work, command, lease);
}

function promote(work: Work, command: CommandOf<"promote">, lease: HeldLease | null): void {
  if (work.phase.kind !== "observing" && work.phase.kind !== "closed")
    return refuseOpening(work, command, "wrong-phase");
  const { report } = work.live.view;
  if (work.durable.isDamaged) return refuseOpening(work, command, "damaged");
  if (report.state !== "running") return refuseOpening(work, command, "server-down");
  if (!report.inRecovery) return refuseOpening(work, command, "server-writable");
  if (isBound(work, command)) return refuseOpening(work, command, "promised");
  openUnder(work, command, lease);
}

/** The common way of `adopt` and `promote`: "attempted" is on disk before the server is touched. */
function openUnder(work: Work, command: CommandOf<"adopt"> | CommandOf<"promote">, lease: HeldLease | null): void {
  const { epoch } = command;
  if (epoch <= work.durable.attempted || epoch <= work.durable.released) {
    return refuseOpening(work, command, "already-attempted");
  }
  if (!lease || lease.epoch !== epoch || remainingMs(lease, work.live.bootId, work.clocks) <= 0) {
    return refuseOpening(work, command, "no-lease");
  }
  if (!mayOpenWith(work, lease)) return refuseOpening(work, command, "no-door");
  setDurable(work, {
    founded: true,
    attempted: epoch,
    ownEpoch: epoch,
    lease,
    frozenOp: null,
    frozenEpoch: null,
    upstream: null,
  });
  const { deadlineMs } = command;
  const task =
    command.kind === "promote"
      ? ({ kind: "promote", timeline: command.timeline, needsDoor: lease.hasLeaseDoor, deadlineMs } as const)
      : ({ kind: "adopt", needsDoor: lease.hasLeaseDoor, deadlineMs } as const);
  const running = run(work, task, command);
  work.phase = { kind: "opening", epoch, running };
  work.reasons.push({ kind: "opening", epoch });
  take(work, command);
}

/**
 * An epoch that is refused will never be opened here: saying so for ever lets the coordinator go on at once. A member
 * that is open or fencing vouches only when its fence is done.
 */
function refuseOpening(work: Work, command: CommandOf<"adopt"> | CommandOf<"promote">, code: RefusalCode): void {
  const { phase } = work;
  refuse(work, command, code);
  const { epoch } = command;
  switch (phase.kind) {
    case "observing":
      return;
    case "closed":
      if (epoch > work.durable.released) setDurable(work, { released: epoch, releaseCause: "promotion-failed" });
      return;
    case "opening":
    case "open":
      if (epoch > phase.epoch) fence(work, { releases: epoch, cause: "lease-lost", restart: true, command: null });
      return;
    case "fencing":
      work.phase = { ...phase, releases: Math.max(phase.releases, epoch) };
      return;
  }
}

function follow(work: Work, command: CommandOf<"follow">): void {
  if (!becomeClosed(work, command)) return;
  const { report } = work.live.view;
  if (work.durable.isDamaged) return fail(work, command, "damaged");
  if (report.state !== "running") return fail(work, command, "server-down");
  if (!report.inRecovery) return fail(work, command, "server-writable");
  setDurable(work, { frozenOp: null, frozenEpoch: null, upstream: command.upstream });
  work.live = { ...work.live, frozenOp: null };
  runClosed(work, command, { kind: "follow", upstream: command.upstream, deadlineMs: command.deadlineMs });
}

function freeze(work: Work, command: CommandOf<"freeze">): void {
  if (!becomeClosed(work, command)) return;
  if (work.live.view.report.state !== "running") return fail(work, command, "server-down");
  setDurable(work, { frozenOp: command.op, frozenEpoch: command.epoch, upstream: null });
  work.live = { ...work.live, frozenOp: null };
  runClosed(work, command, { kind: "freeze", deadlineMs: command.deadlineMs });
}

function start(work: Work, command: CommandOf<"start">): void {
  if (!becomeClosed(work, command)) return;
  if (work.durable.isDamaged) return refuse(work, command, "damaged");
  runClosed(work, command, { kind: "start", deadlineMs: command.deadlineMs });
}

/** The door is shut from the moment on at which the task is given, and opens by itself with the command's deadline. */
function shut(work: Work, command: CommandOf<"shut">): void {
  const { drainMs, heir, deadlineMs } = command;
  if (!runOpen(work, command, { kind: "shut", drainMs, heir, deadlineMs })) return;
  const { phase } = work;
  if (phase.kind === "open") work.phase = { ...phase, shut: { base: work.clocks, forMs: deadlineMs } };
}

/** What is done to a server that serves. The newest word counts: an older task goes on and its end is told to nobody. */
function runOpen(work: Work, command: Command, task: Parameters<typeof run>[1]): boolean {
  const { phase } = work;
  if (phase.kind !== "open") {
    refuse(work, command, "wrong-phase");
    return false;
  }
  const before = phase.running?.command;
  if (before) answer(work, { ...before, outcome: "failed", code: "operation-superseded", value: "", detail: "" });
  work.phase = { ...phase, running: run(work, task, command) };
  take(work, command);
  return true;
}

function askUpstream(work: Work, command: CommandOf<"ask-upstream">): void {
  if (work.phase.kind !== "closed")
    return refuse(work, command, work.phase.kind === "observing" ? "not-founded" : "wrong-phase");
  runClosed(work, command, { kind: "ask-upstream", upstream: command.upstream, deadlineMs: command.deadlineMs });
}

function fetchTail(work: Work, command: CommandOf<"fetch-tail">): void {
  if (work.phase.kind !== "closed")
    return refuse(work, command, work.phase.kind === "observing" ? "not-founded" : "wrong-phase");
  const { report } = work.live.view;
  if (work.durable.isDamaged) return fail(work, command, "damaged");
  if (report.state !== "running") return fail(work, command, "server-down");
  const { from, epoch, until, deadlineMs } = command;
  runClosed(work, command, { kind: "fetch-tail", from, epoch, until, deadlineMs });
}

/** From here on the data directory is worth nothing until the rebuild has ended well: that is on disk first. */
function rebuild(work: Work, command: CommandOf<"rebuild">): void {
  if (!becomeClosed(work, command)) return;
  const { upstream, fork, deadlineMs } = command;
  work.live = { ...work.live, wasDamaged: work.durable.isDamaged };
  setDurable(work, { isDamaged: true });
  runClosed(work, command, { kind: "rebuild", upstream, fork, deadlineMs });
}

function obeyFence(work: Work, command: CommandOf<"fence">): void {
  const { phase } = work;
  switch (phase.kind) {
    case "observing":
      return fenceUnfounded(work, command);
    case "closed":
      // It never began the epoch, or has laid it down: from here on it never will, whatever is still on its way.
      if (command.epoch > work.durable.released) {
        setDurable(work, { released: command.epoch, releaseCause: "commanded" });
      }
      return answer(work, result(command, "done", ""));
    case "opening":
    case "open":
      take(work, command);
      return fence(work, {
        releases: phase.epoch,
        cause: "commanded",
        restart: false,
        command,
        patienceMs: patienceOf(work, command),
      });
    case "fencing":
      return joinFence(work, phase, command);
  }
}

/**
 * An agent that has lost its state does not know that it was ever founded. What its coordinator asks of it is no founding
 * but the end of one: a server that can write is made unable to, and the epochs so far are released.
 */
function fenceUnfounded(work: Work, command: CommandOf<"fence">): void {
  const { report } = work.live.view;
  if (report.state !== "running" || report.inRecovery) return refuse(work, command, "not-founded");
  setDurable(work, { founded: true });
  take(work, command);
  fence(work, { releases: command.epoch, cause: "commanded", restart: false, command });
}

/** An orderly stop is waited for only while the lease runs: from its end on the fence bound counts. */
function patienceOf(work: Work, { patienceMs }: CommandOf<"fence">): number {
  const { lease } = work.durable;
  const leftMs = lease ? remainingMs(lease, work.live.bootId, work.clocks) : 0;
  return Math.floor(Math.max(0, Math.min(patienceMs, leftMs)));
}

/** A fence under way answers the newest word that asked for it. */
function joinFence(work: Work, phase: Extract<Work["phase"], { kind: "fencing" }>, command: CommandOf<"fence">): void {
  const { running } = phase;
  if (running.command) {
    answer(work, { ...running.command, outcome: "refused", code: "operation-superseded", value: "", detail: "" });
  }
  work.phase = { ...phase, running: { ...running, command: { id: command.id, op: command.op } } };
  take(work, command);
}

/** A replica is founded by its first `follow`, `freeze`, `start` or `rebuild`. False when the phase does not allow it; then it is answered. */
function becomeClosed(work: Work, command: Command): boolean {
  if (work.phase.kind === "closed") return true;
  if (work.phase.kind !== "observing") {
    refuse(work, command, "wrong-phase");
    return false;
  }
  const { report } = work.live.view;
  if (report.state === "running" && !report.inRecovery) {
    refuse(work, command, "server-writable");
    return false;
  }
  beFounded(work);
  return true;
}

function runClosed(work: Work, command: Command, task: Parameters<typeof run>[1]): void {
  const running = run(work, task, command);
  work.phase = { kind: "closed", running, queued: null };
  take(work, command);
}

function take(work: Work, command: Command): void {
  work.reasons.push({ kind: "command-taken", command: command.kind, id: command.id });
  noteResult(work, result(command, "accepted", ""));
}

function refuse(work: Work, command: Command, code: RefusalCode): void {
  work.reasons.push({ kind: "command-refused", command: command.kind, id: command.id, code });
  answer(work, result(command, "refused", code));
}

function fail(work: Work, command: Command, code: RefusalCode): void {
  work.reasons.push({ kind: "command-refused", command: command.kind, id: command.id, code });
  answer(work, result(command, "failed", code));
}

function result(command: Command, outcome: CommandResult["outcome"], code: string): CommandResult {
  return { id: command.id, op: command.op, outcome, code, value: "", detail: "" };
}

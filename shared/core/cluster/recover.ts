/**
 * Bringing members back.
 *
 *   verifying -> following
 *       `-> rebuilding -> verifying
 *
 * Nobody rejoins as if it had written nothing: a log that reaches beyond the fork from which the present reign descends
 * is given up only by a rebuild, which keeps it aside first and which the host's own configuration must allow (SPEC: G5).
 */
import { bytesBeyond, commonPoint } from "../../domain/position.ts";
import type { MemberName } from "../../domain/names.ts";
import { hasDiverged, isHeard, livingPrimary, streamsFrom } from "./datasources.ts";
import { isForked } from "./fork.ts";
import type { RecoverFailure } from "./reason.ts";
import type { ClusterState, RecoverPlan } from "./state.ts";
import { isOver, resultOf } from "./switch.ts";
import { because, endPlan, member, setMember, setState, setStep, type Work } from "./work.ts";

/** How long an agent may be silent, and a follower without its stream, before the recovery says so. */
const PATIENCE_MS = 30_000;

/** A server that was started is seen to run within this. */
const STARTED_MS = 2_000;

/** Moves a recovery on as far as what is known allows. */
export function advanceRecovery(work: Work, plan: RecoverPlan): void {
  const primary = livingPrimary(work);
  if (primary === null) return abandonRecovery(work, plan);
  const waited = work.live.at - work.live.stepAt;
  if (waited >= work.durable.settings.recoverMs) return fail(work, plan, { code: "not-in-time", detail: "" });
  switch (plan.step.kind) {
    case "verifying":
      return verify(work, plan, { primary, waited, isRebuilt: plan.step.isRebuilt });
    case "rebuilding":
      return rebuild(work, plan, waited);
    case "following":
      return follow(work, plan, { primary, waited });
  }
}

/** When a recovery must be looked at again though nobody speaks, in `at`. */
export function recoveryDeadlines({ durable, live }: ClusterState): number[] {
  return [live.stepAt + STARTED_MS, live.stepAt + PATIENCE_MS, live.stepAt + durable.settings.recoverMs];
}

/** The first words about a member, and its first step. */
export function beginMember(work: Work, plan: RecoverPlan): void {
  const { op, member: name, isWhole } = plan;
  because(
    work,
    isWhole ? { kind: "recovery-found", op, member: name } : { kind: "recovery-started", op, member: name },
    op,
  );
  because(work, { kind: "recovery-verifying", op, member: name }, op);
}

/** The primary was lost meanwhile: its successor comes first. */
export function abandonRecovery(work: Work, plan: RecoverPlan): void {
  const { op } = plan;
  because(work, { kind: "no-active-primary", op }, op);
  unlock(work, plan);
  endPlan(work, "no-active-primary");
}

function verify(
  work: Work,
  plan: RecoverPlan,
  { primary, waited, isRebuilt }: { primary: MemberName; waited: number; isRebuilt: boolean },
): void {
  const { op, member: name } = plan;
  if (isForked(work, name)) return fail(work, plan, FORKED);
  const server = work.live.hosts[name]?.poll.server;
  if (!server || !isHeard(work, name)) {
    return waited < PATIENCE_MS
      ? undefined
      : fail(work, plan, { code: "manager-stopped", detail: "its agent is silent" });
  }
  const started = resultOf(work, name, { kind: "start", op });
  // One that was started and is stopped again will not be better for being started again.
  const hasStoppedAgain = server.report.state === "stopped" && waited >= STARTED_MS;
  const isGivenUp = isOver(started) && (started.outcome !== "done" || hasStoppedAgain);
  if (server.report.state !== "running" && isGivenUp) {
    return fail(work, plan, { code: "server-does-not-start", detail: `${started.code} ${started.detail}`.trim() });
  }
  // Damaged, it is laid out anew as it lies; there is no server to be asked.
  if (server.isDamaged) return isRebuilt ? fail(work, plan, NOT_REBUILT) : beginRebuild(work, plan, primary);
  if (server.report.state !== "running" || !server.report.inRecovery || !server.position) return;
  because(work, { kind: "recovery-verified", op, member: name }, op);
  if (!hasDiverged(work, name)) return beginFollowing(work, plan, primary);
  return isRebuilt ? fail(work, plan, NOT_REBUILT) : beginRebuild(work, plan, primary);
}

const FORKED = {
  code: "identity-forked",
  detail: "two agents have spoken for it: end one of them, then recover it by force",
} as const;
const NOT_REBUILT = { code: "rebuild-failed", detail: "its log is still not of the line that reigns" } as const;

function beginRebuild(work: Work, plan: RecoverPlan, primary: MemberName): void {
  const { op, member: name } = plan;
  const own = work.live.hosts[name]?.poll.server?.position;
  const reigning = work.live.hosts[primary]?.poll.server?.position;
  const fork = own && reigning ? commonPoint(own, reigning) : null;
  if (!own || !fork) {
    return fail(work, plan, { code: "rebuild-refused", detail: "its log has nothing in common with the primary's" });
  }
  because(
    work,
    { kind: "recovery-rebuilding", op, member: name, fork, end: own.lsn, bytes: bytesBeyond(own, fork) },
    op,
  );
  setStep(work, { ...plan, step: { kind: "rebuilding", fork } });
}

function rebuild(work: Work, plan: RecoverPlan, waited: number): void {
  const { op, member: name } = plan;
  const result = resultOf(work, name, { kind: "rebuild", op });
  if (!isOver(result)) {
    const silentMs = Math.min(waited, work.live.at - (work.live.hosts[name]?.handledAt ?? 0));
    if (silentMs >= PATIENCE_MS) fail(work, plan, { code: "manager-stopped", detail: "its agent is silent" });
    return;
  }
  if (result.outcome === "done") {
    because(work, { kind: "recovery-rebuilt", op, member: name, how: result.detail }, op);
    return setStep(work, { ...plan, step: { kind: "verifying", isRebuilt: true } });
  }
  const isDamaged = work.live.hosts[name]?.poll.server?.isDamaged === true;
  const detail = `${result.code} ${result.detail}`.trim();
  fail(work, plan, { code: isDamaged ? "rebuild-failed" : "rebuild-refused", detail });
}

function beginFollowing(work: Work, plan: RecoverPlan, primary: MemberName): void {
  const { op, member: name } = plan;
  because(work, { kind: "recovery-using", op, member: name, primary }, op);
  const { role } = member(work, name);
  if (role === "primary") {
    because(work, { kind: "role-changed", op, member: name, from: "primary", to: "replica" }, op);
    setMember(work, name, { role: "replica", sinceWallMs: work.live.wallMs });
  }
  setState(work, name, "offline", { kind: "none" });
  setStep(work, { ...plan, step: { kind: "following" } });
}

function follow(work: Work, plan: RecoverPlan, { primary, waited }: { primary: MemberName; waited: number }): void {
  const { op, member: name } = plan;
  if (streamsFrom(work, name, primary)) {
    setState(work, name, "online", { kind: "none" });
    because(work, { kind: "recovery-completed", op, member: name }, op);
    return next(work, { ...plan, recovered: [...plan.recovered, name] }, "");
  }
  if (hasDiverged(work, name)) {
    return fail(work, plan, { code: "does-not-stream", detail: "its log has left the line that reigns" });
  }
  if (waited < PATIENCE_MS) return;
  fail(work, plan, {
    code: "does-not-stream",
    detail: "the log that it lacks may be gone from the primary: its server's log says why",
  });
}

/** It stays out, in the state that says why; the others go on. */
function fail(work: Work, plan: RecoverPlan, { code, detail }: { code: RecoverFailure; detail: string }): void {
  const { op, member: name } = plan;
  because(work, { kind: "recovery-failed", op, member: name, code, detail }, op);
  const isDamaged = work.live.hosts[name]?.poll.server?.isDamaged === true;
  if (isDamaged) setState(work, name, "failed", { kind: "needs-provision" });
  else if (hasDiverged(work, name) && member(work, name).state !== "shunned") {
    setState(work, name, "failed", { kind: "diverged" });
  }
  next(work, { ...plan, failed: [...plan.failed, name] }, code);
}

function next(work: Work, plan: RecoverPlan, code: RecoverFailure | ""): void {
  const [name, ...waiting] = plan.waiting;
  if (name !== undefined) {
    const following: RecoverPlan = { ...plan, member: name, waiting, step: { kind: "verifying", isRebuilt: false } };
    setStep(work, following);
    return beginMember(work, following);
  }
  const { op, recovered, failed, isWhole } = plan;
  if (isWhole) because(work, { kind: "service-recovered", op, count: recovered.length }, op);
  unlock(work, plan);
  endPlan(work, failed.length === 0 ? "" : code === "" ? "some-not-recovered" : code);
}

function unlock(work: Work, { op, isWhole }: RecoverPlan): void {
  if (isWhole) because(work, { kind: "operation-unlocked", op, policy: work.durable.policy }, op);
}

/** What operators ask to be recovered. */
import type { MemberName } from "../../domain/names.ts";
import { type Answer, type Told, refused } from "./answers.ts";
import { isHeard, livingPrimary, streamsFrom } from "./datasources.ts";
import { strikeOff } from "./electorate.ts";
import { isForked, refusedAsForked, settleFork } from "./fork.ts";
import { beginMember } from "./recover.ts";
import type { MemberRecord, PhaseOf, RecoverPlan } from "./state.ts";
import { assertOver, retrySuccession } from "./vacancy.ts";
import { type Work, because, beginOperation, endOperation, nextOp, setIdentity, setPlan, setState } from "./work.ts";

export function recoverAll(work: Work, tell: () => void): Answer {
  const { members, phase, policy } = work.durable;
  tell();
  const op = nextOp(work);
  beginOperation(work, op, "recover", true);
  because(work, { kind: "service-recovering", op }, op);
  because(work, { kind: "operation-locked", op, policy }, op);
  const primary = livingPrimary(work);
  if (primary === null) {
    because(work, { kind: "operation-unlocked", op, policy }, op);
    if (phase.kind === "vacant" && phase.welcomed !== null) {
      const attempt = { kind: "recover", cause: "retry", byOperator: true, isForced: true } as const;
      retrySuccession(work, phase, { ...attempt, target: phase.welcomed });
      return { kind: "accepted", op };
    }
    because(work, { kind: "no-active-primary", op }, op);
    endOperation(work, "no-active-primary");
    return { kind: "accepted", op };
  }
  const isOut = ({ name, state }: MemberRecord) =>
    name !== primary && (state === "failed" || state === "shunned" || isStopped(work, name));
  const out = Object.values(members).filter(isOut);
  const merely = out.filter((record) => isMerelyShunned(work, record, primary));
  for (const { name } of merely) letBackIn(work, name, op);
  const [first, ...waiting] = out.filter((record) => !merely.includes(record)).map(({ name }) => name);
  if (first === undefined) {
    because(work, { kind: "service-recovered", op, count: merely.length }, op);
    because(work, { kind: "operation-unlocked", op, policy }, op);
    endOperation(work, "");
    return { kind: "accepted", op };
  }
  beginRecovery(work, { op, first, waiting, isWhole: true, recovered: merely.map(({ name }) => name) });
  return { kind: "accepted", op };
}

/** With force, the agent that comes next may be one that has lost its state: this readmits it. */
export function recoverOne(work: Work, record: MemberRecord, { force, tell }: Told): Answer {
  const { name, state } = record;
  const primary = livingPrimary(work);
  if (primary === name && force) {
    return refused(
      "primary-is-live",
      `'${name}@${work.durable.dataservice}' still reigns as far as is known: wait until its lease is over, or \`failover\` by force`,
    );
  }
  const isDivided = isForked(work, name);
  if (isDivided && !force) return refusedAsForked(work, name);
  // What is said of one whose agent is not heard may be of long ago.
  if (state === "online" && !isStopped(work, name) && !(force && !isHeard(work, name)))
    return refused("wrong-state", `'${name}@${work.durable.dataservice}' is ONLINE: nothing is to be recovered`);
  tell();
  const { phase } = work.durable;
  if (isDivided) settleFork(work, name);
  // What is left may be a copy that does not know what the original has promised; the last holder has promised nobody.
  const isLast = phase.kind === "vacant" && phase.deposed === name;
  if (isDivided && !isLast) strikeOff(work, name);
  if (phase.kind === "vacant" && phase.deposed === name) return reopenLast(work, phase, force);
  const op = nextOp(work);
  beginOperation(work, op, "datasource-recover", true);
  if (primary === null) {
    because(work, { kind: "no-active-primary", op }, op);
    endOperation(work, "no-active-primary");
  } else if (isMerelyShunned(work, record, primary)) {
    letBackIn(work, name, op);
    endOperation(work, "");
  } else {
    beginRecovery(work, { op, first: name, waiting: [], isWhole: false, recovered: [] });
    if (force) setIdentity(work, name, { readmitOp: op });
  }
  return { kind: "accepted", op };
}

/** In MAINTENANCE a datasource may be ONLINE though its server is stopped. */
function isStopped(work: Work, name: MemberName): boolean {
  return work.live.hosts[name]?.poll.server?.report.state === "stopped";
}

/** The last primary, which nobody has succeeded: its server is started and opened again, in a new epoch. */
function reopenLast(work: Work, phase: PhaseOf<"vacant">, force: boolean): Answer {
  const { deposed } = phase;
  setState(work, deposed, "offline", { kind: "none" });
  const attempt = { kind: "datasource-recover", cause: "operator-restart", byOperator: true, isForced: false } as const;
  // Whose agent has forgotten everything is on no list of electors, and nobody reigns who could put it there.
  const proof = force ? assertOver(work, phase) : phase.proof;
  const op = reopen(work, { ...phase, proof }, { ...attempt, target: deposed });
  because(work, { kind: "recovery-started", op, member: deposed }, op);
  if (force) setIdentity(work, deposed, { readmitOp: op });
  return { kind: "accepted", op };
}

/** A replica that an operator shunned and that has streamed all along needs no repair. */
function isMerelyShunned(work: Work, { name, role, reason }: MemberRecord, primary: MemberName): boolean {
  return role === "replica" && reason.kind === "manually-shunned" && streamsFrom(work, name, primary);
}

/** No longer kept out, and not ONLINE yet. */
export function letBackIn(work: Work, name: MemberName, op: number): void {
  setState(work, name, "offline", { kind: "none" });
  because(work, { kind: "datasource-set", op, member: name, to: "offline" }, op);
}

function beginRecovery(
  work: Work,
  {
    op,
    first,
    waiting,
    isWhole,
    recovered,
  }: Pick<RecoverPlan, "op" | "waiting" | "isWhole" | "recovered"> & { first: MemberName },
): void {
  const step = { kind: "verifying", isRebuilt: false } as const;
  const plan: RecoverPlan = { kind: "recover", op, member: first, step, isWhole, waiting, recovered, failed: [] };
  setPlan(work, plan);
  beginMember(work, plan);
}

/** The operation has the number of the first attempt. */
export function reopen(work: Work, phase: PhaseOf<"vacant">, attempt: Parameters<typeof retrySuccession>[2]): number {
  const op = nextOp(work);
  beginOperation(work, op, attempt.kind, true);
  retrySuccession(work, phase, attempt);
  return op;
}

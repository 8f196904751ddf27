/** What operators ask for. A refusal says why, and nothing has changed then. */
import { isOperatorsWord, type Policy } from "../../domain/datasource.ts";
import type { MemberName } from "../../domain/names.ts";
import { choose, candidatesOf } from "./choose.ts";
import { isHeard, livingPrimary, streamsFrom } from "./datasources.ts";
import type { FailoverCause } from "./reason.ts";
import { beginMember } from "./recover.ts";
import type {
  ClusterStep,
  DatasourceRequest,
  MemberRecord,
  OperationRecord,
  OperatorRequest,
  Phase,
  RecoverPlan,
  Refusal,
} from "./state.ts";
import { endReign, retrySuccession, tellPositions } from "./succession.ts";
import {
  because,
  beginOperation,
  endOperation,
  member,
  nextOp,
  setPhase,
  setPlan,
  setState,
  tellOperation,
  type Work,
} from "./work.ts";

/** Who asks, for the event log, and whether the guards that allow it are overridden. */
export interface Asking {
  by: string;
  force: boolean;
}

type Answer = ClusterStep["answer"];
type PhaseOf<K extends Phase["kind"]> = Extract<Phase, { kind: K }>;

/** Carries an operator's request out, or refuses it. */
export function handleRequest(work: Work, request: OperatorRequest, { by, force }: Asking): Answer {
  const named = "member" in request ? request.member : "to" in request ? request.to : null;
  if (named !== null && !Object.hasOwn(work.durable.members, named)) return unknownMember(work, named);
  // The policy is the operator's word at any time, also in the middle of an operation.
  const refusal = request.kind === "set-policy" ? null : (refuseUnfounded(work) ?? refuseBusy(work, request, force));
  if (refusal) return refusal;
  const asked = { kind: "operator-command", command: request.kind, member: named, by, force } as const;
  const tell = () => because(work, asked);
  switch (request.kind) {
    case "failover":
      return failover(work, request.to, { force, tell });
    case "switch":
      return beginSwitch(work, request.to, tell);
    case "recover":
      return recoverAll(work, tell);
    case "set-policy":
      return setPolicy(work, request.policy, tell);
    case "datasource-fail":
    case "datasource-shun":
    case "datasource-welcome":
    case "datasource-online":
    case "datasource-offline":
    case "datasource-recover":
      return datasource(work, request, { force, tell });
  }
}

type Told = { force: boolean; tell: () => void };

function datasource(
  work: Work,
  { kind, member: name }: { kind: DatasourceRequest; member: MemberName },
  how: Told,
): Answer {
  const record = member(work, name);
  switch (kind) {
    case "datasource-fail":
      return failDatasource(work, record, how);
    case "datasource-shun":
      return shun(work, record, how);
    case "datasource-welcome":
      return welcome(work, record, how);
    case "datasource-online":
      return bringOnline(work, record, how);
    case "datasource-offline":
      return takeOffline(work, record, how);
    case "datasource-recover":
      return recoverOne(work, record, how);
  }
}

function refused(code: Refusal["code"], detail: string): Answer {
  return { kind: "refused", refusal: { code, detail } };
}

function refuseUnfounded({ durable: { phase, dataservice } }: Work): Answer | null {
  if (phase.kind !== "founding") return null;
  return refused("not-founded", `dataservice '${dataservice}' is not founded yet: its agents must all report first`);
}

/** One operation at a time. Only a fence that cannot be proved may be cut short, by the operator's own assertion. */
function refuseBusy(work: Work, request: OperatorRequest, force: boolean): Answer | null {
  const { operation, phase } = work.durable;
  const mayAssert = request.kind === "failover" && force && phase.kind === "deposing";
  const isMoving =
    phase.kind === "deposing" || phase.kind === "collecting" || (phase.kind === "reigning" && !phase.opened);
  if ((operation === null && !isMoving) || mayAssert) return null;
  const op = operation?.op ?? work.durable.op;
  return refused("operation-under-way", `operation ${op} is under way: wait for its end`);
}

/** Does at once what needs no time, and tells it. */
function setAtOnce(work: Work, kind: OperationRecord["kind"], deed: (op: number) => void): Answer {
  const op = tellOperation(work, kind);
  deed(op);
  return { kind: "accepted", op };
}

function failover(work: Work, to: MemberName | null, { force, tell }: Told): Answer {
  const { phase, dataservice } = work.durable;
  switch (phase.kind) {
    case "deposing":
    case "reigning":
      return assertDead(work, phase, { force, tell });
    case "vacant": {
      const { deposed } = phase;
      if (to === deposed)
        return refused("wrong-state", `'${to}' is the primary that failed: name another member, or none`);
      if (member(work, deposed).state === "online") {
        return refused(
          "primary-is-healthy",
          `the primary '${deposed}@${dataservice}' is ONLINE, though its server is stopped: \`datasource ${deposed} fail\` first, or start its server`,
        );
      }
      if (phase.code === "upstream-writable" && !force) {
        return refused(
          "needs-force",
          `the server of '${deposed}@${dataservice}' was seen to accept writes after its lease: end it first, or \`set force true\` to assert that it is dead`,
        );
      }
      tell();
      const op = nextOp(work);
      beginOperation(work, op, "failover", true);
      tellPreview(work, op, deposed);
      const proof = force && phase.proof === "expired" ? "asserted" : phase.proof;
      const attempt = { kind: "failover", cause: "retry", target: to, byOperator: true, isForced: false } as const;
      retrySuccession(work, { ...phase, proof }, attempt);
      return { kind: "accepted", op };
    }
    case "founding":
    case "collecting":
      return refused("operation-under-way", "the succession is under way: wait for its end");
  }
}

/** The host of a primary that nobody hears is declared dead: the operator vouches for what no clock can prove. */
function assertDead(work: Work, phase: PhaseOf<"reigning" | "deposing">, { force, tell }: Told): Answer {
  const { dataservice } = work.durable;
  const { primary } = phase;
  if (!force && phase.kind === "reigning") {
    return refused(
      "primary-is-healthy",
      `the primary '${primary}@${dataservice}' is not FAILED: use \`switch\`, or \`datasource ${primary} fail\``,
    );
  }
  if (isHeard(work, primary)) {
    return refused(
      "primary-is-live",
      `the agent of '${primary}@${dataservice}' reports: it cannot be asserted to be dead; use \`datasource ${primary} fail\``,
    );
  }
  tell();
  const op = nextOp(work);
  if (work.durable.operation) endOperation(work, "promotion-failed");
  beginOperation(work, op, "failover", true);
  tellPreview(work, op, primary);
  endReign(work, { ...phase, op }, "asserted", "operator-asserted");
  return { kind: "accepted", op };
}

/** What is known of the candidates when the operator asks; what they hold in the end is told again. */
function tellPreview(work: Work, op: number, deposed: MemberName): void {
  const { policy, members } = work.durable;
  because(work, { kind: "operation-locked", op, policy }, op);
  const names = Object.values(members)
    .filter(({ name, state, reason }) => name !== deposed && state === "online" && !isOperatorsWord(reason))
    .map(({ name }) => name);
  tellPositions(work, op, names);
  const choice = choose(candidatesOf(work, names, null));
  if (choice.kind !== "chosen") return;
  const { lsn, timeline } = choice.winner.position;
  because(work, { kind: "candidate-chosen", op, member: choice.winner.member, lsn, timeline }, op);
}

function beginSwitch(work: Work, to: MemberName | null, tell: () => void): Answer {
  const { dataservice, members, policy } = work.durable;
  const primary = livingPrimary(work);
  if (primary === null) return noPrimary(work);
  if (to === primary) return refused("wrong-state", `'${to}@${dataservice}' is the primary already`);
  const names = to === null ? Object.keys(members).filter((name) => name !== primary) : [to];
  const fit = names.filter((name) => members[name]?.state === "online" && streamsFrom(work, name, primary));
  const choice = choose(candidatesOf(work, fit.length > 0 ? mostCaughtUp(work, fit) : [], null));
  if (choice.kind !== "chosen") {
    const detail =
      to === null
        ? `no replica of '${dataservice}' is ONLINE and streams from '${primary}'`
        : `'${to}@${dataservice}' is ${members[to]?.state.toUpperCase()} or does not stream from '${primary}': it can take over nothing`;
    return refused("target-not-eligible", detail);
  }
  tell();
  const op = nextOp(work);
  beginOperation(work, op, "switch", true);
  because(work, { kind: "operation-locked", op, policy }, op);
  tellPositions(work, op, fit);
  const { member: target, position } = choice.winner;
  because(work, { kind: "candidate-chosen", op, member: target, lsn: position.lsn, timeline: position.timeline }, op);
  setPlan(work, { kind: "switch", op, primary, target, step: { kind: "preparing" } });
  return { kind: "accepted", op };
}

/** Those that have applied the most: with them the switch is over soonest. */
function mostCaughtUp(work: Work, names: readonly MemberName[]): MemberName[] {
  const applied = (name: MemberName): number => work.live.hosts[name]?.poll.server?.applied ?? -1;
  const most = Math.max(...names.map(applied));
  return names.filter((name) => applied(name) === most);
}

function setPolicy(work: Work, policy: Policy, tell: () => void): Answer {
  const from = work.durable.policy;
  tell();
  return setAtOnce(work, "set-policy", () => {
    if (from === policy) return;
    const policyVersion = work.durable.policyVersion + 1;
    // Whoever has not confirmed this version may still believe in MAINTENANCE, and in a lease without an end.
    const endlessBelow = from === "maintenance" ? policyVersion : work.durable.endlessBelow;
    work.durable = { ...work.durable, policy, policyVersion, endlessBelow };
    because(work, { kind: "policy-changed", from, to: policy, policyVersion });
  });
}

function failDatasource(work: Work, record: MemberRecord, { tell }: Told): Answer {
  const { dataservice } = work.durable;
  const { name, state, reason } = record;
  if (state === "shunned" || reason.kind === "manually-failed") {
    return refused("wrong-state", `'${name}@${dataservice}' is ${state.toUpperCase()} already`);
  }
  tell();
  const told = (op: number) => because(work, { kind: "datasource-set", op, member: name, to: "failed" }, op);
  if (livingPrimary(work) === name)
    return depose(work, name, { kind: "datasource-fail", cause: "operator-failed", told });
  return setAtOnce(work, "datasource-fail", (op) => {
    setState(work, name, "failed", { kind: "manually-failed" });
    told(op);
  });
}

function shun(work: Work, { name, state, reason }: MemberRecord, { force, tell }: Told): Answer {
  const { dataservice } = work.durable;
  if (state === "shunned" && reason.kind === "manually-shunned") {
    return refused("wrong-state", `'${name}@${dataservice}' is SHUNNED already`);
  }
  const told = (op: number) => because(work, { kind: "datasource-set", op, member: name, to: "shunned" }, op);
  if (livingPrimary(work) === name) {
    if (!force) return primaryIsLive(work, name, "shunning");
    tell();
    return depose(work, name, { kind: "datasource-shun", cause: "operator-shunned", told });
  }
  tell();
  return setAtOnce(work, "datasource-shun", (op) => {
    setState(work, name, "shunned", { kind: "manually-shunned" });
    told(op);
  });
}

function takeOffline(work: Work, { name, state }: MemberRecord, { force, tell }: Told): Answer {
  const { dataservice } = work.durable;
  if (state !== "online") {
    return refused(
      "wrong-state",
      `'${name}@${dataservice}' is ${state.toUpperCase()}: only an ONLINE datasource is taken offline`,
    );
  }
  const told = (op: number) => because(work, { kind: "datasource-set", op, member: name, to: "offline" }, op);
  if (livingPrimary(work) === name) {
    if (!force) return primaryIsLive(work, name, "taking it offline");
    tell();
    return depose(work, name, { kind: "datasource-offline", cause: "operator-offline", told });
  }
  tell();
  return setAtOnce(work, "datasource-offline", (op) => {
    setState(work, name, "offline", { kind: "none" });
    told(op);
  });
}

/** Ends the living primary's reign on an operator's word. */
function depose(
  work: Work,
  primary: MemberName,
  { kind, cause, told }: { kind: OperationRecord["kind"]; cause: FailoverCause; told: (op: number) => void },
): Answer {
  const { phase } = work.durable;
  if (phase.kind !== "reigning") return noPrimary(work);
  const op = nextOp(work);
  beginOperation(work, op, kind, true);
  told(op);
  const { epoch } = phase;
  because(work, { kind: "primary-fencing", op, epoch, member: primary, cause }, op);
  if (cause === "operator-failed") setState(work, primary, "failed", { kind: "manually-failed" });
  else if (cause === "operator-shunned") setState(work, primary, "shunned", { kind: "manually-shunned" });
  else setState(work, primary, "offline", { kind: "none" });
  setPhase(work, { kind: "deposing", epoch, primary, op, cause });
  return { kind: "accepted", op };
}

function welcome(work: Work, { name, role, state }: MemberRecord, { force, tell }: Told): Answer {
  const { dataservice, phase } = work.durable;
  if (state !== "shunned") {
    const remedy = state === "failed" ? `\`datasource ${name} recover\` brings it back` : "it is not kept out";
    return refused("wrong-state", `'${name}@${dataservice}' is ${state.toUpperCase()}, not SHUNNED: ${remedy}`);
  }
  if (phase.kind === "vacant") {
    if (!force) {
      return refused(
        "needs-force",
        `'${dataservice}' has no primary: welcoming '${name}' makes it the next one, with what it holds; \`set force true\` if that is meant`,
      );
    }
    tell();
    return setAtOnce(work, "datasource-welcome", (op) => {
      setState(work, name, "offline", { kind: "none" });
      because(work, { kind: "datasource-set", op, member: name, to: "offline" }, op);
      setPhase(work, { ...phase, welcomed: name });
    });
  }
  if (role === "primary") {
    return refused(
      "wrong-state",
      `'${name}@${dataservice}' was a primary: \`datasource ${name} recover\` makes a replica of it`,
    );
  }
  tell();
  return setAtOnce(work, "datasource-welcome", (op) => {
    setState(work, name, "offline", { kind: "none" });
    because(work, { kind: "datasource-set", op, member: name, to: "offline" }, op);
  });
}

function bringOnline(work: Work, { name, state }: MemberRecord, { tell }: Told): Answer {
  const { dataservice, phase } = work.durable;
  if (state !== "offline") {
    const remedy =
      state === "online"
        ? "nothing is to be done"
        : `\`datasource ${name} ${state === "failed" ? "recover" : "welcome"}\` comes first`;
    return refused("wrong-state", `'${name}@${dataservice}' is ${state.toUpperCase()}: ${remedy}`);
  }
  if (phase.kind === "vacant") {
    if (phase.deposed !== name) return noPrimary(work);
    tell();
    const attempt = {
      kind: "datasource-online",
      cause: "operator-restart",
      byOperator: true,
      isForced: false,
    } as const;
    return { kind: "accepted", op: reopen(work, phase, { ...attempt, target: name }) };
  }
  const primary = livingPrimary(work);
  if (primary === null || !streamsFrom(work, name, primary)) {
    return refused(
      "wrong-state",
      `'${name}@${dataservice}' does not stream from '${primary}': \`datasource ${name} recover\``,
    );
  }
  tell();
  return setAtOnce(work, "datasource-online", (op) => {
    setState(work, name, "online", { kind: "none" });
    because(work, { kind: "datasource-set", op, member: name, to: "online" }, op);
  });
}

/** The operation has the number of the first attempt. */
function reopen(work: Work, phase: PhaseOf<"vacant">, attempt: Parameters<typeof retrySuccession>[2]): number {
  const op = nextOp(work);
  beginOperation(work, op, attempt.kind, true);
  retrySuccession(work, phase, attempt);
  return op;
}

function recoverAll(work: Work, tell: () => void): Answer {
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
  const isOut = ({ name, state }: MemberRecord) => name !== primary && (state === "failed" || state === "shunned");
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

function recoverOne(work: Work, record: MemberRecord, { tell }: Told): Answer {
  const { name, state } = record;
  const primary = livingPrimary(work);
  if (state === "online")
    return refused("wrong-state", `'${name}@${work.durable.dataservice}' is ONLINE: nothing is to be recovered`);
  tell();
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
  }
  return { kind: "accepted", op };
}

/** A replica that an operator shunned and that has streamed all along needs no repair. */
function isMerelyShunned(work: Work, { name, role, reason }: MemberRecord, primary: MemberName): boolean {
  return role === "replica" && reason.kind === "manually-shunned" && streamsFrom(work, name, primary);
}

function letBackIn(work: Work, name: MemberName, op: number): void {
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

function noPrimary({ durable: { dataservice } }: Work): Answer {
  return refused(
    "no-active-primary",
    `dataservice '${dataservice}' has no active primary: \`failover\`, or \`set force true\` and \`datasource MEMBER welcome\``,
  );
}

function primaryIsLive({ durable: { dataservice } }: Work, name: MemberName, deed: string): Answer {
  return refused(
    "primary-is-live",
    `'${name}@${dataservice}' is the living primary, and ${deed} stops all writes: use \`switch\`, or \`set force true\` if that is meant`,
  );
}

function unknownMember(work: Work, name: string): Answer {
  const known = Object.keys(work.durable.members).join(", ");
  return refused("unknown-member", `'${name}' is no member of '${work.durable.dataservice}': its members are ${known}`);
}

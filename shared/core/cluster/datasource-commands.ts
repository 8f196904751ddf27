/** What operators ask of one datasource. */
import type { MemberName } from "../../domain/names.ts";
import { type Answer, type Told, noPrimary, refused, setAtOnce, withoutEnd } from "./answers.ts";
import { isHeard, livingPrimary, streamsFrom } from "./datasources.ts";
import { isEndless } from "./lease.ts";
import type { FailoverCause } from "./reason.ts";
import { recoverOne, reopen } from "./recover-commands.ts";
import type { DatasourceRequest, EndProof, MemberRecord, OperationRecord, Phase } from "./state.ts";
import { type Work, because, beginOperation, member, nextOp, setPhase, setState } from "./work.ts";

type PhaseOf<K extends Phase["kind"]> = Extract<Phase, { kind: K }>;

export function datasource(
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

function failDatasource(work: Work, record: MemberRecord, { tell }: Told): Answer {
  const { dataservice } = work.durable;
  const { name, state, reason } = record;
  if (state === "shunned" || reason.kind === "manually-failed") {
    return refused("wrong-state", `'${name}@${dataservice}' is ${state.toUpperCase()} already`);
  }
  tell();
  const told = (op: number) => because(work, { kind: "datasource-set", op, member: name, to: "failed" }, op);
  if (livingPrimary(work) === name && isEndless(work) && !isHeard(work, name)) return withoutEnd(work, name);
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
        `'${dataservice}' has no primary: welcoming '${name}' makes it the next one, with what it holds${warningOf(phase)}; \`set force true\` if that is meant`,
      );
    }
    tell();
    return setAtOnce(work, "datasource-welcome", (op) => {
      setState(work, name, "offline", { kind: "none" });
      because(work, { kind: "datasource-set", op, member: name, to: "offline" }, op);
      setPhase(work, { ...phase, welcomed: name, proof: vouchedProof(work, phase) });
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

function warningOf({ code, deposed }: PhaseOf<"vacant">): string {
  return code === "upstream-writable" ? `, though the server of '${deposed}' was seen to accept writes` : "";
}

/** Where only time has ended the last reign, an operator who puts another in its place vouches that it is over. */
function vouchedProof(work: Work, { epoch, deposed, proof }: PhaseOf<"vacant">): EndProof {
  if (proof !== "expired") return proof;
  because(work, { kind: "reign-ended", epoch, member: deposed, proof: "asserted", cause: "none" });
  return "asserted";
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

function primaryIsLive({ durable: { dataservice } }: Work, name: MemberName, deed: string): Answer {
  return refused(
    "primary-is-live",
    `'${name}@${dataservice}' is the living primary, and ${deed} stops all writes: use \`switch\`, or \`set force true\` if that is meant`,
  );
}

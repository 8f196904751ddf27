/** What operators ask of one datasource. */
import type { MemberName } from "../../domain/names.ts";
import { type Answer, type Told, noPrimary, refused, setAtOnce, withoutEnd } from "./answers.ts";
import { isHeard, livingPrimary, streamsFrom } from "./datasources.ts";
import { setAside } from "./deposed.ts";
import { isEndless } from "./lease.ts";
import { letBackIn, recoverOne, reopen } from "./recover-commands.ts";
import type { DatasourceRequest, MemberRecord, OperationRecord, PhaseOf } from "./state.ts";
import { assertOver } from "./vacancy.ts";
import { type Work, because, beginOperation, member, nextOp, setPhase, setState } from "./work.ts";

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
  if (livingPrimary(work) === name && isEndless(work) && !isHeard(work, name)) return withoutEnd(work, name);
  tell();
  return putAside(work, name, { kind: "datasource-fail", word: "operator-failed" });
}

function shun(work: Work, { name, state, reason }: MemberRecord, { force, tell }: Told): Answer {
  const { dataservice } = work.durable;
  if (state === "shunned" && reason.kind === "manually-shunned") {
    return refused("wrong-state", `'${name}@${dataservice}' is SHUNNED already`);
  }
  if (livingPrimary(work) === name && !force) return primaryIsLive(work, name, "shunning");
  tell();
  return putAside(work, name, { kind: "datasource-shun", word: "operator-shunned" });
}

function takeOffline(work: Work, { name, state }: MemberRecord, { force, tell }: Told): Answer {
  const { dataservice } = work.durable;
  if (state !== "online") {
    return refused(
      "wrong-state",
      `'${name}@${dataservice}' is ${state.toUpperCase()}: only an ONLINE datasource is taken offline`,
    );
  }
  if (livingPrimary(work) === name && !force) return primaryIsLive(work, name, "taking it offline");
  tell();
  return putAside(work, name, { kind: "datasource-offline", word: "operator-offline" });
}

const STATES = { "operator-failed": "failed", "operator-shunned": "shunned", "operator-offline": "offline" } as const;

/** An operator puts a datasource aside: anybody at once, the living primary by the end of its reign. */
function putAside(
  work: Work,
  name: MemberName,
  { kind, word }: { kind: OperationRecord["kind"]; word: Parameters<typeof setAside>[2] },
): Answer {
  const { phase } = work.durable;
  const told = (op: number) => because(work, { kind: "datasource-set", op, member: name, to: STATES[word] }, op);
  const isLiving = phase.kind === "reigning" && livingPrimary(work) === name;
  if (!isLiving) {
    return setAtOnce(work, kind, (op) => {
      setAside(work, name, word);
      told(op);
    });
  }
  const op = nextOp(work);
  beginOperation(work, op, kind, true);
  told(op);
  const { epoch } = phase;
  because(work, { kind: "primary-fencing", op, epoch, member: name, cause: word }, op);
  setAside(work, name, word);
  setPhase(work, { kind: "deposing", epoch, primary: name, op, cause: word });
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
      letBackIn(work, name, op);
      setPhase(work, { ...phase, welcomed: name, proof: assertOver(work, phase) });
    });
  }
  if (role === "primary") {
    return refused(
      "wrong-state",
      `'${name}@${dataservice}' was a primary: \`datasource ${name} recover\` makes a replica of it`,
    );
  }
  tell();
  return setAtOnce(work, "datasource-welcome", (op) => letBackIn(work, name, op));
}

function warningOf({ code, deposed }: PhaseOf<"vacant">): string {
  return code === "upstream-writable" ? `, though the server of '${deposed}' was seen to accept writes` : "";
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

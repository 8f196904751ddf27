/** What operators ask for. A refusal says why, and nothing has changed then. */
import type { MemberName } from "../../domain/names.ts";
import type { ClusterStep, OperatorRequest, Refusal } from "./state.ts";
import { retrySuccession } from "./succession.ts";
import { because, beginOperation, endOperation, nextOp, setPhase, setState, type Work } from "./work.ts";

/** Carries an operator's request out, or refuses it. */
export function handleRequest(work: Work, request: OperatorRequest): ClusterStep["answer"] {
  switch (request.kind) {
    case "failover":
      return failover(work, request.to);
    case "datasource-fail":
      return failDatasource(work, request.member);
  }
}

function refused(code: Refusal["code"], detail: string): ClusterStep["answer"] {
  return { kind: "refused", refusal: { code, detail } };
}

function failover(work: Work, to: MemberName | null): ClusterStep["answer"] {
  const { phase, dataservice } = work.durable;
  if (to !== null && !Object.hasOwn(work.durable.members, to)) return unknownMember(work, to);
  switch (phase.kind) {
    case "founding":
      return refused(
        "not-founded",
        `dataservice '${dataservice}' is not founded yet: its agents must all report first`,
      );
    case "reigning":
      if (!phase.opened) return underWay(work);
      return refused(
        "primary-is-healthy",
        `the primary '${phase.primary}@${dataservice}' is ONLINE: a failover needs a FAILED primary`,
      );
    case "deposing":
    case "collecting":
      return underWay(work);
    case "vacant": {
      if (to === phase.deposed) {
        return refused("wrong-state", `'${to}' is the primary that failed: name another member, or none`);
      }
      because(work, { kind: "operator-command", command: "failover", member: to });
      return { kind: "accepted", op: retrySuccession(work, phase, { target: to, byOperator: true }) };
    }
  }
}

function failDatasource(work: Work, name: MemberName): ClusterStep["answer"] {
  const { phase, dataservice } = work.durable;
  // Looked up as an own name: "constructor" is a name too, and every object has one.
  const record = Object.hasOwn(work.durable.members, name) ? work.durable.members[name] : undefined;
  if (!record) return unknownMember(work, name);
  if (phase.kind === "founding") {
    return refused("not-founded", `dataservice '${dataservice}' is not founded yet: its agents must all report first`);
  }
  if (phase.kind === "deposing" || phase.kind === "collecting" || (phase.kind === "reigning" && !phase.opened)) {
    return underWay(work);
  }
  if (record.state === "shunned" || record.reason.kind === "manually-failed") {
    return refused("wrong-state", `'${name}@${dataservice}' is ${record.state.toUpperCase()} already`);
  }
  because(work, { kind: "operator-command", command: "datasource-fail", member: name });
  const op = nextOp(work);
  beginOperation(work, op, "datasource-fail", true);
  setState(work, name, "failed", { kind: "manually-failed" });
  if (phase.kind === "reigning" && phase.primary === name) {
    const { epoch, primary } = phase;
    because(work, { kind: "primary-fencing", op, epoch, member: primary, cause: "operator-failed" }, op);
    setPhase(work, { kind: "deposing", epoch, primary, op, cause: "operator-failed" });
  } else {
    endOperation(work, "");
  }
  return { kind: "accepted", op };
}

function underWay(work: Work): ClusterStep["answer"] {
  const running = work.durable.operation;
  return refused("operation-under-way", `operation ${running?.op ?? work.durable.op} is under way: wait for its end`);
}

function unknownMember(work: Work, name: string): ClusterStep["answer"] {
  const known = Object.keys(work.durable.members).join(", ");
  return refused("unknown-member", `'${name}' is no member of '${work.durable.dataservice}': its members are ${known}`);
}

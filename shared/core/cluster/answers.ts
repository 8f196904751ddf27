/** How requests are answered: carried out at once, accepted as an operation, or refused with the remedy. */
import type { MemberName } from "../../domain/names.ts";
import type { ClusterStep, OperationRecord, Refusal } from "./state.ts";
import { type Work, tellOperation } from "./work.ts";

export type Answer = ClusterStep["answer"];

export type Told = { force: boolean; tell: () => void };

export function refused(code: Refusal["code"], detail: string): Answer {
  return { kind: "refused", refusal: { code, detail } };
}

/** Does at once what needs no time, and tells it. */
export function setAtOnce(work: Work, kind: OperationRecord["kind"], deed: (op: number) => void): Answer {
  const op = tellOperation(work, kind);
  deed(op);
  return { kind: "accepted", op };
}

/** Its agent is silent and its lease has no end: neither a fence nor time ends such a reign. */
export function withoutEnd({ durable: { dataservice } }: Work, primary: MemberName): Answer {
  return refused(
    "needs-force",
    `the agent of '${primary}@${dataservice}' is silent, and the lease of MAINTENANCE has no end until it has heard of another policy: if its host is dead, \`set force true\` and \`failover\``,
  );
}

export function noPrimary({ durable: { dataservice } }: Work): Answer {
  return refused(
    "no-active-primary",
    `dataservice '${dataservice}' has no active primary: \`failover\`, or \`set force true\` and \`datasource MEMBER welcome\``,
  );
}

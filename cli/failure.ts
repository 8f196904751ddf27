/** What can go wrong for an operator: a stable code, what happened, and what to do about it. */
import { ERRORS, type ErrorCode } from "#shared/protocol/errors.ts";

/** The failures that the console finds by itself. */
export type LocalCode =
  | "usage"
  | "unknown-command"
  | "invalid-configuration"
  | "unreachable"
  | "timed-out"
  | "unexpected-answer"
  | "needs-confirmation"
  | "not-confirmed"
  | "operation-failed"
  | "operation-still-running"
  | "interrupted"
  | "not-carried"
  | "not-installed";

export interface FailureParts {
  code: ErrorCode | LocalCode;
  /** One sentence: which field or thing, and its value. */
  detail: string;
  /** What the operator can do; empty when the detail says it. */
  remedy: string;
  /** Whether the same again can help. */
  retryable: boolean;
}

/** An expected end of a command: printed as its parts, without a stack, and exit status 1. */
export class Failure extends Error {
  readonly parts: FailureParts;

  constructor(parts: FailureParts) {
    super(parts.detail);
    this.name = "Failure";
    this.parts = parts;
  }
}

/** A failure found by the console itself, that trying again cannot cure. */
export function failure(code: LocalCode, detail: string, remedy: string): Failure {
  return new Failure({ code, detail, remedy, retryable: false });
}

/** A command that was typed wrongly. `usage` is its one line. */
export function usageFailure(detail: string, usage: string): Failure {
  return failure("usage", detail, `usage: ${usage}`);
}

/** What to do about a refusal of the coordinator. */
export const REMEDIES: Record<ErrorCode, string> = {
  "invalid-request": "correct the named field; if the console sent it by itself, upgrade rex",
  "unsupported-protocol": "upgrade the coordinator first, then the agents",
  "invalid-settings": "correct the named settings",
  unauthorized: "give a valid token: --token-file, REX_TOKEN, or token in the configuration file",
  forbidden: "use a token of a kind that may do this: viewer reads, operator commands, admin creates",
  "not-found": "check --url: it must be the coordinator's address without a path",
  "unknown-dataservice": "check --service; `rex create` makes a new dataservice",
  "unknown-member": "`rex ls` shows the members",
  "unknown-operation": "`rex operations` lists the operations",
  "dataservice-exists": "choose another name, or use the one that exists",
  "stale-poll": "nothing to do: a newer poll has been answered",
  "second-agent": "stop the other agent of this host",
  "wrong-system": "point the agent at the server that was founded",
  "wrong-incarnation": "readmit the member",
  "not-founded": "start the agent of every member: founding waits until each has reported",
  "primary-is-healthy": "to depose it all the same: `rex datasource PRIMARY fail`, then `rex failover`",
  "operation-under-way": "follow it: `rex operations`",
  "no-candidate": "see `rex ls` for the states and `rex events` for why each member was refused",
  "wrong-state": "see `rex ls` for the member's state",
  "not-supported": "upgrade the coordinator, or see `rex help` for what this version does",
  "payload-too-large": "send less at once",
  "coordinator-unavailable": "try again; a healthy primary keeps serving meanwhile",
  internal: "try again, and report it with the coordinator's log",
};

/** What to do about an operation that failed with `code`, a word of the decision core. */
export function operationRemedy(code: string, op: number): string {
  const known = OPERATION_REMEDIES[code] ?? (Object.hasOwn(ERRORS, code) ? REMEDIES[code as ErrorCode] : "");
  return known || `see \`rex operations ${op}\` and \`rex events\` for what led to it`;
}

const OPERATION_REMEDIES: Record<string, string> = {
  "candidates-diverged":
    "the candidates hold different transactions: decide which may be lost, and name it with `failover to MEMBER`",
  "loss-exceeds-limit": "bring back a more advanced member, or accept the loss with a higher maxLossBytes",
  "failover-budget-spent": "find out why the primary keeps failing; `rex failover` works regardless of the budget",
  "target-not-eligible": "see `rex events` for why, or leave out the target",
  "target-behind": "leave out the target: the most advanced member is then chosen",
};

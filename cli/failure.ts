/** What can go wrong for an operator: a stable code, what happened, and what to do about it. */
import type { ErrorCode } from "#shared/protocol/errors.ts";

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
  "url-not-allowed": "give an https address that the internet can reach; a coordinator of one's own may allow others",
  "confirmation-missing": "confirm with the name of what is to be deleted",
  "not-found":
    "check --url: it must be the coordinator's address without a path; an older coordinator lacks newer commands",
  "unknown-dataservice": "check --service; `rex create` makes a new dataservice",
  "unknown-member": "`rex ls` shows the members",
  "unknown-operation": "`rex operations` lists the operations",
  "unknown-token": "`rex token ls` shows the tokens",
  "unknown-webhook": "`rex webhook ls` shows the webhooks",
  "unknown-delivery": "list the webhook's deliveries again: old ones are forgotten",
  "dataservice-exists": "choose another name, or use the one that exists",
  "stale-poll": "nothing to do: a newer poll has been answered",
  "second-agent": "stop the other agent of this host",
  "forked-identity": "end one of the two agents, then `set force true` and `datasource MEMBER recover`",
  "wrong-system": "point the agent at the server that was founded",
  "wrong-incarnation": "`set force true`, `datasource MEMBER recover` readmits an agent that has lost its state file",
  "not-founded": "start the agent of every member: founding waits until each has reported; `rex ls` says for what",
  "primary-is-healthy": "a primary that serves is moved with `rex switch`; to depose it: `rex datasource PRIMARY fail`",
  "primary-is-live": "move it first with `rex switch`, or add --force if all writing is meant to stop",
  "no-active-primary": "see `rex ls`; a member is made primary with `set force true` and `datasource MEMBER welcome`",
  "operation-under-way": "follow it: `rex operations`",
  "no-candidate": "see `rex ls` for the states and `rex events` for why each member was refused",
  "target-not-eligible": "name another member, or none: `rex ls` shows their states",
  "needs-force": "`set force true` first, or --force, if that is what you mean",
  "coordinator-restoring":
    "wait until every member's agent has reported; for one that never will: `set force true`, `restored`",
  "too-many-tokens": "revoke one first: `rex token ls`, `rex token revoke ID`",
  "too-many-webhooks": "delete one first: `rex webhook ls`, `rex webhook delete ID`",
  "wrong-state": "see `rex ls` for the member's state",
  "not-supported": "upgrade the coordinator, or see `rex help` for what this version does",
  "payload-too-large": "send less at once",
  "coordinator-unavailable": "try again; a healthy primary keeps serving meanwhile",
  internal: "try again, and report it with the coordinator's log",
};

/** What to do about an operation that failed with `code`, a word of the decision core. */
export function operationRemedy(code: string, op: number): string {
  const known = Object.hasOwn(OPERATION_REMEDIES, code) ? OPERATION_REMEDIES[code] : undefined;
  return known ?? `see \`rex operations ${op}\` and \`rex events\` for what led to it`;
}

const BACK_AS_BEFORE = "the primary serves as before";

const OPERATION_REMEDIES: Record<string, string> = {
  "no-candidate": REMEDIES["no-candidate"],
  "promotion-failed": "see its server's log; in AUTOMATIC another member is tried, else `rex failover`",
  "candidates-diverged":
    "the candidates hold different transactions: put aside whose may be lost, `rex datasource MEMBER shun`, then `rex failover`",
  "loss-exceeds-limit": "bring back a more advanced member, or accept the loss: `rex failover`",
  "failover-budget-spent": "find out why the primary keeps failing; `rex failover` works regardless of the budget",
  "target-not-eligible": "see `rex events` for why, or leave out the target",
  "target-behind": "leave out the target: the most advanced member is then chosen",
  "upstream-writable":
    "the old primary's server still accepts writes: end it by hand, then `rex failover`; with --force your word is enough",
  "read-quorum-missing":
    "bring back the members it names: one of them may hold the last acknowledged writes; to go on without them, `set force true` and `failover`",
  "not-automatic": "the policy leaves it to you: `rex failover`, or `rex set policy automatic`",
  "coordinator-restored": "its storage was restored: see `rex ls`, then `rex set policy automatic`",
  "operators-word": "an operator took the primary out: `rex datasource MEMBER online`, or `rex failover`",
  "catch-up-timed-out": `${BACK_AS_BEFORE}; switch again when less is written, or raise catchUpMs`,
  "target-lost": `${BACK_AS_BEFORE}; see \`rex ls\` for the target, or name another`,
  "primary-lost": "see `rex ls`: its failure is handled as the policy says",
  "prepare-failed": `${BACK_AS_BEFORE}; the log of its agent says why it could not write a checkpoint`,
  "hold-timed-out": `${BACK_AS_BEFORE}; see \`rex ls\` for connectors that do not answer`,
  "drain-failed": `${BACK_AS_BEFORE}; end the sessions that do not go, or raise drainMs`,
  "flush-timed-out": `${BACK_AS_BEFORE}; the target applies too slowly: switch again when less is written`,
  "switch-timed-out": `${BACK_AS_BEFORE}; switch again, or raise switchMs`,
  "stop-not-clean": "see `rex ls` for who is the primary, and its agent's log for why it did not stop in good order",
  "target-incomplete": "see `rex ls` for who is the primary; switch again when the target keeps up",
  "too-few-replicas": "see `rex ls` for the replica that has gone: recover it, then ask again, or ask for fewer",
  "durability-timed-out":
    "see `rex events`, and the logs of the agents for why a server does not go by what it is told",
  "durability-superseded": "another `set durability` came in between",
  "no-active-primary": REMEDIES["no-active-primary"],
  "manager-stopped": "start the member's agent, then recover it again",
  "identity-forked": "end one of the two agents, then `set force true` and `datasource MEMBER recover`",
  "server-does-not-start": "the log of the member's server says why",
  "rebuild-refused": "allow it in the configuration of the member's agent (rebuild), or rebuild the server by hand",
  "rebuild-failed": "its data directory is worth nothing now: recover it again, or clone it by hand",
  "does-not-stream": "the log of the member's server says why; what it lacks may be gone from the primary",
  "some-not-recovered": "the lines above say which, and why; `rex datasource MEMBER recover` tries one again",
  "not-in-time": "recover it again, or raise recoverMs",
};

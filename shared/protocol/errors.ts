/**
 * Every refusal of the HTTP API: a stable code, its status, and whether trying the same again can help. Codes are never
 * renamed; the prose beside them may change.
 */
export const ERRORS = {
  "invalid-request": { status: 400, retryable: false, title: "The request is not of the documented shape" },
  "unsupported-protocol": { status: 400, retryable: false, title: "This poll protocol version is not spoken here" },
  "invalid-settings": { status: 400, retryable: false, title: "The settings contradict each other" },
  unauthorized: { status: 401, retryable: false, title: "No valid token" },
  forbidden: { status: 403, retryable: false, title: "This token may not do that" },
  "url-not-allowed": { status: 400, retryable: false, title: "Webhooks are not delivered to such an address" },
  "confirmation-missing": { status: 400, retryable: false, title: "What cannot be undone must be confirmed by name" },
  "not-found": { status: 404, retryable: false, title: "No such thing" },
  "unknown-dataservice": { status: 404, retryable: false, title: "No such dataservice" },
  "unknown-member": { status: 404, retryable: false, title: "No such member" },
  "unknown-operation": { status: 404, retryable: false, title: "No such operation" },
  "unknown-token": { status: 404, retryable: false, title: "No such token" },
  "unknown-webhook": { status: 404, retryable: false, title: "No such webhook" },
  "unknown-delivery": { status: 404, retryable: false, title: "No such delivery" },
  "dataservice-exists": { status: 409, retryable: false, title: "A dataservice of this name exists" },
  "stale-poll": { status: 409, retryable: false, title: "A newer poll of this agent has been answered" },
  "second-agent": { status: 409, retryable: false, title: "Another agent already speaks for this host" },
  "forked-identity": { status: 409, retryable: false, title: "Two agents have spoken for this host" },
  "wrong-system": { status: 409, retryable: false, title: "The server is not the one that was founded" },
  "wrong-incarnation": { status: 409, retryable: false, title: "The agent has lost or changed its state" },
  "not-founded": { status: 409, retryable: true, title: "The dataservice is not founded yet" },
  "primary-is-healthy": { status: 409, retryable: false, title: "The primary is healthy: use switch" },
  "primary-is-live": { status: 409, retryable: false, title: "The primary is live and would be lost" },
  "no-active-primary": { status: 409, retryable: true, title: "The dataservice has no active primary" },
  "operation-under-way": { status: 409, retryable: true, title: "Another operation is under way" },
  "no-candidate": { status: 409, retryable: true, title: "No member can be promoted" },
  "target-not-eligible": { status: 409, retryable: false, title: "The named member cannot be promoted" },
  "needs-force": { status: 409, retryable: false, title: "This needs the operator's explicit force" },
  "coordinator-restoring": { status: 409, retryable: true, title: "The coordinator was restored to the past" },
  "wrong-state": { status: 409, retryable: false, title: "The member's state does not allow that" },
  "too-many-tokens": { status: 409, retryable: false, title: "No more tokens of this kind can be live at once" },
  "too-many-webhooks": { status: 409, retryable: false, title: "The dataservice has all the webhooks it can have" },
  "not-supported": { status: 400, retryable: false, title: "This command is not supported" },
  "payload-too-large": { status: 413, retryable: false, title: "The request is too large" },
  "coordinator-unavailable": { status: 503, retryable: true, title: "The coordinator cannot answer now" },
  internal: { status: 500, retryable: true, title: "The coordinator broke a rule of its own; nothing was changed" },
} as const satisfies Record<string, { status: number; retryable: boolean; title: string }>;

export type ErrorCode = keyof typeof ERRORS;

/** RFC 9457 problem details. `detail` names the field, the value and the remedy. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  code: ErrorCode;
  detail: string;
  retryable: boolean;
}

export function problem(code: ErrorCode, detail: string): Problem {
  const { status, retryable, title } = ERRORS[code];
  return { type: `urn:interrex:error:${code}`, title, status, code, detail, retryable };
}

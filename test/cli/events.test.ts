import { describe, expect, it } from "vitest";
import { renderEvent } from "../../cli/render/events.ts";
import type { Reason } from "#shared/core/cluster/reason.ts";

/** The line of an event without its number and time. */
function told(kind: string, data: Record<string, unknown>): string {
  const prefix = "7 2026-01-01 13:00:00.005 UTC ";
  const line = renderEvent({ id: 7, wallMs: Date.UTC(2026, 0, 1, 13, 0, 0, 5), kind, data });
  expect(line.startsWith(prefix)).toBe(true);
  return line.slice(prefix.length);
}

function reason({ kind, ...data }: Reason): [string, Record<string, unknown>] {
  return [kind, data];
}

describe("an event is one readable line", () => {
  it.each<[Reason, string]>([
    [
      { kind: "operator-command", command: "failover", member: null, by: "operator:k1:anna", force: true },
      "operator-command by=operator:k1:anna command=failover force=true member=null",
    ],
    [
      { kind: "policy-changed", from: "automatic", to: "maintenance", policyVersion: 2 },
      "policy-changed from=automatic policyVersion=2 to=maintenance",
    ],
    [{ kind: "datasource-set", op: 4, member: "db1", to: "shunned" }, "datasource-set member=db1 op=4 to=shunned"],
    [
      { kind: "switch-rolled-back", op: 4, member: "db1", step: "draining", code: "drain-failed" },
      "switch-rolled-back code=drain-failed member=db1 op=4 step=draining",
    ],
    [
      {
        kind: "recovery-rebuilding",
        op: 4,
        member: "db1",
        fork: { timeline: 1, lsn: "0/3000000" },
        end: "0/3002000",
        bytes: 8_192,
      },
      "recovery-rebuilding bytes=8192 end=0/3002000 fork={lsn=0/3000000,timeline=1} member=db1 op=4",
    ],
    [
      { kind: "recovery-failed", op: 4, member: "db1", code: "rebuild-refused", detail: 'rebuild is "refuse"\n' },
      'recovery-failed code=rebuild-refused detail="rebuild is \\"refuse\\"\\n" member=db1 op=4',
    ],
    [
      { kind: "connectors-holding", op: 4, waitedFor: ["app1", "app2"] },
      "connectors-holding op=4 waitedFor=[app1,app2]",
    ],
  ])("%o", (given, line) => {
    expect(told(...reason(given))).toBe(line);
  });

  it.each<[string, Record<string, unknown>, string]>([
    [
      "token-created",
      { token: "k2", tokenKind: "agent", host: "db1", label: null, by: "admin" },
      "token-created by=admin host=db1 label=null token=k2 tokenKind=agent",
    ],
    [
      "token-revoked",
      { token: "k2", tokenKind: "viewer", host: null, label: "on call", by: "operator:k1:on call" },
      'token-revoked by="operator:k1:on call" host=null label="on call" token=k2 tokenKind=viewer',
    ],
    [
      "webhook-created",
      { webhook: "w1", origin: "https://example.com", by: "admin" },
      "webhook-created by=admin origin=https://example.com webhook=w1",
    ],
    [
      "webhook-deleted",
      { webhook: "w1", origin: "https://example.com", by: "admin" },
      "webhook-deleted by=admin origin=https://example.com webhook=w1",
    ],
    ["dataservice-created", { by: "admin" }, "dataservice-created by=admin"],
    [
      "forbidden",
      { token: "k3", tokenKind: "viewer", host: null, right: "command" },
      "forbidden host=null right=command token=k3 tokenKind=viewer",
    ],
  ])("%s", (kind, data, line) => {
    expect(told(kind, data)).toBe(line);
  });
});

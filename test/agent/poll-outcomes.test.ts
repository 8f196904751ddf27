import { expect, test } from "vitest";
import type { PollOutcome } from "../../agent/coordinator-client.ts";
import { tellOutcomes } from "../../agent/poll-outcomes.ts";
import { EMPTY_REPLY } from "./reply.ts";

const REPLY: PollOutcome = { kind: "reply", reply: EMPTY_REPLY };
const REFUSED: PollOutcome = { kind: "unreachable", cause: "refused", detail: "ECONNREFUSED" };
const TIMEOUT: PollOutcome = { kind: "unreachable", cause: "timeout", detail: "aborted" };
const REVOKED: PollOutcome = { kind: "problem", status: 401, code: "unauthorized", detail: "no valid token" };

function heard(outcomes: PollOutcome[]): string[] {
  const lines: string[] = [];
  const note = (level: string) => (data: object | string, message?: string) => {
    lines.push([level, typeof data === "string" ? data : JSON.stringify(data), message].filter(Boolean).join(" "));
  };
  const tell = tellOutcomes({ info: note("info"), warn: note("warn"), error: note("error") });
  for (const outcome of outcomes) tell(outcome);
  return lines;
}

test("each trouble is told once in an outage, however often it comes and goes", () => {
  const lines = heard([REPLY, REFUSED, TIMEOUT, REFUSED, TIMEOUT, REVOKED, REVOKED, REFUSED, REPLY, REPLY]);
  expect(lines).toHaveLength(5);
  expect(lines[0]).toBe("info coordinator answers");
  expect(lines[4]).toBe("info coordinator answers");
});

test("what is told names what it is, what it means and what to look at", () => {
  const [unreachable = "", refused = ""] = heard([REFUSED, REVOKED]);
  expect(unreachable).toContain('"cause":"refused","detail":"ECONNREFUSED","remedy":"start it');
  expect(unreachable).toContain("coordinator unreachable: nobody listens at its address");
  expect(refused).toContain('"code":"unauthorized","status":401,"detail":"no valid token"');
});

test("an outage after the next answer is told again", () => {
  expect(heard([REFUSED, REPLY, REFUSED])).toHaveLength(3);
});

import { describe, expect, it } from "vitest";
import type { Refusal } from "#shared/core/cluster/state.ts";
import { ERRORS, problem, type ErrorCode } from "#shared/protocol/errors.ts";

/** The compiler refuses this when the machine can refuse with a code that the table lacks. */
const everyRefusal: Refusal["code"] extends ErrorCode ? true : never = true;

describe("the table of refusals", () => {
  const entries = Object.entries(ERRORS);

  it("knows every refusal of the coordinator's machine", () => {
    expect(everyRefusal).toBe(true);
    expect(entries.length).toBeGreaterThan(20);
  });

  it.each(entries)("%s has a stable name, an error's status and a title of its own", (code, { status, title }) => {
    expect(code).toMatch(/^[a-z]+(-[a-z]+)*$/);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThanOrEqual(599);
    expect(entries.filter(([, other]) => other.title === title)).toHaveLength(1);
  });

  it.each(entries)(
    "%s is no client's fault and retryable, or the reverse, by its status",
    (_, { status, retryable }) => {
      // What the server could not do may be tried again; of the client's errors only conflicts can pass by themselves.
      const allowed = status >= 500 ? [true] : status === 409 ? [true, false] : [false];
      expect(allowed).toContain(retryable);
    },
  );

  it("makes problems of RFC 9457", () => {
    expect(problem("unknown-member", "member: 'db9' is no member")).toEqual({
      type: "urn:interrex:error:unknown-member",
      title: "No such member",
      status: 404,
      code: "unknown-member",
      detail: "member: 'db9' is no member",
      retryable: false,
    });
  });
});

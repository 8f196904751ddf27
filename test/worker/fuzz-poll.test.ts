/** Polls that nobody would send: refused without a trace, or taken; never an error of the coordinator's own. */
import { env } from "cloudflare:workers";
import { reset } from "cloudflare:test";
import * as fc from "fast-check";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { changed, changes, runsOf } from "../fuzz/mutate.ts";
import { ask, foundedService, pass, stored, type Service } from "./service.ts";

const RUNS = runsOf(12, (env as unknown as Record<string, string | undefined>)["FUZZ_RUNS"]);

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] });
});
afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

const POLL = "/v1/dataservices/alpha/poll";

interface Handling {
  status: number;
  contentType: string | null;
  isTraceless: boolean;
  body: string;
}

/** Sends it with that host's token, and looks at what it left. */
async function handling(service: Service, host: string, body: unknown): Promise<Handling> {
  const before = await stored();
  const response = await ask(POLL, { token: service.tokens[host] ?? null, body });
  const text = await response.text();
  const isTraceless = JSON.stringify(await stored()) === JSON.stringify(before);
  return { status: response.status, contentType: response.headers.get("Content-Type"), isTraceless, body: text };
}

/**
 * Taken, or refused in the documented shape without a trace, but for that of having betrayed that there are two of it. A
 * broken invariant or a lost object would be an error of ours.
 */
function isHandled({ status, contentType, isTraceless, body }: Handling): boolean {
  const isKept = isTraceless || body.includes('"forked-identity"');
  return status === 200 || (status < 500 && contentType === "application/problem+json" && isKept);
}

/** The next poll of a member, as it would send it. */
function nextPoll(service: Service, name: "db1" | "db2" | "db3"): unknown {
  const { poll, server } = service.members[name];
  const now = Date.now();
  return { ...poll, seq: poll.seq + 1, server, clocks: { monoMs: now, bootMs: now, wallMs: now } };
}

it("polls that differ from good ones in a few places", { timeout: 600_000 }, async () => {
  const member = fc.constantFrom("db1", "db2", "db3");
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(member, changes), { minLength: 5, maxLength: 15 }), async (attempts) => {
      await reset();
      const service = await foundedService();
      for (const [name, list] of attempts) {
        pass(50);
        expect(await handling(service, name, changed(nextPoll(service, name), list))).toSatisfy(isHandled);
        pass(50);
        // The member itself goes on: whatever was taken in its name, nothing breaks by its next word either.
        expect(await handling(service, name, nextPoll(service, name))).toSatisfy(isHandled);
        service.members[name].poll = { ...service.members[name].poll, seq: service.members[name].poll.seq + 1 };
      }
    }),
    RUNS,
  );
});

it("bodies that are no polls at all", { timeout: 600_000 }, async () => {
  const service = await foundedService();
  const bodies = fc.oneof(fc.json(), fc.string(), fc.constantFrom("", "null", "[]", "{}", '{"protocol":1e400}'));
  await fc.assert(
    fc.asyncProperty(bodies, async (body) => {
      const handled = await handling(service, "db1", body);
      expect(handled).toSatisfy(isHandled);
      expect(handled.status).toBeGreaterThanOrEqual(400);
    }),
    { numRuns: RUNS.numRuns * 5 },
  );
});

/** An agent that lies, with a valid token of its own: what it says binds its own host and nobody else's. */
import { reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Poll } from "#shared/domain/messages.ts";
import { position } from "./members.ts";
import {
  ADMIN,
  ask,
  CREATE,
  foundedService,
  isWhole,
  killPrimary,
  pass,
  refusedWith,
  round,
  roundsUntil,
  send,
  status,
  stored,
  type Service,
} from "./service.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] });
});
afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

const ALPHA = "/v1/dataservices/alpha";

/** What db2 would say next, but for these lies. */
function lieOf(service: Service, lies: Partial<Poll>): Poll {
  const { db2 } = service.members;
  const poll = { ...db2.poll, seq: db2.poll.seq + 1, server: db2.server, ...lies };
  db2.poll = { ...db2.poll, seq: poll.seq };
  return poll;
}

const tokenOf = (service: Service): string => service.tokens["db2"] ?? "";

async function primary(): Promise<[string | null, number]> {
  const seen = await status();
  return [seen.primary, seen.epoch];
}

/** Everything that is stored but for events, which tell of refused tries. */
async function kept(): Promise<Record<string, unknown[]>> {
  const { events: _, ...rest } = await stored();
  return rest;
}

describe("an agent's token", () => {
  it("opens nothing but the polls of its own host", async () => {
    const service = await foundedService();
    await ask("/v1/dataservices", { body: { ...CREATE, name: "beta" } });
    const before = await kept();
    const tries: [string, string, unknown][] = [
      ["GET", ALPHA, undefined],
      ["DELETE", `${ALPHA}?confirm=alpha&force=true`, undefined],
      ["GET", "/v1/dataservices", undefined],
      ["POST", "/v1/dataservices", { ...CREATE, name: "gamma" }],
      ["POST", `${ALPHA}/commands`, { command: "failover", force: true }],
      ["POST", `${ALPHA}/commands`, { command: "set-policy", policy: "maintenance" }],
      ["PUT", `${ALPHA}/policy`, { policy: "maintenance" }],
      ["PUT", `${ALPHA}/durability`, { durability: "async" }],
      ["GET", `${ALPHA}/operations`, undefined],
      ["GET", `${ALPHA}/events`, undefined],
      ["POST", `${ALPHA}/tokens`, { kind: "operator" }],
      ["GET", `${ALPHA}/tokens`, undefined],
      ["DELETE", `${ALPHA}/tokens/000000000000`, undefined],
      ["POST", `${ALPHA}/webhooks`, { url: "https://hooks.example/x" }],
      ["GET", `${ALPHA}/webhooks`, undefined],
      ["POST", "/v1/dataservices/beta/poll", { ...lieOf(service, {}), dataservice: "beta" }],
      ["POST", `${ALPHA}/poll`, lieOf(service, { host: "db1" })],
      ["POST", `${ALPHA}/poll`, lieOf(service, { host: "app1", server: null })],
    ];
    for (const [method, path, body] of tries) {
      const response = await ask(path, { method, token: tokenOf(service), ...(body === undefined ? {} : { body }) });
      expect([method, path, response.status]).toEqual([method, path, 403]);
    }
    expect(await kept()).toEqual(before);
  });
});

describe("what a replica's agent makes up", () => {
  it("of releases, leases, results and places in the log deposes nobody", async () => {
    const service = await foundedService();
    const results = ["1.db1.fence", "2.db1.fence", "9.db1.shut"].map((id) => ({
      id,
      op: 1,
      outcome: "done" as const,
      code: "",
      value: "writable",
      detail: "",
    }));
    const ahead = { ...service.members.db2.server, position: position("FFFF/0") };
    const promises = [{ holder: "db1", epoch: 1, remainingMs: 60_000 }];
    const lies = [
      { results },
      { promises },
      { server: ahead, leaseRemainingMs: 1e12, attempted: 0 },
      { released: 1, releaseCause: "server-died" as const },
    ];
    for (const lie of lies) {
      pass(20);
      expect((await send(lieOf(service, lie), tokenOf(service))).status).toBe(200);
      await round(service, { silent: ["db2"] });
      expect(await primary()).toEqual(["db1", 1]);
    }
    expect(service.members.db1.obeyed.map(({ kind }) => kind)).not.toContain("fence");
  });

  it("of a later time that was never told stops no failover", async () => {
    const service = await foundedService();
    pass(20);
    const lie = lieOf(service, { version: 1_000_000, epochSeen: 99, opSeen: 99, mac: "f".repeat(64) });
    expect((await send(lie, tokenOf(service))).status).toBe(200);
    killPrimary(service);
    // Who takes back what it has said is two, and kept out.
    await roundsUntil(service, () => isWhole(2, ["db1", "db2"]));
  });

  it("of its clocks ends no lease before the coordinator's own clock has", async () => {
    const service = await foundedService();
    for (let second = 0; second < 5; second += 1) {
      pass(1_000);
      const far = Date.now() + 1e9 * (second + 1);
      const clocks = { monoMs: far, bootMs: far, wallMs: far };
      await service.members.db3.speak(send);
      expect((await send(lieOf(service, { clocks }), tokenOf(service))).status).toBe(200);
      expect(await primary()).toEqual(["db1", 1]);
    }
  });

  it("of a fence that takes longer than a minute is refused: nobody would ever be called dead", async () => {
    const service = await foundedService();
    const detail = await refusedWith(
      await send(lieOf(service, { fenceMs: 60_001 }), tokenOf(service)),
      "invalid-request",
    );
    expect(detail).toContain("fenceMs");
    expect((await send(lieOf(service, { fenceMs: 60_000 }), tokenOf(service))).status).toBe(200);
  });
});

describe("a poll that was listened to", () => {
  it("is of no use a second time, nor after the agent was started again", async () => {
    const service = await foundedService();
    const { db1 } = service.members;
    pass(100);
    await db1.speak(send);
    const heard = db1.poll;
    const before = await stored();
    await send(heard, db1.token);
    expect(await stored()).toEqual(before);
    await db1.speak(send);
    await refusedWith(await send(heard, db1.token), "stale-poll");
    db1.poll = { ...db1.poll, startCount: 2, seq: 0 };
    await db1.speak(send);
    await refusedWith(await send({ ...heard, seq: 1_000_000 }, db1.token), "second-agent");
  });

  it("is of no use with another's token", async () => {
    const service = await foundedService();
    const { db1, db3 } = service.members;
    const heard = { ...db1.poll, seq: db1.poll.seq + 1 };
    expect(await refusedWith(await send(heard, db3.token), "forbidden")).toContain("speaks for 'db3'");
    expect((await send(heard, `${ADMIN}x`)).status).toBe(401);
  });
});

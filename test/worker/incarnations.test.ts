import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { zCreate, type Created } from "#shared/protocol/api.ts";
import { Coordinator } from "../../worker/coordinator.ts";
import {
  ask,
  CREATE,
  createService,
  eventsOf,
  foundedService,
  isWhole,
  killPrimary,
  operations,
  pass,
  refusedWith,
  round,
  roundsUntil,
  send,
  status,
  stored,
  stub,
  type Service,
} from "./service.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] });
});

afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

/** The two ways in which an incarnation ends: in good order, and in the middle of things. */
const ENDINGS = {
  eviction: () => evictDurableObject(stub()),
  abort: () => abortAllDurableObjects(),
};

/** What every round of a test must show: one writer at most, and epochs that only grow. */
function watcher(service: Service) {
  let highest = 0;
  return () => {
    const open = Object.values(service.members).filter((member) => member.isOpen());
    expect(open.length).toBeLessThanOrEqual(1);
    const epoch = Math.max(...Object.values(service.members).map((member) => member.poll.epochSeen));
    expect(epoch).toBeGreaterThanOrEqual(highest);
    highest = epoch;
  };
}

describe.each(Object.entries(ENDINGS))("%s of the object", (_, end) => {
  it("after every single round of a founding delays it and changes nothing else", async () => {
    const service = await createService();
    const watch = watcher(service);
    await roundsUntil(service, () => isWhole(1), {
      between: async () => {
        watch();
        await end();
      },
    });
    const after = await status();
    expect(after).toMatchObject({ founded: true, epoch: 1, primary: "db1" });
    expect(after.coordinator.generation).toBeGreaterThan(2);
    expect(service.members.db1.obeyed.filter(({ kind }) => kind === "adopt" || kind === "promote")).toHaveLength(1);
  });

  it("after every single round of a failover delays it and changes nothing else", async () => {
    const service = await foundedService();
    killPrimary(service);
    const watch = watcher(service);
    await roundsUntil(service, () => isWhole(2, ["db1"]), {
      between: async () => {
        watch();
        await end();
      },
    });
    expect(await status()).toMatchObject({ epoch: 2, primary: "db2" });
    const [failover] = await operations();
    expect(failover).toMatchObject({ kind: "failover", state: "succeeded" });
  });

  it("at any one round of a failover leaves one succession, in one epoch", async () => {
    for (const at of [0, 1, 2, 3]) {
      const service = await foundedService();
      killPrimary(service);
      await roundsUntil(service, () => isWhole(2, ["db1"]), {
        between: async (count) => {
          if (count === at) await end();
        },
      });
      const { reigns } = await stored();
      expect(reigns).toHaveLength(2);
      expect(await status()).toMatchObject({ epoch: 2, primary: "db2" });
      await reset();
    }
  });
});

it("waits the whole lease of a silent primary again after the object was restarted", async () => {
  const service = await foundedService();
  const elsewhere = { silent: ["db1"], apartMs: 500 };
  for (let count = 0; count < 6; count += 1) await round(service, elsewhere);
  await evictDurableObject(stub());
  const waitMs = 5_000 + 1_500 + 500;
  const restartedMs = Date.now();
  await roundsUntil(service, async () => (await status()).epoch === 2, elsewhere);
  expect(Date.now() - restartedMs).toBeGreaterThanOrEqual(waitMs);
  expect(await status()).toMatchObject({ primary: null, epoch: 2 });
});

it("extends the lease across an eviction without a new epoch", async () => {
  const service = await foundedService();
  await evictDurableObject(stub());
  for (let count = 0; count < 10; count += 1) {
    await round(service, { apartMs: 400 });
    expect(service.members.db1.leaseLeftMs()).toBeGreaterThan(0);
  }
  expect(await status()).toMatchObject({ epoch: 1, primary: "db1" });
});

it("answers 503 from an incarnation that was replaced, and writes nothing in it", async () => {
  const service = await foundedService();
  await runInDurableObject(stub(), (_, { storage }) => {
    storage.sql.exec("UPDATE meta SET generation = generation + 1");
  });
  const before = await stored();
  pass(2_000);
  const response = await service.members.db1.speak(send);
  expect(response.status).toBe(503);
  expect(await response.json()).toMatchObject({ code: "coordinator-unavailable", retryable: true });
  expect(await stored()).toEqual(before);
});

it("writes nothing into a dataservice of the same name that was created since", async () => {
  await foundedService();
  await runInDurableObject(stub(), async (_, state) => {
    const storedMembers = () => {
      const { body } = state.storage.sql.exec<{ body: string }>("SELECT body FROM state").one();
      return Object.keys((JSON.parse(body) as { members: Record<string, unknown> }).members);
    };
    const late = new Coordinator(state, env);
    const owner = new Coordinator(state, env);
    expect(await owner.remove({ kind: "admin" }, true)).toMatchObject({ ok: true });
    const create = zCreate.parse({ name: "alpha", members: [{ name: "db7" }, { name: "db8" }], primary: "db7" });
    expect(owner.create(create)).toMatchObject({ ok: true });
    // Every number of a generation that the late one may have comes by.
    for (let generation = 1; generation <= 4; generation += 1) {
      const answer = late.command({ kind: "admin" }, { command: "set-policy", policy: "maintenance" });
      expect(answer).toMatchObject({ ok: false, code: "coordinator-unavailable" });
      expect(storedMembers()).toEqual(["db7", "db8"]);
      const next = new Coordinator(state, env).status({ kind: "admin" });
      expect(next).toMatchObject({ value: { coordinator: { generation: generation + 1 } } });
    }
  });
});

it("answers 500 and keeps the last state when a step breaks an invariant", async () => {
  const service = await foundedService();
  await runInDurableObject(stub(), (_, { storage }) => {
    // No event can lead here: the newest reign is missing.
    storage.sql.exec("DELETE FROM reigns");
  });
  await evictDurableObject(stub());
  const error = vi.spyOn(console, "error").mockImplementation(() => {});
  const before = await stored();
  const response = await service.members.db2.speak(send);
  expect(response.status).toBe(500);
  expect(await response.json()).toMatchObject({ code: "internal" });
  expect(error.mock.calls.join()).toContain('"event":"poll"');
  expect(error.mock.calls.join()).not.toContain(service.members.db2.token);
  const after = await stored();
  expect({ ...after, meta: null, events: null }).toEqual({ ...before, meta: null, events: null });
  error.mockRestore();
});

it("arms an alarm anew that was lost in an operation", async () => {
  const service = await foundedService();
  killPrimary(service);
  await service.members.db1.speak(send);
  await runInDurableObject(stub(), (_, { storage }) => storage.deleteAlarm());
  pass(180_000);
  await evictDurableObject(stub());
  await service.members.db2.speak(send);
  expect(await runInDurableObject(stub(), (_, { storage }) => storage.getAlarm())).toBeGreaterThan(Date.now());
});

it("shows whoever looks that everybody is silent", async () => {
  await foundedService();
  pass(20_000);
  const { datasources } = await status();
  const replicas = datasources.filter(({ role }) => role === "replica");
  expect(replicas.map(({ state, reason }) => ({ state, reason }))).toEqual([
    { state: "failed", reason: { kind: "manager-stopped" } },
    { state: "failed", reason: { kind: "manager-stopped" } },
  ]);
});

it("survives an alarm whose step throws, and stays armed", async () => {
  await foundedService();
  await runInDurableObject(stub(), (_, { storage }) => {
    storage.sql.exec("DELETE FROM reigns");
  });
  await evictDurableObject(stub());
  const error = vi.spyOn(console, "error").mockImplementation(() => {});
  expect(await runDurableObjectAlarm(stub())).toBe(true);
  error.mockRestore();
  expect(await runInDurableObject(stub(), (_, { storage }) => storage.getAlarm())).not.toBeNull();
});

it("believes a member that remembers more only with this coordinator's own word for it", async () => {
  const service = await foundedService();
  const { db2 } = service.members;
  db2.poll = { ...db2.poll, version: 999_999, mac: "f".repeat(64) };
  await db2.speak(send);
  const { events } = await (
    await ask("/v1/dataservices/alpha/events?limit=1000")
  ).json<{ events: { kind: string }[] }>();
  expect(events.map(({ kind }) => kind)).not.toContain("coordinator-behind-members");
});

it("recognises that its storage was restored to the past", async () => {
  const service = await foundedService();
  const past = await stored();
  killPrimary(service);
  await roundsUntil(service, () => isWhole(2, ["db1"]));
  await runInDurableObject(stub(), (_, { storage }) => {
    const [state] = past["state"] as { body: string }[];
    const [lease] = past["lease"] as { body: string }[];
    storage.sql.exec("UPDATE state SET body = ?", state?.body ?? "");
    storage.sql.exec("UPDATE lease SET body = ?", lease?.body ?? "");
    storage.sql.exec("DELETE FROM reigns WHERE epoch > 1");
  });
  await evictDurableObject(stub());
  for (const member of Object.values(service.members)) member.obeyed = [];
  // db1 is not back yet: nothing is decided, and db2's lease goes on all the same.
  for (let count = 0; count < 20; count += 1) await round(service, { silent: ["db1"], apartMs: 400 });
  expect(service.members.db2.leaseLeftMs()).toBeGreaterThan(0);
  expect(await status()).toMatchObject({ epoch: 2, primary: "db2", coordinator: { state: "restoring" } });
  expect(Object.values(service.members).flatMap((member) => member.obeyed)).toEqual([]);
  expect(
    await refusedWith(
      await ask("/v1/dataservices/alpha/policy", { method: "PUT", body: { policy: "manual" } }),
      "coordinator-restoring",
    ),
  ).toContain("report");
  for (let count = 0; count < 3; count += 1) await round(service);
  expect(await status()).toMatchObject({ epoch: 2, policy: "manual", coordinator: { state: "restored" } });
  const [restated] = await eventsOf("coordinator-restated");
  expect(restated?.data).toMatchObject({ epoch: 2, primary: "db2", waived: [] });
  expect((await stored())["reigns"]).toHaveLength(2);
  await ask("/v1/dataservices/alpha/policy", { method: "PUT", body: { policy: "automatic" } });
  expect((await status()).coordinator.state).toBe("online");
  killPrimary(service);
  await roundsUntil(service, () => isWhole(3, ["db1", "db2"]));
});

it("takes a dataservice over whose storage was lost", async () => {
  const service = await foundedService();
  killPrimary(service);
  await roundsUntil(service, () => isWhole(2, ["db1"]));
  await runInDurableObject(stub(), (_, { storage }) => storage.deleteAll());
  await abortAllDurableObjects();
  const created = await ask("/v1/dataservices", { body: { ...CREATE, restored: true } });
  const { tokens } = await created.json<Created>();
  for (const member of Object.values(service.members)) {
    Object.assign(member, { token: tokens.find(({ host }) => host === member.name)?.token });
  }
  for (let count = 0; count < 4; count += 1) await round(service, { apartMs: 100 });
  expect(service.members.db2.leaseLeftMs()).toBeGreaterThan(0);
  expect(await status()).toMatchObject({
    founded: true,
    epoch: 2,
    policy: "manual",
    coordinator: { state: "restored" },
  });
});

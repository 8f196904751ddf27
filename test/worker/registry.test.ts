import { evictDurableObject, reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { zDataservices, type Dataservices, type TokenCreated } from "#shared/protocol/api.ts";
import {
  ask,
  CREATE,
  createService,
  eventsOf,
  foundedService,
  isWhole,
  killPrimary,
  pass,
  refusedWith,
  roundsUntil,
  send,
  stub,
} from "./service.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] });
});

afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

const ALPHA = "/v1/dataservices/alpha";

async function listed(): Promise<Dataservices> {
  return zDataservices.parse(await (await ask("/v1/dataservices")).json());
}

function remove(query = "?confirm=alpha", token?: string): Promise<Response> {
  return ask(`${ALPHA}${query}`, { method: "DELETE", ...(token === undefined ? {} : { token }) });
}

describe("the list of dataservices", () => {
  it("holds what was created, by name, for the administrator only", async () => {
    expect(await listed()).toEqual({ dataservices: [], deleted: [] });
    await ask("/v1/dataservices", { body: { ...CREATE, name: "beta" } });
    const { tokens } = await createService();
    const { dataservices } = await listed();
    expect(dataservices).toEqual([
      { name: "alpha", createdWallMs: expect.any(Number) },
      { name: "beta", createdWallMs: expect.any(Number) },
    ]);
    await refusedWith(await ask("/v1/dataservices", { token: tokens["db1"]! }), "forbidden");
    await refusedWith(await ask("/v1/dataservices", { token: null }), "unauthorized");
    expect(await eventsOf("dataservice-created")).toEqual([{ kind: "dataservice-created", data: { by: "admin" } }]);
  });

  it("survives the eviction of its object, and a refused creation changes nothing in it", async () => {
    await createService();
    const before = await listed();
    await evictDurableObject(env.REGISTRY.getByName("registry"));
    pass(1_000);
    await refusedWith(await ask("/v1/dataservices", { body: CREATE }), "dataservice-exists");
    await refusedWith(
      await ask("/v1/dataservices", { body: { ...CREATE, name: "x", members: [] } }),
      "invalid-request",
    );
    expect(await listed()).toEqual(before);
  });

  it("gains a dataservice that it did not know when somebody tries to create it", async () => {
    await createService();
    await env.REGISTRY.getByName("registry").remove("alpha", null);
    expect((await listed()).dataservices).toEqual([]);
    await refusedWith(await ask("/v1/dataservices", { body: CREATE }), "dataservice-exists");
    expect((await listed()).dataservices).toMatchObject([{ name: "alpha" }]);
  });

  it("keeps the newest hundred deletions", async () => {
    const object = env.REGISTRY.getByName("registry");
    for (let count = 1; count <= 103; count += 1) {
      const deletion = { name: "gone", deletedWallMs: count, by: "admin", hadPrimary: null };
      await object.remove("gone", deletion);
    }
    const { deleted } = await listed();
    expect(deleted).toHaveLength(100);
    expect(deleted[0]).toMatchObject({ deletedWallMs: 103 });
  });
});

describe("a deletion", () => {
  it("must be confirmed by name, and is the administrator's alone", async () => {
    await createService();
    const operator = await (await ask(`${ALPHA}/tokens`, { body: { kind: "operator" } })).json<TokenCreated>();
    for (const query of ["", "?confirm=beta", "?force=true"]) {
      expect(await refusedWith(await remove(query), "confirmation-missing")).toContain("?confirm=alpha");
    }
    await refusedWith(await remove("?confirm=alpha&force=yes"), "invalid-request");
    await refusedWith(await remove("?confirm=alpha", operator.token), "forbidden");
    expect(await eventsOf("forbidden")).toMatchObject([{ data: { token: operator.id, right: "administer" } }]);
    expect((await ask(ALPHA)).status).toBe(200);
  });

  it("is refused while a primary reigns, unless it is forced", async () => {
    const service = await foundedService();
    expect(await refusedWith(await remove(), "primary-is-live")).toContain("'db1'");
    expect((await service.members.db1.speak(send)).status).toBe(200);
    const response = await remove("?confirm=alpha&force=true");
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ name: "alpha", by: "admin", hadPrimary: "db1" });
    expect((await listed()).deleted).toMatchObject([{ name: "alpha", by: "admin", hadPrimary: "db1" }]);
  });

  it("leaves nothing: no row, no alarm, no answer to a poll, and no name in the list", async () => {
    const service = await createService();
    expect((await remove()).status).toBe(200);
    const left = await runInDurableObject(stub(), async (_, { storage }) => ({
      tables: storage.sql.exec("SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_cf\\_%' ESCAPE '\\'").toArray(),
      alarm: await storage.getAlarm(),
    }));
    expect(left).toEqual({ tables: [], alarm: null });
    await refusedWith(await service.members.db1.speak(send), "unknown-dataservice");
    await evictDurableObject(stub());
    await refusedWith(await service.members.db1.speak(send), "unknown-dataservice");
    await refusedWith(await ask(ALPHA), "unknown-dataservice");
    expect((await listed()).dataservices).toEqual([]);
  });

  it("in the middle of a failover needs no force: nobody reigns", async () => {
    const service = await foundedService();
    killPrimary(service);
    await service.members.db1.speak(send);
    expect((await remove()).status).toBe(200);
  });

  it("that was done already is refused, and clears a name that was left in the list", async () => {
    await env.REGISTRY.getByName("registry").add("alpha");
    await refusedWith(await remove(), "unknown-dataservice");
    expect((await listed()).dataservices).toEqual([]);
  });

  it("makes room for another of the same name, to which the old tokens open nothing", async () => {
    const old = await createService();
    await remove();
    const service = await createService();
    await refusedWith(await old.members.db1.speak(send), "unauthorized");
    expect(await roundsUntil(service, () => isWhole(1))).toBeGreaterThan(0);
  });
});

import {
  abortAllDurableObjects,
  evictDurableObject,
  reset,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import { zReply } from "#shared/protocol/wire.ts";
import { isSetUp, migrate, MIGRATIONS, type Migration } from "../../worker/migrations.ts";
import { EVENTS_KEPT, OPERATIONS_KEPT, Store } from "../../worker/store.ts";
import { upgraded } from "../../worker/upgrade.ts";
import {
  ask,
  createService,
  foundedService,
  isWhole,
  killPrimary,
  pass,
  round,
  roundsUntil,
  rowsChanged,
  send,
  stored,
  stub,
} from "./service.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] });
});

afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

interface LeaseRow {
  body: string | null;
  confirmations: number;
}

async function lease(): Promise<{ serial: number; confirmations: number }> {
  const [row] = (await stored())["lease"] as LeaseRow[];
  const body = row?.body ? (JSON.parse(row.body) as { serial: number }) : { serial: 0 };
  return { serial: body.serial, confirmations: row?.confirmations ?? -1 };
}

describe("rows written", () => {
  it("are at rest one per lease extension and nothing else", async () => {
    const service = await foundedService();
    await round(service, { apartMs: 333 });
    const before = { rows: await rowsChanged(), ...(await lease()) };
    for (let second = 0; second < 40; second += 1) await round(service, { apartMs: 333 });
    const after = { rows: await rowsChanged(), ...(await lease()) };
    const extensions = after.serial - before.serial;
    // A third of 5 s is used at the second poll after each grant: every 2 s.
    expect(extensions).toBeGreaterThanOrEqual(18);
    expect(extensions).toBeLessThanOrEqual(22);
    expect(after.rows - before.rows).toBe(extensions);
  });

  it("count one for an extension by the platform's own measure", async () => {
    await foundedService();
    const written = await runInDurableObject(
      stub(),
      (_, { storage }) => storage.sql.exec("UPDATE lease SET confirmations = confirmations + 1").rowsWritten,
    );
    expect(written).toBe(1);
  });

  it("are none for a poll that comes again, nor for one that is refused", async () => {
    const service = await foundedService();
    // The very same poll comes twice.
    let [poll, token, answered] = [service.members.db2.poll, "", ""];
    await service.members.db2.speak(async (...sent) => {
      [poll, token] = sent;
      const response = await send(poll, token);
      answered = await response.clone().text();
      return response;
    });
    const before = await stored();
    const again = await send(poll, token);
    expect(again.status).toBe(200);
    expect(await again.text()).toBe(answered);
    const older = await send({ ...poll, seq: poll.seq - 1 }, token);
    expect(older.status).toBe(409);
    expect(await older.json()).toMatchObject({ code: "stale-poll" });
    expect(await stored()).toEqual(before);
  });

  it("are measured by a count that sees an alarm being armed", async () => {
    await createService();
    const before = await rowsChanged();
    await runInDurableObject(stub(), (_, { storage }) => storage.setAlarm(Date.now() + 100_000));
    expect((await rowsChanged()) - before).toBe(1);
  });

  it("are none for an alarm at rest, because there is none", async () => {
    const service = await foundedService();
    pass(1_000);
    await round(service);
    // The one that watched over the founding may still be armed: it fires once and arms no other.
    await runDurableObjectAlarm(stub());
    expect(await runInDurableObject(stub(), (_, { storage }) => storage.getAlarm())).toBeNull();
    pass(1_000);
    await round(service);
    expect(await runInDurableObject(stub(), (_, { storage }) => storage.getAlarm())).toBeNull();
  });
});

describe("an answer with authority", () => {
  it("is confirmed by a write of its own event: leases, commands and ends of leases, and no other answer", async () => {
    const service = await foundedService();
    const seen = { authoritative: 0, other: 0 };
    const speakAndCompare = async (member: (typeof service.members)["db1"]): Promise<void> => {
      pass(250);
      const before = await lease();
      const version = member.poll.version;
      await member.speak(send);
      const confirmed = (await lease()).confirmations - before.confirmations;
      const { lease: granted, commands, leaseEnded } = member.reply ?? { lease: null, commands: [], leaseEnded: null };
      const hasAuthority = granted !== null || commands.length > 0 || leaseEnded !== null;
      seen[hasAuthority ? "authoritative" : "other"] += 1;
      // Of the others, those that tell the member of a durable change may have made it.
      const mustBe = hasAuthority ? 1 : member.reply?.version === version ? 0 : confirmed;
      expect({ hasAuthority, confirmed }).toEqual({ hasAuthority, confirmed: mustBe });
    };
    for (let count = 0; count < 4; count += 1) {
      for (const member of Object.values(service.members)) await speakAndCompare(member);
    }
    killPrimary(service);
    for (let count = 0; count < 8; count += 1) {
      for (const member of Object.values(service.members)) await speakAndCompare(member);
    }
    expect(await isWhole(2, ["db1"])).toBe(true);
    expect(seen.authoritative).toBeGreaterThanOrEqual(5);
    expect(seen.other).toBeGreaterThanOrEqual(5);
  });

  it("repeats a command with a write although nothing else changed", async () => {
    const service = await foundedService();
    killPrimary(service);
    const { db1, db2, db3 } = service.members;
    await db1.speak(send);
    // db2 is told, but the answer is lost on its way; only the repetition reaches it.
    for (const member of [db3, db2]) {
      pass(20);
      await send({ ...member.poll, seq: member.poll.seq + 1, server: member.server }, member.token);
      member.poll = { ...member.poll, seq: member.poll.seq + 1 };
    }
    const before = { ...(await lease()), reigns: (await stored())["reigns"] };
    pass(600);
    await db2.speak(send);
    expect(db2.obeyed.at(-1)).toMatchObject({ kind: "promote", epoch: 2 });
    expect((await stored())["reigns"]).toEqual(before.reigns);
    expect((await lease()).confirmations).toBe(before.confirmations + 1);
  });
});

describe("migrations", () => {
  const scratch = () => env.COORDINATOR.getByName("scratch");
  const released = MIGRATIONS.length;
  const next: Migration = {
    id: released + 1,
    name: "notes",
    statements: ["CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)"],
  };
  const broken: Migration = {
    id: released + 2,
    name: "broken",
    statements: ["CREATE TABLE half (id INTEGER)", "CREATE NONSENSE"],
  };

  it("run once each, in order, and leave what was stored", async () => {
    await runInDurableObject(scratch(), (_, { storage }) => {
      expect(isSetUp(storage.sql)).toBe(false);
      expect(migrate(storage.sql, MIGRATIONS, 1)).toBe(MIGRATIONS.length);
      storage.sql.exec("INSERT INTO meta (id, generation) VALUES (1, 7)");
      expect(isSetUp(storage.sql)).toBe(true);
      expect(migrate(storage.sql, [...MIGRATIONS, next], 2)).toBe(1);
      expect(migrate(storage.sql, [...MIGRATIONS, next], 3)).toBe(0);
      expect(storage.sql.exec("SELECT generation FROM meta").one()).toEqual({ generation: 7 });
      const applied = storage.sql.exec("SELECT id, applied_wall_ms FROM migrations ORDER BY id").toArray();
      expect(applied).toEqual([...MIGRATIONS, next].map(({ id }) => ({ id, applied_wall_ms: id === next.id ? 2 : 1 })));
    });
  });

  it("that fail leave nothing behind", async () => {
    await runInDurableObject(scratch(), (_, { storage }) => {
      storage.transactionSync(() => migrate(storage.sql, MIGRATIONS, 1));
      expect(() => storage.transactionSync(() => migrate(storage.sql, [...MIGRATIONS, next, broken], 2))).toThrow(
        /NONSENSE/,
      );
      const tables = storage.sql.exec("SELECT name FROM sqlite_master WHERE name IN ('notes', 'half')").toArray();
      expect(tables).toEqual([]);
    });
  });

  it("keep what the first version stored", async () => {
    await runInDurableObject(scratch(), (_, { storage }) => {
      migrate(storage.sql, MIGRATIONS.slice(0, 1), 1);
      storage.sql.exec(
        "INSERT INTO tokens (id, kind, host, sha256, created_wall_ms) VALUES ('a', 'agent', 'db1', 'x', 1)",
      );
      storage.sql.exec("INSERT INTO meta (id, generation) VALUES (1, 7)");
      migrate(storage.sql, MIGRATIONS, 2);
      const incarnation = new Store(storage.sql).nextIncarnation();
      expect(incarnation).toEqual({ generation: 8, creation: expect.stringMatching(/^[0-9A-F]{32}$/) as string });
      const kept = { id: "a", kind: "agent", host: "db1", label: null, sha256: "x", createdWallMs: 1 };
      expect(new Store(storage.sql).tokens()).toEqual([kept]);
    });
  });

  it("of a newer Worker are refused by an older one", async () => {
    await runInDurableObject(scratch(), (_, { storage }) => {
      migrate(storage.sql, [...MIGRATIONS, next], 1);
      expect(() => migrate(storage.sql, MIGRATIONS, 2)).toThrow(/deploy the newer Worker/);
    });
  });
});

describe("a state that an earlier version stored", () => {
  type Stored = Record<string, unknown> & {
    settings: Record<string, unknown>;
    identities: Record<string, Record<string, unknown>>;
    phase: Record<string, unknown>;
  };

  /** What the first version wrote: the same without all that came later. */
  function asOfOld(body: string, phase?: Record<string, unknown>): string {
    const { plan: _, endlessBelow: __, ...state } = JSON.parse(body) as Stored;
    const { drainMs: ___, recoverMs: ____, ...settings } = state.settings;
    const identities = Object.entries(state.identities).map(([host, { policyVersion: _____, ...identity }]) => [
      host,
      identity,
    ]);
    const olden = { ...state, settings, identities: Object.fromEntries(identities), phase: phase ?? state.phase };
    return JSON.stringify(olden);
  }

  async function stepBack(phase?: Record<string, unknown>): Promise<void> {
    await runInDurableObject(stub(), (_, { storage }) => {
      const { body } = storage.sql.exec<{ body: string }>("SELECT body FROM state").one();
      storage.sql.exec("UPDATE state SET body = ?", asOfOld(body, phase));
    });
    await evictDurableObject(stub());
  }

  it("is loaded whole", async () => {
    await foundedService();
    const before = await runInDurableObject(stub(), (_, { storage }) => new Store(storage.sql).load());
    await stepBack();
    const after = await runInDurableObject(stub(), (_, { storage }) => new Store(storage.sql).load());
    const identities = Object.entries(before.durable.identities).map(([host, identity]) => [
      host,
      { ...identity, policyVersion: 0 },
    ]);
    expect(after.durable).toEqual({ ...before.durable, identities: Object.fromEntries(identities) });
    expect(after.durable).toMatchObject({ plan: null, endlessBelow: 0 });
  });

  it("goes on: its primary reigns, and a failover follows its death", async () => {
    const service = await foundedService();
    await stepBack();
    await roundsUntil(service, () => isWhole(1));
    killPrimary(service);
    expect(await roundsUntil(service, () => isWhole(2, ["db1"]))).toBeGreaterThan(0);
  });

  it("lacks what its phases and commands have gained, which then means what it did", () => {
    const vacant = { kind: "vacant", epoch: 1, deposed: "db1", op: 2, proof: "released", code: "no-candidate" };
    const collecting = {
      kind: "collecting",
      epoch: 1,
      deposed: "db1",
      op: 2,
      proof: "released",
      cause: "server-died",
      target: null,
      byOperator: false,
    };
    const fence = { kind: "fence", id: "2-1", op: 2, epoch: 1, deadlineMs: 1_500 };
    const old = (phase: unknown) => ({ settings: {}, identities: {}, phase, commands: { db1: fence } }) as never;
    expect(upgraded(old(vacant))).toMatchObject({
      phase: { ...vacant, cause: "retry", welcomed: null },
      commands: { db1: { ...fence, patienceMs: 0 } },
      settings: DEFAULT_SETTINGS,
    });
    const whole = upgraded(old(collecting));
    expect(whole.phase).toEqual({
      ...collecting,
      inquiry: { kind: "clear" },
      salvage: { kind: "none" },
      isForced: false,
      mayLose: false,
    });
    expect(upgraded(whole)).toEqual(whole);
  });

  it("says who follows to a primary that is to shut its door, and has no such command without its switch", () => {
    const shut = { kind: "shut", id: "7-1", op: 7, epoch: 1, drainMs: 5_000, deadlineMs: 9_000 };
    const plan = { kind: "switch", op: 7, primary: "db1", target: "db2", step: { kind: "draining" } };
    const old = (patch: object) =>
      ({ settings: {}, identities: {}, phase: { kind: "deposing" }, commands: { db1: shut }, ...patch }) as never;
    expect(upgraded(old({ plan })).commands).toEqual({ db1: { ...shut, heir: "db2" } });
    expect(upgraded(old({ plan: { ...plan, op: 8 } })).commands).toEqual({});
    expect(upgraded(old({})).commands).toEqual({});
    const told = { db1: { ...shut, heir: "db3" } };
    expect(upgraded(old({ plan, commands: told })).commands).toEqual(told);
  });

  it("goes on in the middle of a switch: no reply is one that its agents cannot read", async () => {
    const service = await foundedService();
    const { db1 } = service.members;
    await ask("/v1/dataservices/alpha/commands", { body: { command: "switch", to: "db2" } });
    const commandOf = async () => {
      const [{ body }] = (await stored())["state"] as [{ body: string }];
      return (JSON.parse(body) as { commands: Record<string, { kind: string }> }).commands["db1"]?.kind;
    };
    await roundsUntil(service, async () => (await commandOf()) === "shut");
    // It has not heard of it: the answer was lost with the Worker of before.
    db1.poll = { ...db1.poll, results: [] };
    await runInDurableObject(stub(), (_, { storage }) => {
      storage.sql.exec("UPDATE state SET body = json_remove(body, '$.commands.db1.heir')");
    });
    await abortAllDurableObjects();
    for (let count = 1; count <= 3; count += 1) {
      pass(600);
      const at = Date.now();
      const clocks = { monoMs: at, bootMs: at, wallMs: at };
      const poll = { ...db1.poll, seq: db1.poll.seq + count, server: db1.server, clocks };
      const reply = zReply.safeParse(await (await send(poll, db1.token)).json());
      expect(reply.error?.issues ?? []).toEqual([]);
    }
  });
});

describe("what only grows is capped", () => {
  it("events: the newest are kept, their ids go on", async () => {
    await createService();
    const { events, last } = await runInDurableObject(stub(), (_, { storage }) => {
      const store = new Store(storage.sql);
      storage.transactionSync(() => {
        for (let count = 0; count < EVENTS_KEPT + 250; count += 1)
          store.appendEvent({ kind: "agent-started", host: "db1", startCount: count }, count);
      });
      return {
        events: storage.sql.exec<{ n: number }>("SELECT count(*) AS n FROM events").one().n,
        last: store.events(0, 1).last,
      };
    });
    expect(events).toBeGreaterThanOrEqual(EVENTS_KEPT);
    expect(events).toBeLessThan(EVENTS_KEPT + 100);
    expect(last).toBe(EVENTS_KEPT + 252);
    const page = await (
      await ask(`/v1/dataservices/alpha/events?after=${last - 2}&limit=10`)
    ).json<{ events: { id: number }[] }>();
    expect(page.events.map(({ id }) => id)).toEqual([last - 1, last]);
  });

  it("operations and their transcripts: the newest are kept", async () => {
    const service = await foundedService();
    const [record] = (await stored())["operations"] as { body: string }[];
    const counts = await runInDurableObject(stub(), (_, { storage }) => {
      const store = new Store(storage.sql);
      const { durable, lease: leaseRecord } = store.load();
      const founding = JSON.parse(record?.body ?? "") as { op: number };
      storage.transactionSync(() => {
        for (let op = 2; op <= OPERATIONS_KEPT + 5; op += 1) {
          const step = { state: { durable, lease: leaseRecord } } as Parameters<Store["save"]>[1];
          store.save(
            { durable, lease: leaseRecord },
            {
              ...step,
              effects: [{ kind: "operation", record: { ...founding, op } as never }],
              reasons: [],
              confirm: false,
            },
            0,
          );
        }
      });
      return storage.sql
        .exec("SELECT (SELECT count(*) FROM operations) AS operations, (SELECT count(*) FROM transcript) AS transcript")
        .one();
    });
    expect(counts).toEqual({ operations: OPERATIONS_KEPT, transcript: 0 });
    expect(service.members.db1.isOpen()).toBe(true);
  });
});

it("counts one generation per incarnation and tells each in the events", async () => {
  await createService();
  await evictDurableObject(stub());
  await ask("/v1/dataservices/alpha");
  await abortAllDurableObjects();
  await ask("/v1/dataservices/alpha");
  const { events } = await (
    await ask("/v1/dataservices/alpha/events")
  ).json<{ events: { kind: string; data: unknown }[] }>();
  expect(events.map(({ kind, data }) => ({ kind, data }))).toEqual([
    { kind: "dataservice-created", data: { by: "admin" } },
    ...[1, 2, 3].map((generation) => ({ kind: "coordinator-started", data: { generation } })),
  ]);
});

it("carries state over a restart: the same picture, the same tokens", async () => {
  const service = await foundedService();
  const before = await stored();
  await abortAllDurableObjects();
  expect(await stored()).toMatchObject({
    state: before["state"],
    lease: before["lease"],
    reigns: before["reigns"],
    tokens: before["tokens"],
  });
  pass(50);
  expect((await service.members.db3.speak(send)).status).toBe(200);
  await roundsUntil(service, () => isWhole(1));
});

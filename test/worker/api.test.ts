import { createHmac } from "node:crypto";
import { env, exports } from "cloudflare:workers";
import { reset, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { zCreated, zEvents, zOperation, zStatus, type OperationStatus, type Status } from "#shared/protocol/api.ts";
import { ERRORS, type ErrorCode } from "#shared/protocol/errors.ts";
import { REPLY_SIGNATURE_HEADER, signedPartOf } from "#shared/protocol/reply-signature.ts";
import { zReply } from "#shared/protocol/wire.ts";
import { mintToken, type TokenKind } from "../../worker/auth.ts";
import { macsOf } from "../../worker/mac.ts";
import { endStream, ScriptedMember } from "./members.ts";
import { Store } from "../../worker/store.ts";
import {
  ADMIN,
  ask,
  CREATE,
  createService,
  foundedService,
  isWhole,
  killPrimary,
  operations,
  refusedWith,
  roundsUntil,
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

const ALPHA = "/v1/dataservices/alpha";

const NOBODY = { host: null, label: null };

/** All that a refused attempt must leave as it was: it may be told, and nothing else. */
function withoutEvents(tables: Record<string, unknown[]>): Record<string, unknown[]> {
  return { ...tables, events: [] };
}

/** A token of a kind that no creation mints. */
async function mint(kind: TokenKind, dataservice = "alpha"): Promise<string> {
  const { text, token } = mintToken(macsOf(env.SECRET), kind, dataservice);
  await runInDurableObject(stub(), (_, { storage }) => new Store(storage.sql).addToken(token, NOBODY, 0));
  return text;
}

describe("routes", () => {
  it("answer in the documented shapes from creation to failover", async () => {
    const created = await ask("/v1/dataservices", { body: { ...CREATE, name: "beta" } });
    expect(created.status).toBe(201);
    expect(zCreated.parse(await created.json()).tokens.map(({ host }) => host)).toEqual(["db1", "db2", "db3", "app1"]);

    const service = await foundedService();
    killPrimary(service);
    await roundsUntil(service, () => isWhole(2, ["db1"]));
    const shown = zStatus.parse(await (await ask(ALPHA)).json());
    expect(shown).toMatchObject({ founded: true, primary: "db2", epoch: 2 });
    expect(zReply.safeParse(service.members.db2.reply).success).toBe(true);

    const events = zEvents.parse(await (await ask(`${ALPHA}/events?limit=1000`)).json());
    expect(events.events.map(({ id }) => id)).toEqual(events.events.map((_, index) => index + 1));
    const rest = zEvents.parse(await (await ask(`${ALPHA}/events?after=${events.last - 1}`)).json());
    expect(rest.events).toEqual([events.events.at(-1)]);

    const [failover] = await operations();
    const one = zOperation.parse(await (await ask(`${ALPHA}/operations/${failover?.op}`)).json());
    expect(one).toEqual(failover);
    expect(one.transcript).toEqual(expect.arrayContaining(["SELECTED SLAVE: db2@alpha"]));
    expect(one.transcript.slice(-3)).toEqual([
      "SHUNNING PREVIOUS MASTER 'db1@alpha'",
      "PUT THE NEW MASTER 'db2@alpha' ONLINE",
      "FAILOVER TO 'db2' WAS COMPLETED",
    ]);
  });

  it("accept an operator's command with the operation to follow", async () => {
    const service = await foundedService();
    const response = await ask(`${ALPHA}/commands`, { body: { command: "datasource-fail", member: "db1" } });
    expect(response.status).toBe(202);
    const { operation } = await response.json<{ operation: OperationStatus }>();
    expect(operation).toMatchObject({ kind: "datasource-fail", requestedBy: "operator", state: "running" });
    await roundsUntil(service, () => isWhole(2, ["db1"]));
    expect(service.members.db1.obeyed.map(({ kind }) => kind)).toContain("fence");
  });

  it("accept every command of the console, and note who gave it and with what force", async () => {
    const service = await foundedService();
    const operator = await mint("operator");
    const give = async (body: unknown, token = ADMIN): Promise<void> => {
      expect((await ask(`${ALPHA}/commands`, { token, body })).status).toBe(202);
    };
    await give({ command: "datasource-shun", member: "db3" });
    await give({ command: "datasource-welcome", member: "db3", force: true }, operator);
    await give({ command: "datasource-offline", member: "db2" });
    await give({ command: "datasource-online", member: "db2" });
    const changed = await ask(`${ALPHA}/policy`, { method: "PUT", token: operator, body: { policy: "manual" } });
    expect(changed.status).toBe(202);
    expect((await changed.json<{ operation: OperationStatus }>()).operation.kind).toBe("set-policy");
    expect(await (await ask(ALPHA)).json()).toMatchObject({ policy: "manual" });
    await give({ command: "set-policy", policy: "automatic" });
    await roundsUntil(service, () => isWhole(1));
    await give({ command: "switch", to: "db2" });

    const { events } = zEvents.parse(await (await ask(`${ALPHA}/events?limit=1000`)).json());
    const commands = events.filter(({ kind }) => kind === "operator-command").map(({ data }) => data);
    const who = `operator:${operator.split("_")[3]}`;
    expect(commands).toEqual([
      { command: "datasource-shun", member: "db3", by: "admin", force: false },
      { command: "datasource-welcome", member: "db3", by: who, force: true },
      { command: "datasource-offline", member: "db2", by: "admin", force: false },
      { command: "datasource-online", member: "db2", by: "admin", force: false },
      { command: "set-policy", member: null, by: who, force: false },
      { command: "set-policy", member: null, by: "admin", force: false },
      { command: "switch", member: "db2", by: "admin", force: false },
    ]);
  });

  it("change the durability, as a command and as a resource, and tell how far that has come", async () => {
    const service = await foundedService();
    const durability = async () => (await (await ask(ALPHA)).json<Status>()).durability;
    const set = async (body: unknown): Promise<number> => {
      const changed = await ask(`${ALPHA}/durability`, { method: "PUT", body });
      expect(changed.status).toBe(202);
      const { operation } = await changed.json<{ operation: OperationStatus }>();
      expect(operation.kind).toBe("set-durability");
      return operation.op;
    };
    await roundsUntil(service, () => isWhole(1));
    const op = await set({ durability: "sync" });
    expect(await durability()).toMatchObject({ mode: "async", goal: "sync" });
    await roundsUntil(service, async () => (await durability()).mode === "sync");
    expect(await durability()).toEqual({ mode: "sync", goal: "sync", k: 1, members: ["db2", "db3"], settled: true });
    const { transcript } = await (await ask(`${ALPHA}/operations/${op}`)).json<OperationStatus>();
    expect(transcript).toEqual([
      "SET DURABILITY: ASYNC => SYNC, 1 TO ACKNOWLEDGE",
      "'db1@alpha' IS TOLD TO WAIT FOR 1 OF: db2, db3",
      "ALL OF 'db1@alpha' GOES BY IT",
      "'alpha' IS SYNCHRONOUS: WHAT IS ACKNOWLEDGED FROM NOW ON OUTLIVES ITS MASTER",
    ]);
    const response = await ask(`${ALPHA}/commands`, { body: { command: "set-durability", durability: "async" } });
    expect(response.status).toBe(202);
    await roundsUntil(service, async () => (await durability()).settled);
    expect(await durability()).toEqual({ mode: "async", goal: "async", k: 0, members: [], settled: true });
  });

  it("switch to another primary, which the members carry out", async () => {
    const service = await foundedService();
    const response = await ask(`${ALPHA}/commands`, { body: { command: "switch", to: "db3" } });
    const { operation } = await response.json<{ operation: OperationStatus }>();
    const { db1, db2, db3 } = service.members;
    const streamsOfDb1End = async (): Promise<void> => {
      for (const member of [db2, db3]) {
        const { receiver } = member.server;
        if (!db1.isOpen() && receiver.state === "streaming" && receiver.upstream === "db1") endStream(member);
      }
    };
    await roundsUntil(service, () => isWhole(2), { between: streamsOfDb1End });
    expect(await (await ask(ALPHA)).json()).toMatchObject({ primary: "db3" });
    const done = zOperation.parse(await (await ask(`${ALPHA}/operations/${operation.op}`)).json());
    expect(done).toMatchObject({ kind: "switch", state: "succeeded" });
  });

  it("give the agents of one dataservice one key for their channel, and another's another", async () => {
    const service = await foundedService();
    const keys = Object.values(service.members).map((member) => member.reply?.peerKey);
    expect(keys[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(new Set(keys).size).toBe(1);
    expect(macsOf(env.SECRET).peerKey("beta")).not.toBe(keys[0]);
    expect(JSON.stringify(await stored())).not.toContain(keys[0]);
  });

  it("sign what is answered to a poll, over both bodies, with the token that asked", async () => {
    const { db2 } = (await foundedService()).members;
    const body = JSON.stringify({ ...db2.poll, seq: db2.poll.seq + 1 });
    const response = await ask(`${ALPHA}/poll`, { token: db2.token, body });
    const due = createHmac("sha256", db2.token).update(signedPartOf(body, await response.text()));
    expect(response.headers.get(REPLY_SIGNATURE_HEADER)).toBe(due.digest("base64url"));
    const older = JSON.stringify({ ...db2.poll, seq: db2.poll.seq });
    const refused = await ask(`${ALPHA}/poll`, { token: db2.token, body: older });
    await refusedWith(refused, "stale-poll");
    expect(refused.headers.get(REPLY_SIGNATURE_HEADER)).toBe(null);
  });

  it("describe themselves without a token", async () => {
    const openapi = await (
      await ask("/openapi.json", { token: null })
    ).json<{ openapi: string; paths: Record<string, unknown> }>();
    expect(openapi.openapi).toBe("3.1.0");
    expect(Object.keys(openapi.paths)).toEqual([
      "/v1/dataservices",
      "/v1/dataservices/{s}",
      "/v1/dataservices/{s}/poll",
      "/v1/dataservices/{s}/commands",
      "/v1/dataservices/{s}/policy",
      "/v1/dataservices/{s}/durability",
      "/v1/dataservices/{s}/operations",
      "/v1/dataservices/{s}/operations/{op}",
      "/v1/dataservices/{s}/events",
      "/v1/dataservices/{s}/tokens",
      "/v1/dataservices/{s}/tokens/{id}",
      "/v1/dataservices/{s}/webhooks",
      "/v1/dataservices/{s}/webhooks/{id}",
      "/v1/dataservices/{s}/webhooks/{id}/deliveries",
      "/v1/dataservices/{s}/webhooks/{id}/deliveries/{n}/retry",
      "/healthz",
    ]);
    const page = await (await ask("/docs", { token: null })).text();
    for (const code of Object.keys(ERRORS)) expect(page).toContain(code);
    expect(await (await ask("/healthz", { token: null })).json()).toEqual({ status: "ok", protocol: 1 });
  });
});

describe("tokens", () => {
  const macs = macsOf(env.SECRET);
  const forged = mintToken(macsOf("another secret, not ours"), "agent", "alpha").text;
  const genuine = mintToken(macs, "agent", "alpha").text;

  it.each([
    ["none", null],
    ["an empty one", ""],
    ["junk", "x".repeat(500)],
    ["the administrator's with a letter more", `${ADMIN}x`],
    ["a forged one", forged],
    ["a truncated one", genuine.slice(0, -1)],
    ["one with another kind", genuine.replace("agent", "operator")],
    ["one with another dataservice", genuine.replace("alpha", "gamma")],
  ])("%s: refused before any object is reached", async (_, token) => {
    const reached = vi.spyOn(Object.getPrototypeOf(env.COORDINATOR) as typeof env.COORDINATOR, "getByName");
    for (const path of [ALPHA, `${ALPHA}/events`, `${ALPHA}/operations`, "/v1/dataservices/gamma", "/v1/nothing"]) {
      await refusedWith(await ask(path, { token }), "unauthorized");
    }
    await refusedWith(await ask("/v1/dataservices", { token, body: CREATE }), "unauthorized");
    expect(reached).not.toHaveBeenCalled();
    // The very spy that saw nothing sees what does reach an object.
    await ask(ALPHA);
    expect(reached).toHaveBeenCalledTimes(1);
    reached.mockRestore();
  });

  it("that were minted by us but are unknown to the object are refused by it", async () => {
    await createService();
    await refusedWith(await ask(`${ALPHA}/poll`, { token: genuine, body: {} }), "invalid-request");
    const unknown = mintToken(macs, "viewer", "alpha");
    const detail = await refusedWith(await ask(ALPHA, { token: unknown.text }), "unauthorized");
    expect(detail).toContain(unknown.token.id);
  });

  it("with the id of a known one but another secret, or another kind, are refused by the object", async () => {
    const { tokens } = await createService();
    const before = await stored();
    const own = tokens["db1"]?.split("_") ?? [];
    const forge = (kind: string, secret: string): string => {
      const publicPart = ["rex", kind, "alpha", own[3], secret].join("_");
      return publicPart + macs.token(publicPart);
    };
    const body = { ...new ScriptedMember("db1", "").poll, seq: 1 };
    const other = await ask(`${ALPHA}/poll`, { token: forge("agent", "0".repeat(40)), body });
    expect(await refusedWith(other, "unauthorized")).toContain(own[3]);
    const promoted = await ask(ALPHA, { token: forge("operator", own[4]?.slice(0, 40) ?? "") });
    expect(await refusedWith(promoted, "unauthorized")).toContain(own[3]);
    expect(await stored()).toEqual(before);
  });

  it("open nothing outside their own dataservice", async () => {
    const { tokens } = await createService();
    await ask("/v1/dataservices", { body: { ...CREATE, name: "beta" } });
    const elsewhere = await ask("/v1/dataservices/beta/poll", { token: tokens["db1"] ?? "", body: {} });
    expect(await refusedWith(elsewhere, "forbidden")).toContain("'alpha', not to 'beta'");
    await refusedWith(
      await ask("/v1/dataservices", { token: tokens["db1"] ?? "", body: { ...CREATE, name: "delta" } }),
      "forbidden",
    );
  });

  it("of an agent speak for its own host only, and only poll", async () => {
    const { members, tokens } = await createService();
    const before = withoutEvents(await stored());
    const response = await send({ ...members.db1.poll, seq: 1 }, tokens["db2"] ?? "");
    expect(await refusedWith(response, "forbidden")).toContain("'db1'");
    await refusedWith(await ask(ALPHA, { token: tokens["db1"] ?? "" }), "forbidden");
    await refusedWith(
      await ask(`${ALPHA}/commands`, { token: tokens["db1"] ?? "", body: { command: "failover" } }),
      "forbidden",
    );
    expect(withoutEvents(await stored())).toEqual(before);
  });

  it("of a viewer read and of an operator command as well", async () => {
    await foundedService();
    const viewer = await mint("viewer");
    const operator = await mint("operator");
    expect((await ask(ALPHA, { token: viewer })).status).toBe(200);
    await refusedWith(await ask(`${ALPHA}/commands`, { token: viewer, body: { command: "failover" } }), "forbidden");
    expect((await ask(ALPHA, { token: operator })).status).toBe(200);
    await refusedWith(
      await ask(`${ALPHA}/commands`, { token: operator, body: { command: "failover" } }),
      "primary-is-healthy",
    );
  });

  it("are stored as their SHA-256 only", async () => {
    const { tokens } = await createService();
    const everything = JSON.stringify(await stored());
    for (const token of Object.values(tokens)) {
      expect(everything).not.toContain(token);
      expect(everything).not.toContain(token.split("_").at(-1));
    }
  });
});

describe("bad input", () => {
  const valid = CREATE;

  it.each<[string, ErrorCode, unknown, string[]]>([
    ["a name with capitals", "invalid-request", { ...valid, name: "Alpha" }, ["name", "Alpha", "lower-case letter"]],
    ["no members", "invalid-request", { ...valid, members: [] }, ["members", "[]"]],
    ["a member without a name", "invalid-request", { ...valid, members: [{}] }, ["members.0.name", "nothing"]],
    ["an unknown field", "invalid-request", { ...valid, colour: "red" }, ["colour", "red", "leave it out"]],
    ["a durability we lack", "invalid-request", { ...valid, durability: "both" }, ["durability", "sync", "async"]],
    [
      "a primary that is no member",
      "invalid-request",
      { ...valid, primary: "db9" },
      ["primary", "db9", "db1, db2, db3"],
    ],
    [
      "a member named twice",
      "invalid-request",
      { ...valid, members: [{ name: "db1" }, { name: "db1" }] },
      ["db1", "twice"],
    ],
    ["a router named as a member", "invalid-request", { ...valid, routers: ["db2"] }, ["db2", "twice"]],
    [
      "a lease too short for its polls",
      "invalid-settings",
      { ...valid, settings: { ttlMs: 1_000 } },
      ["settings.ttlMs", "1000", "more than"],
    ],
    [
      "a pace faster than allowed",
      "invalid-settings",
      { ...valid, settings: { pollInOperationMs: 9 } },
      ["settings.pollInOperationMs", "9", "at least 10"],
    ],
    [
      "a fraction of a millisecond",
      "invalid-request",
      { ...valid, settings: { ttlMs: 1.5 } },
      ["settings.ttlMs", "1.5"],
    ],
    ["half a JSON", "invalid-request", '{"name":', ["no JSON"]],
    ["nothing", "invalid-request", "", ["no JSON"]],
    ["a list", "invalid-request", [], ["the whole body"]],
  ])("to a creation: %s", async (_, code, body, words) => {
    const detail = await refusedWith(await ask("/v1/dataservices", { body }), code);
    for (const word of words) expect(detail).toContain(word);
    await refusedWith(await ask(ALPHA), "unknown-dataservice");
  });

  it("to a creation: a name that is taken", async () => {
    await createService();
    const before = await stored();
    const detail = await refusedWith(
      await ask("/v1/dataservices", { body: { ...CREATE, primary: "db2" } }),
      "dataservice-exists",
    );
    expect(detail).toContain("'alpha'");
    expect(await stored()).toEqual(before);
  });

  it("to a poll, each with its own code, changes nothing", async () => {
    const service = await foundedService();
    const { db1, db2 } = service.members;
    const good = { ...db2.poll, seq: db2.poll.seq + 1 };
    const cases: [ErrorCode, unknown, string[]][] = [
      ["unsupported-protocol", { ...good, protocol: 2 }, ["protocol", "2", "1 to 1"]],
      ["unsupported-protocol", { protocol: 0, quite: "another shape" }, ["0"]],
      ["invalid-request", { ...good, protocol: "1" }, ["protocol"]],
      ["invalid-request", { ...good, seq: -1 }, ["seq", "-1"]],
      [
        "invalid-request",
        { ...good, server: { ...good.server, position: { ...db1.server.position, lsn: "0x1" } } },
        ["server.position.lsn", "0x1", "LSN"],
      ],
      [
        "invalid-request",
        { ...good, server: { ...good.server, report: { state: "asleep" } } },
        ["server.report.state", "asleep"],
      ],
      ["invalid-request", { ...good, dataservice: "beta" }, ["dataservice", "beta"]],
      ["forbidden", { ...good, host: "db3" }, ["db3", "db2"]],
      ["stale-poll", { ...good, seq: db2.poll.seq }, ["db2"]],
      ["second-agent", { ...good, startCount: 0 }, ["db2"]],
      ["second-agent", { ...good, incarnation: "another" }, ["db2"]],
      ["wrong-incarnation", { ...good, startCount: 2, incarnation: "another" }, ["db2"]],
      ["wrong-system", { ...good, server: { ...good.server, systemId: "1" } }, ["db2"]],
      ["unknown-member", { ...good, server: null }, ["db2", "[server]"]],
    ];
    const before = withoutEvents(await stored());
    for (const [code, body, words] of cases) {
      const detail = await refusedWith(await ask(`${ALPHA}/poll`, { token: db2.token, body }), code);
      for (const word of words) expect(detail).toContain(word);
    }
    await refusedWith(await ask(`${ALPHA}/poll`, { body: { ...good, host: "db9" } }), "unknown-member");
    expect(withoutEvents(await stored())).toEqual(before);
    expect((await ask(`${ALPHA}/poll`, { token: db2.token, body: good })).status).toBe(200);
  });

  it("to a command, each with its own code, changes nothing", async () => {
    await createService();
    await refusedWith(await ask(`${ALPHA}/commands`, { body: { command: "failover" } }), "not-founded");
    await reset();
    await foundedService();
    const before = await stored();
    const cases: [ErrorCode, unknown, string][] = [
      ["not-supported", { command: "datasource-provision", member: "db2" }, "'datasource-provision'"],
      ["invalid-request", { command: 7 }, "command"],
      ["invalid-request", { command: "failover", to: "DB2" }, "to"],
      ["invalid-request", { command: "datasource-fail" }, "member"],
      ["invalid-request", { command: "switch", force: true }, "force"],
      ["invalid-request", { command: "set-policy", policy: "lazy" }, "policy"],
      ["invalid-request", { command: "set-durability", durability: "both" }, "durability"],
      ["invalid-request", { command: "set-durability", durability: "async", sync: { k: 1 } }, "sync"],
      ["target-not-eligible", { command: "set-durability", durability: "sync", sync: { k: 3 } }, "2 replicas"],
      ["wrong-state", { command: "switch", to: "db1" }, "db1"],
      ["primary-is-live", { command: "datasource-shun", member: "db1" }, "db1"],
      ["primary-is-healthy", { command: "failover" }, "db1"],
      ["unknown-member", { command: "datasource-fail", member: "db9" }, "db9"],
    ];
    for (const [code, body, word] of cases) {
      expect(await refusedWith(await ask(`${ALPHA}/commands`, { body }), code)).toContain(word);
    }
    expect(await stored()).toEqual(before);
  });

  it("to what is read: unknown things and impossible numbers", async () => {
    await createService();
    expect(await refusedWith(await ask(`${ALPHA}/operations/99`), "unknown-operation")).toContain("99");
    await refusedWith(await ask(`${ALPHA}/operations/first`), "invalid-request");
    await refusedWith(await ask(`${ALPHA}/events?after=-1`), "invalid-request");
    await refusedWith(await ask(`${ALPHA}/events?limit=5000`), "invalid-request");
    await refusedWith(await ask("/v1/dataservices/No_Name"), "invalid-request");
    await refusedWith(await ask(`${ALPHA}/nothing`), "not-found");
    await refusedWith(await ask("/elsewhere", { token: null }), "not-found");
  });

  it("that is too large is not read", async () => {
    const { tokens } = await createService();
    const huge = `{"protocol":1,"x":"${"x".repeat(262_144)}"}`;
    await refusedWith(await ask(`${ALPHA}/poll`, { token: tokens["db1"] ?? "", body: huge }), "payload-too-large");
    await refusedWith(await ask(`${ALPHA}/poll`, { token: "junk", body: huge }), "unauthorized");
    const streamed = new Request(`http://coordinator${ALPHA}/poll`, {
      method: "POST",
      headers: { Authorization: `Bearer ${tokens["db1"]}`, "Content-Type": "application/json" },
      body: new Blob([huge]).stream(),
    });
    expect(await refusedWith(await exports.default.fetch(streamed), "payload-too-large")).toContain("262144");
  });

  it("of another content type names the one to use", async () => {
    await createService();
    const response = await exports.default.fetch(`http://coordinator${ALPHA}/commands`, {
      method: "POST",
      headers: { Authorization: `Bearer ${ADMIN}`, "Content-Type": "text/plain" },
      body: '{"command":"failover"}',
    });
    expect(await refusedWith(response, "invalid-request")).toContain("application/json");
  });
});

it("of a dataservice that was never created leaves nothing in storage", async () => {
  await refusedWith(await ask("/v1/dataservices/never"), "unknown-dataservice");
  await refusedWith(
    await ask("/v1/dataservices/never/commands", { body: { command: "failover" } }),
    "unknown-dataservice",
  );
  const never = env.COORDINATOR.getByName("never");
  const tables = await runInDurableObject(never, (_, { storage }) =>
    storage.sql.exec("SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_cf\\_%' ESCAPE '\\'").toArray(),
  );
  expect(tables).toEqual([]);
});

it("refuses everything with a remedy while a secret is missing", async () => {
  const worker = (await import("../../worker/index.ts")).default;
  const request = new Request(`http://coordinator${ALPHA}`, { headers: { Authorization: "Bearer undefined" } });
  for (const lacking of [{ ADMIN_TOKEN: "" }, { SECRET: "short" }]) {
    const response = await worker.fetch(request, { ...env, ...lacking });
    expect(await refusedWith(response, "coordinator-unavailable")).toContain(Object.keys(lacking)[0]);
  }
});

it("grants a lease whose version and end are authenticated by keys that storage does not hold", async () => {
  const service = await foundedService();
  const { reply } = service.members.db1;
  expect(macsOf(env.SECRET).vouched("alpha", reply?.mac ?? "")).toMatchObject({ version: reply?.version, epoch: 1 });
  expect(macsOf(env.SECRET).vouched("beta", reply?.mac ?? "")).toBeNull();
  expect(macsOf("another").vouched("alpha", reply?.mac ?? "")).toBeNull();
  expect(JSON.stringify(await stored())).not.toContain(reply?.mac);
});

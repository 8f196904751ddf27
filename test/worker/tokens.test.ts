import { evictDurableObject, reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { zTokenCreated, zTokens, type TokenCreated, type TokenLine } from "#shared/protocol/api.ts";
import {
  ask,
  createService,
  eventsOf,
  foundedService,
  pass,
  refusedWith,
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

const ALPHA = "/v1/dataservices/alpha";
const TOKENS = `${ALPHA}/tokens`;

async function make(body: unknown, token?: string): Promise<TokenCreated> {
  const response = await ask(TOKENS, { body, ...(token === undefined ? {} : { token }) });
  expect(response.status).toBe(201);
  return zTokenCreated.parse(await response.json());
}

async function list(): Promise<TokenLine[]> {
  return zTokens.parse(await (await ask(TOKENS)).json()).tokens;
}

function revoke(id: string, token?: string): Promise<Response> {
  return ask(`${TOKENS}/${id}`, { method: "DELETE", ...(token === undefined ? {} : { token }) });
}

describe("a token", () => {
  it("is shown once, listed without its text, and stored as its SHA-256", async () => {
    await createService();
    const made = await make({ kind: "operator", label: "on call" });
    expect(made.token).toContain(`rex_operator_alpha_${made.id}_`);
    const { token, ...line } = made;
    expect(await list()).toContainEqual(line);
    expect((await list()).map(({ kind, host }) => host ?? kind)).toEqual(
      expect.arrayContaining(["db1", "db2", "db3", "app1", "operator"]),
    );
    expect(JSON.stringify(await stored())).not.toContain(token.split("_").at(-1));
  });

  it("that is revoked is refused at once, and by the next incarnation too", async () => {
    const { members } = await foundedService();
    const [viewer, operator] = [await make({ kind: "viewer" }), await make({ kind: "operator" })];
    expect((await ask(ALPHA, { token: viewer.token })).status).toBe(200);
    expect(z.object({ id: z.literal(viewer.id) }).safeParse(await (await revoke(viewer.id)).json()).success).toBe(true);
    await refusedWith(await ask(ALPHA, { token: viewer.token }), "unauthorized");
    const own = (await list()).find(({ host }) => host === "db2")!;
    expect((await revoke(own.id, operator.token)).status).toBe(200);
    await refusedWith(await members.db2.speak(send), "unauthorized");
    await evictDurableObject(stub());
    await refusedWith(await members.db2.speak(send), "unauthorized");
    await refusedWith(await revoke(own.id), "unknown-token");
  });

  it("of an agent is rotated with two live ones; a third is refused", async () => {
    const { members } = await foundedService();
    const first = (await list()).find(({ host }) => host === "db3")!;
    const second = await make({ kind: "agent", host: "db3" });
    const detail = await refusedWith(await ask(TOKENS, { body: { kind: "agent", host: "db3" } }), "too-many-tokens");
    expect(detail).toContain(first.id);
    expect(detail).toContain(second.id);
    // Both are valid meanwhile, for their host and no other.
    const { db2, db3 } = members;
    expect((await db3.speak(send)).status).toBe(200);
    expect((await send({ ...db3.poll, seq: db3.poll.seq + 1 }, second.token)).status).toBe(200);
    await refusedWith(await send({ ...db2.poll, seq: db2.poll.seq + 1 }, second.token), "forbidden");
    await revoke(first.id);
    await refusedWith(await send({ ...db3.poll, seq: db3.poll.seq + 2 }, db3.token), "unauthorized");
    expect((await send({ ...db3.poll, seq: db3.poll.seq + 2 }, second.token)).status).toBe(200);
    expect((await make({ kind: "agent", host: "db3" })).host).toBe("db3");
  });

  it("is made by the administrator or an operator only, and for what exists", async () => {
    const { tokens } = await createService();
    const operator = await make({ kind: "operator" });
    const viewer = await make({ kind: "viewer", label: "wall screen" }, operator.token);
    const [any] = await list();
    for (const token of [viewer.token, tokens["db1"]!]) {
      await refusedWith(await ask(TOKENS, { token, body: { kind: "viewer" } }), "forbidden");
      await refusedWith(await revoke(any!.id, token), "forbidden");
    }
    expect((await ask(TOKENS, { token: viewer.token })).status).toBe(200);
    await refusedWith(await ask(TOKENS, { token: operator.token, body: { kind: "admin" } }), "invalid-request");
    await refusedWith(await ask(TOKENS, { body: { kind: "agent", host: "db9" } }), "unknown-member");
    await refusedWith(await ask(TOKENS, { body: { kind: "agent", host: "db1", label: "x" } }), "invalid-request");
    await refusedWith(await ask(TOKENS, { body: { kind: "viewer", label: " x" } }), "invalid-request");
    await refusedWith(await revoke("0123456789ab"), "unknown-token");
    await refusedWith(await revoke("nonsense"), "invalid-request");
  });

  it("of people is one of a hundred at most", async () => {
    await createService();
    for (let count = 0; count < 100; count += 1) await make({ kind: "viewer" });
    await refusedWith(await ask(TOKENS, { body: { kind: "operator" } }), "too-many-tokens");
    expect((await make({ kind: "agent", host: "db1" })).host).toBe("db1");
  });
});

describe("the event log", () => {
  it("says who made and revoked which token, and by whom a command was given", async () => {
    await foundedService();
    const operator = await make({ kind: "operator", label: "ann" });
    const agent = await make({ kind: "agent", host: "db1" }, operator.token);
    await revoke(agent.id, operator.token);
    await ask(`${ALPHA}/commands`, {
      token: operator.token,
      body: { command: "datasource-shun", member: "db2" },
    });
    const by = `operator:${operator.id}:ann`;
    expect(await eventsOf("token-created", "token-revoked", "operator-command")).toEqual([
      {
        kind: "token-created",
        data: { token: operator.id, tokenKind: "operator", host: null, label: "ann", by: "admin" },
      },
      { kind: "token-created", data: { token: agent.id, tokenKind: "agent", host: "db1", label: null, by } },
      { kind: "token-revoked", data: { token: agent.id, tokenKind: "agent", host: "db1", label: null, by } },
      { kind: "operator-command", data: { command: "datasource-shun", member: "db2", by, force: false } },
    ]);
  });

  it("tells what a valid token was refused, once a minute for each", async () => {
    await foundedService();
    const viewer = await make({ kind: "viewer" });
    const other = await make({ kind: "viewer" });
    const attempt = (token: string): Promise<Response> =>
      ask(`${ALPHA}/commands`, { token, body: { command: "failover" } });
    const told = (id: string) => ({
      kind: "forbidden",
      data: { token: id, tokenKind: "viewer", host: null, right: "command" },
    });
    for (let count = 0; count < 3; count += 1) {
      pass(1_000);
      await refusedWith(await attempt(viewer.token), "forbidden");
    }
    expect(await eventsOf("forbidden")).toEqual([told(viewer.id)]);
    const before = await rowsChanged();
    await refusedWith(await attempt(viewer.token), "forbidden");
    expect(await rowsChanged()).toBe(before);
    await refusedWith(await attempt(other.token), "forbidden");
    pass(60_000);
    await refusedWith(await attempt(viewer.token), "forbidden");
    expect(await eventsOf("forbidden")).toEqual([told(viewer.id), told(other.id), told(viewer.id)]);
  });
});

/** A real dataservice behind the real Worker, and the clock that its tests move. */
import { env, exports } from "cloudflare:workers";
import { runInDurableObject } from "cloudflare:test";
import { expect, vi } from "vitest";
import type { Created, EventLine, Events, OperationStatus, Status } from "#shared/protocol/api.ts";
import { ERRORS, type ErrorCode, type Problem } from "#shared/protocol/errors.ts";
import type { Poll } from "#shared/domain/messages.ts";
import { endStream, ScriptedMember, type Send } from "./members.ts";

export const ADMIN = "administrator-of-the-tests";
export const MEMBERS = ["db1", "db2", "db3"] as const;

interface Asked {
  method?: string;
  /** Null sends no Authorization header at all. */
  token?: string | null;
  body?: unknown;
}

/** One request to the HTTP API; a string body is sent as it stands. */
export function ask(path: string, { method, token = ADMIN, body }: Asked = {}): Promise<Response> {
  const headers = new Headers({ "Content-Type": "application/json" });
  if (token !== null) headers.set("Authorization", `Bearer ${token}`);
  const init: RequestInit = { method: method ?? (body === undefined ? "GET" : "POST"), headers };
  if (body !== undefined) init.body = typeof body === "string" ? body : JSON.stringify(body);
  return exports.default.fetch(`http://coordinator${path}`, init);
}

/** The response is this refusal, in the documented shape; returns its detail. */
export async function refusedWith(response: Response, code: ErrorCode): Promise<string> {
  const problem = await response.json<Problem>();
  expect(problem).toMatchObject({ code, status: ERRORS[code].status, type: `urn:interrex:error:${code}` });
  expect(response.status).toBe(ERRORS[code].status);
  expect(response.headers.get("Content-Type")).toBe("application/problem+json");
  return problem.detail;
}

export const CREATE = {
  name: "alpha",
  members: MEMBERS.map((name) => ({ name })),
  primary: "db1",
  routers: ["app1"],
};

export interface Service {
  members: Record<(typeof MEMBERS)[number], ScriptedMember>;
  tokens: Record<string, string>;
}

export async function createService(): Promise<Service> {
  const response = await ask("/v1/dataservices", { body: CREATE });
  const created = await response.json<Created>();
  const tokens = Object.fromEntries(created.tokens.map(({ host, token }) => [host, token]));
  const member = (name: string): ScriptedMember => new ScriptedMember(name, tokens[name] ?? "");
  return { members: { db1: member("db1"), db2: member("db2"), db3: member("db3") }, tokens };
}

export const send: Send = (poll: Poll, token: string) =>
  ask(`/v1/dataservices/${poll.dataservice}/poll`, { token, body: poll });

/** Lets time pass on every clock there is: the object and the members share it. */
export function pass(ms: number): void {
  vi.setSystemTime(Date.now() + ms);
}

/** Every member that is not silent polls once, `apartMs` after the one before. */
export async function round(service: Service, { silent = [] as string[], apartMs = 20 } = {}): Promise<void> {
  for (const member of Object.values(service.members)) {
    if (silent.includes(member.name)) continue;
    pass(apartMs);
    await member.speak(send);
  }
}

/** Rounds until `done` says so; throws after `limit` of them. */
export async function roundsUntil(
  service: Service,
  done: () => Promise<boolean> | boolean,
  options: { silent?: string[]; apartMs?: number; between?: (count: number) => Promise<void>; limit?: number } = {},
): Promise<number> {
  const limit = options.limit ?? 60;
  for (let count = 0; count < limit; count += 1) {
    if (await done()) return count;
    await round(service, options);
    await options.between?.(count);
  }
  throw new Error(`not done after ${limit} rounds: ${JSON.stringify(await status())}`);
}

export async function status(): Promise<Status> {
  return (await ask("/v1/dataservices/alpha")).json<Status>();
}

export async function operations(): Promise<OperationStatus[]> {
  const response = await ask("/v1/dataservices/alpha/operations");
  return (await response.json<{ operations: OperationStatus[] }>()).operations;
}

/** The events of these kinds, oldest first, without their numbers and times. */
export async function eventsOf(...kinds: string[]): Promise<Pick<EventLine, "kind" | "data">[]> {
  const { events } = await (await ask("/v1/dataservices/alpha/events?limit=1000")).json<Events>();
  return events.filter(({ kind }) => kinds.includes(kind)).map(({ kind, data }) => ({ kind, data }));
}

/** All members but those left out are online, under the primary of this epoch. */
export async function isWhole(epoch: number, without: string[] = []): Promise<boolean> {
  const seen = await status();
  if (seen.primary === null || seen.epoch !== epoch) return false;
  return seen.datasources.every(({ member, state }) => without.includes(member) || state === "online");
}

export async function foundedService(): Promise<Service> {
  const service = await createService();
  await roundsUntil(service, () => isWhole(1));
  return service;
}

/** The server of the primary dies and the replicas' streams end with it. */
export function killPrimary(service: Service): void {
  for (const member of Object.values(service.members)) {
    if (member.isOpen()) member.die();
    else endStream(member);
  }
}

export function stub() {
  return env.COORDINATOR.getByName("alpha");
}

/** Everything that the object has stored, table by table. */
export function stored(): Promise<Record<string, unknown[]>> {
  return runInDurableObject(stub(), (_, { storage }) => {
    const tables = [
      "meta",
      "state",
      "lease",
      "reigns",
      "events",
      "operations",
      "transcript",
      "tokens",
      "timers",
      "webhooks",
      "deliveries",
    ];
    return Object.fromEntries(tables.map((table) => [table, storage.sql.exec(`SELECT * FROM ${table}`).toArray()]));
  });
}

/** How many rows this object's connection has changed so far, the alarm's included. */
export function rowsChanged(): Promise<number> {
  return runInDurableObject(
    stub(),
    (_, { storage }) => storage.sql.exec<{ changes: number }>("SELECT total_changes() AS changes").one().changes,
  );
}

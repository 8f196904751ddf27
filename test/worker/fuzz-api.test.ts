/** Requests that nobody would send, by whoever holds which token: answered in the documented shape, and without a trace when refused. */
import { env } from "cloudflare:workers";
import { reset } from "cloudflare:test";
import * as fc from "fast-check";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ERRORS, type Problem } from "#shared/protocol/errors.ts";
import { mutated, runsOf } from "../fuzz/mutate.ts";
import { ADMIN, ask, CREATE, foundedService, pass, stored } from "./service.ts";

const RUNS = runsOf(120, (env as unknown as Record<string, string | undefined>)["FUZZ_RUNS"]);

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] });
});
afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

const ALPHA = "/v1/dataservices/alpha";

async function tokenOf(kind: "operator" | "viewer"): Promise<string> {
  const response = await ask(`${ALPHA}/tokens`, { body: { kind } });
  return (await response.json<{ token: string }>()).token;
}

/** What is asked of each place, and then made wrong. */
const BODIES: Record<string, unknown[]> = {
  "/v1/dataservices": [{ ...CREATE, name: "beta" }],
  [`${ALPHA}/commands`]: [
    { command: "failover", to: "db2" },
    { command: "switch", to: "db2" },
    { command: "recover" },
    { command: "set-policy", policy: "manual" },
    { command: "set-durability", durability: "sync", sync: { k: 1, onLoss: "block" } },
    { command: "datasource-fail", member: "db2" },
    { command: "datasource-shun", member: "db1", force: true },
    { command: "datasource-recover", member: "db3" },
  ],
  [`${ALPHA}/policy`]: [{ policy: "maintenance" }],
  [`${ALPHA}/durability`]: [{ durability: "sync", sync: { k: 1 } }],
  [`${ALPHA}/tokens`]: [
    { kind: "viewer", label: "x" },
    { kind: "agent", host: "db1" },
  ],
  [`${ALPHA}/webhooks`]: [{ url: "https://hooks.example/x" }],
};

const segment = fc.oneof(
  fc.constantFrom("v1", "dataservices", "alpha", "commands", "tokens", "webhooks", "events", "operations", "poll"),
  fc.constantFrom("", "..", "%2e%2e", "%00", "%", "constructor", "__proto__", "1", "-1", "1e9", "a".repeat(300)),
  fc.string({ maxLength: 12 }).map((text) => encodeURIComponent(text.toWellFormed())),
);
const anyPath = fc.array(segment, { maxLength: 6 }).map((segments) => `/${segments.join("/")}`);
const anyQuery = fc.constantFrom("", "?after=-1", "?after=1e99", "?limit=0", "?confirm=beta", "?force=maybe", "?%");

const almost = fc
  .constantFrom(...Object.entries(BODIES).flatMap(([path, bodies]) => bodies.map((body) => ({ path, body }))))
  .chain(({ path, body }) => fc.record({ path: fc.constant(path), body: mutated(body) }));

/** What is stored, but for the event that tells of a token that was used beyond its rights. */
async function kept(): Promise<Record<string, unknown[]>> {
  const { events = [], ...rest } = await stored();
  return { ...rest, events: events.filter((row) => !(row as { body: string }).body.startsWith('{"kind":"forbidden"')) };
}

it("are answered in the documented shape, and change nothing when they are refused", { timeout: 600_000 }, async () => {
  const { tokens } = await foundedService();
  const holders = [ADMIN, await tokenOf("operator"), await tokenOf("viewer"), tokens["db1"] ?? null, null, "rex_junk"];
  const method = fc.constantFrom("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS");
  const anyhow = fc.record({
    path: fc.tuple(anyPath, anyQuery).map((parts) => parts.join("")),
    body: fc.oneof(fc.constant(undefined), fc.jsonValue(), fc.string()),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(anyhow, almost),
      method,
      fc.constantFrom(...holders),
      fc.boolean(),
      async ({ path, body }, anyMethod, token, isProper) => {
        pass(10);
        const before = await kept();
        const proper = path.endsWith("/policy") || path.endsWith("/durability") ? "PUT" : "POST";
        const asked = isProper && body !== undefined ? proper : anyMethod;
        const hasBody = asked !== "GET" && asked !== "HEAD" && body !== undefined;
        const response = await ask(path, { method: asked, token, ...(hasBody ? { body } : {}) });
        const text = await response.text();
        expect([response.status, text]).toEqual([expect.toSatisfy((status: number) => status < 500), text]);
        if (response.status < 400) return;
        expect(await kept()).toEqual(before);
        if (asked === "HEAD") return;
        const { code, status } = JSON.parse(text) as Problem;
        expect([code, status]).toEqual([code, ERRORS[code].status]);
        expect(response.headers.get("Content-Type")).toBe("application/problem+json");
      },
    ),
    RUNS,
  );
});

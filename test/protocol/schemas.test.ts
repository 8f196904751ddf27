import { describe, expect, it, test } from "vitest";
import { z } from "zod";
import { zCreate, zOperatorCommand, zStatus } from "#shared/protocol/api.ts";
import { zCommand, zPoll, zReply } from "#shared/protocol/wire.ts";
import type { Command, Poll, Reply, Upstream } from "#shared/domain/messages.ts";

/** One value for every shape that the types allow at each place of a poll. */
const CLOCKS = { monoMs: 1.5, bootMs: 2, wallMs: 3 };

const POLL: Poll = {
  protocol: 1,
  dataservice: "alpha",
  host: "db1",
  startCount: 3,
  seq: 17,
  nonce: "4.12",
  nonceClocks: { ...CLOCKS },
  clocks: CLOCKS,
  epochSeen: 2,
  opSeen: 5,
  attempted: 2,
  ownEpoch: 2,
  released: 1,
  releaseCause: "server-died",
  version: 9,
  mac: "f".repeat(64),
  incarnation: "0b9d",
  place: "a1b2/66305:131",
  fenceMs: 1_500,
  hasLeaseDoor: true,
  electorateVersion: 1,
  policyVersion: 1,
  syncSeen: 0,
  leaseRemainingMs: -12.5,
  server: {
    phase: "open",
    endpoint: { host: "::1", port: 5432 },
    engine: "postgres",
    engineVersion: "18.4",
    systemId: "7300000000000000001",
    report: { state: "running", inRecovery: false, writable: true },
    position: {
      engine: "postgres",
      systemId: "7300000000000000001",
      timeline: 2,
      lsn: "0/3000060",
      history: [{ timeline: 1, endLsn: "0/2000000" }],
    },
    isWhole: true,
    furthest: { engine: "postgres", systemId: "7300000000000000001", timeline: 1, lsn: "0/1FFFFF8", history: [] },
    applied: 50_331_744,
    latencyMs: 0,
    receiver: { state: "none" },
    lookedAfter: "1.7",
    shutdownLsn: "0/3000028",
    tail: { timeline: 2, lsn: "0/3000060" },
    door: "shut",
    isDamaged: false,
    sync: { version: 3, k: 1, members: ["db2", "db3"] },
  },
  connector: { pid: 7, state: "on-hold", created: 4, active: 0, targets: [{ member: "db1", created: 4, active: 0 }] },
  peer: { host: "db1.example", port: 7432 },
  results: [{ id: "9.db1.promote", op: 5, outcome: "done", code: "", value: "7", detail: "" }],
  promises: [{ holder: "db1", epoch: 2, remainingMs: 100 }],
};

const UPSTREAM: Upstream = { member: "db1", host: "db1.example", port: 5432 };

const REPLY: Reply = {
  protocol: 1,
  answersSeq: 17,
  nonce: "4.13",
  version: 10,
  mac: "a".repeat(64),
  nextPollMs: 1_000,
  policy: "automatic",
  policyVersion: 1,
  lease: {
    epoch: 2,
    ttlMs: 5_000,
    promiseBindsMs: 7_000,
    hasLeaseDoor: true,
    electorateVersion: 1,
    electorate: ["db1", "db2"],
  },
  leaseEnded: { epoch: 1, mac: "b".repeat(64) },
  commands: [],
  sync: { version: 2, k: 1, members: ["db2"] },
  routes: [
    { service: "read-write", epoch: 2, target: { ...UPSTREAM }, hold: true, validMs: 4_000 },
    { service: "read-only", epoch: 2, targets: [{ ...UPSTREAM }], maxLatencyMs: 900_000, validMs: 4_000 },
  ],
  peers: [{ host: "db2", endpoint: { host: "db2.example", port: 7432 } }],
  call: ["db2"],
  peerKey: "c".repeat(64),
};

const HEAD = { id: "9.db1.x", op: 5, epoch: 2, deadlineMs: 5_000 };
const COMMANDS: Record<Command["kind"], Command> = {
  adopt: { kind: "adopt", ...HEAD },
  promote: { kind: "promote", proof: "released", timeline: 3, ...HEAD },
  follow: { kind: "follow", upstream: UPSTREAM, ...HEAD },
  freeze: { kind: "freeze", proof: "expired", ...HEAD },
  fence: { kind: "fence", patienceMs: 3_000, ...HEAD },
  prepare: { kind: "prepare", ...HEAD },
  shut: { kind: "shut", drainMs: 5_000, heir: "db2", ...HEAD },
  reopen: { kind: "reopen", ...HEAD },
  "ask-upstream": { kind: "ask-upstream", upstream: UPSTREAM, ...HEAD },
  "fetch-tail": {
    kind: "fetch-tail",
    from: { host: "db2", endpoint: { host: "db2.example", port: 7432 } },
    until: { timeline: 1, lsn: "0/3000000" },
    ...HEAD,
  },
  rebuild: { kind: "rebuild", upstream: UPSTREAM, fork: { timeline: 1, lsn: "0/3000000" }, ...HEAD },
  start: { kind: "start", ...HEAD },
};

/** The paths that a schema complains of, as `a.b.0`. */
function complaints(schema: z.ZodType, input: unknown): string[] {
  const result = schema.safeParse(input);
  return result.success ? [] : result.error.issues.map((issue) => issue.path.map(String).join("."));
}

/** The value with one field, deep inside, replaced. */
function withField(input: unknown, path: string, value: unknown): unknown {
  const copy = structuredClone(input) as Record<string, unknown>;
  const keys = path.split(".");
  const last = keys.pop() ?? "";
  const parent = keys.reduce<Record<string, unknown>>((at, key) => at[key] as Record<string, unknown>, copy);
  parent[last] = value;
  return copy;
}

/** Every path to a leaf of a value. */
function leaves(value: unknown, at: string[] = []): string[] {
  if (typeof value !== "object" || value === null) return [at.join(".")];
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...at, key]));
}

describe("a poll", () => {
  it("of every shape that the types allow is accepted and comes out as it went in", () => {
    const { server } = POLL;
    const servers = [
      server,
      null,
      server && {
        ...server,
        report: { state: "stopped" },
        position: null,
        applied: null,
        latencyMs: null,
        systemId: null,
        lookedAfter: "1.7",
        shutdownLsn: null,
        sync: null,
        tail: null,
      },
      server && { ...server, report: { state: "unresponsive" }, receiver: { state: "streaming", upstream: null } },
      server && { ...server, report: { state: "starting" }, receiver: { state: "ended", upstream: "db2" } },
      server && { ...server, receiver: { state: "frozen", op: 5 }, door: "open", isDamaged: true },
    ];
    for (const variant of servers) {
      const poll = { ...POLL, server: variant, nonce: null, nonceClocks: null, connector: null, peer: null };
      expect(zPoll.parse(poll)).toEqual(poll);
    }
    expect(zPoll.parse(POLL)).toEqual(POLL);
  });

  it.each(leaves(POLL))("with junk in %s is refused at that very path", (path) => {
    expect(complaints(zPoll, withField(POLL, path, { junk: true }))).toEqual([path]);
  });

  it.each(Object.keys(POLL).filter((key) => key !== "place"))("without %s is refused at that path", (key) => {
    const { [key as keyof Poll]: _, ...rest } = POLL;
    expect(complaints(zPoll, rest)).toEqual([key]);
  });

  it("with a field that nobody knows is refused", () => {
    expect(zPoll.safeParse({ ...POLL, mood: "good" }).error?.issues).toMatchObject([
      { code: "unrecognized_keys", keys: ["mood"] },
    ]);
  });

  test("of an agent of an earlier version does not say where its state lies", () => {
    const { place: _, ...poll } = POLL;
    expect(zPoll.parse(poll)).toEqual({ ...POLL, place: null });
  });

  it.each([
    ["host", "DB1"],
    ["host", "a".repeat(33)],
    ["seq", -1],
    ["seq", 1.5],
    ["seq", Number.MAX_SAFE_INTEGER + 1],
    ["clocks.wallMs", Number.NaN],
    ["server.position.lsn", "0/"],
    ["server.position.systemId", "abc"],
    ["server.endpoint.port", 65_536],
    ["mac", "f".repeat(2_049)],
  ])("with %s = %s is refused at that path", (path, value) => {
    expect(complaints(zPoll, withField(POLL, path, value))).toEqual([path]);
  });
});

describe("a reply", () => {
  it("of every shape that the types allow is accepted and comes out as it went in", () => {
    expect(zReply.parse(REPLY)).toEqual(REPLY);
    const empty = { ...REPLY, lease: null, leaseEnded: null, routes: [], peers: [] };
    expect(zReply.parse(empty)).toEqual(empty);
    const closed = { ...REPLY, routes: [{ service: "read-write", epoch: 2, target: null, hold: false, validMs: 0 }] };
    expect(zReply.parse(closed)).toEqual(closed);
    const commands = Object.values(COMMANDS);
    expect(zReply.parse({ ...REPLY, commands }).commands).toEqual(commands);
  });

  it.each(leaves(REPLY).filter((path) => path !== "commands"))(
    "with junk in %s is refused at that very path",
    (path) => {
      expect(complaints(zReply, withField(REPLY, path, { junk: true }))).toEqual([path]);
    },
  );

  it("with a command that no member knows is refused", () => {
    expect(complaints(zCommand, { ...HEAD, kind: "reboot" })).toEqual(["kind"]);
    expect(complaints(zCommand, { ...COMMANDS.promote, proof: "hearsay" })).toEqual(["proof"]);
    expect(complaints(zCommand, { ...COMMANDS.fence, upstream: {} })).toEqual([""]);
  });
});

describe("what operators send", () => {
  it("fills in what a creation leaves out", () => {
    expect(zCreate.parse({ name: "alpha", members: [{ name: "db1" }], primary: "db1" })).toEqual({
      name: "alpha",
      members: [{ name: "db1", priority: 100 }],
      primary: "db1",
      routers: [],
      durability: "async",
      restored: false,
      settings: {},
    });
  });

  it("names the field that is wrong", () => {
    const valid = { name: "alpha", members: [{ name: "db1" }], primary: "db1" };
    expect(complaints(zCreate, { ...valid, members: [{ name: "db1", priority: -1 }] })).toEqual(["members.0.priority"]);
    expect(complaints(zCreate, { ...valid, settings: { ttlMs: "5s" } })).toEqual(["settings.ttlMs"]);
    expect(complaints(zOperatorCommand, { command: "datasource-fail", member: "" })).toEqual(["member"]);
    expect(complaints(zOperatorCommand, { command: "explode" })).toEqual(["command"]);
  });

  it("are described by schemas that JSON Schema can express", () => {
    for (const schema of [zPoll, zReply, zCreate, zOperatorCommand, zStatus]) {
      expect(z.toJSONSchema(schema, { io: "input" })).toMatchObject({
        $schema: expect.stringContaining("json-schema"),
      });
    }
  });
});

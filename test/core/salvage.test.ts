/** The end of a dead primary's log: who fetches it, how long that is waited for, and what is said of it. */
import { describe, expect, test } from "vitest";
import type { ClusterStep } from "#shared/core/cluster/state.ts";
import type { Command, LogPoint } from "#shared/domain/messages.ts";
import type { Position } from "#shared/domain/position.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import {
  answerInquiry,
  frozenPatch,
  kindOf,
  openPatch,
  pass,
  passWithout,
  poll,
  releasedPatch,
  send,
  setDurable,
  STOPPED,
  WAIT_MS,
  type Cluster,
  type PollPatch,
} from "./builders.ts";
import { phases } from "./cluster-events.ts";

const { salvageMs } = DEFAULT_SETTINGS;
const PEER = { host: "db2.example", port: 7_432 };
const ENDED = { receiver: { state: "ended", upstream: "db2" } } as const;
const TAIL_BYTES = 0x700;

/** db2 has died with a tail of `TAIL_BYTES` that nobody has, and everybody's stream has ended; db4 speaks last. */
function dead({ salvage = salvageMs, peer = PEER, tail = true } = {}): Cluster {
  const cluster = phases["reigning-opened"]();
  const { durable } = cluster.state;
  const settings = { ...durable.settings, salvageMs: salvage };
  setDurable(cluster, { settings });
  const { until, beyond } = tailOf(cluster);
  const released = releasedPatch(2);
  const server = { ...released.server, report: STOPPED, position: beyond, tail: tail ? until : null };
  poll(cluster, "db2", { ...released, peer, server });
  poll(cluster, "db3", { server: ENDED });
  poll(cluster, "db4", { server: ENDED });
  return cluster;
}

function tailOf(cluster: Cluster): { until: LogPoint; beyond: Position } {
  const own = cluster.polls["db3"]?.server?.position;
  if (!own) throw new Error("db3 has a position");
  const lsn = `0/${(Number.parseInt(own.lsn.split("/")[1] ?? "", 16) + TAIL_BYTES).toString(16).toUpperCase()}`;
  return { until: { timeline: own.timeline, lsn }, beyond: { ...own, lsn } };
}

/** What the members were told last. */
function givenIn({ state }: Cluster): Command["kind"][] {
  return Object.values(state.durable.commands).map(({ kind }) => kind);
}

function commandIn({ answer }: ClusterStep): Command | undefined {
  return answer.kind === "reply" ? answer.reply.commands[0] : undefined;
}

/** What db3 answers to the newest command that it was given, at the place in the log where it is then. */
function answered(cluster: Cluster, how: "done" | "failed" | "accepted", lsn?: string): PollPatch {
  const command = cluster.state.durable.commands["db3"];
  if (command?.kind !== "fetch-tail") throw new Error("db3 was not told to fetch");
  const { id, op } = command;
  const code = how === "failed" ? "tail-not-had" : "";
  const known = cluster.polls["db3"]?.server?.position ?? null;
  const server = { ...ENDED, position: known && { ...known, lsn: lsn ?? known.lsn } };
  return { results: [{ id, op, outcome: how, code, value: "", detail: "" }], server };
}

describe("the tail of a dead primary's log", () => {
  test("is fetched by the winner alone, and the promotion comes with the answer to its success", () => {
    const cluster = dead();
    const { until } = tailOf(cluster);
    const told = poll(cluster, "db3", { server: ENDED });
    expect(commandIn(told)).toMatchObject({
      kind: "fetch-tail",
      from: { host: "db2", endpoint: PEER },
      until,
      deadlineMs: salvageMs,
      epoch: 2,
    });
    expect(commandIn(poll(cluster, "db4", { server: ENDED }))).toBeUndefined();
    expect(commandIn(poll(cluster, "db3", answered(cluster, "accepted")))).toBeUndefined();
    expect(kindOf(cluster.state.durable.phase)).toBe("collecting-natural");
    const crowned = poll(cluster, "db3", answered(cluster, "done", until.lsn));
    expect(commandIn(crowned)).toMatchObject({ kind: "promote", epoch: 3 });
    const salvaged = { kind: "tail-salvaged", op: expect.any(Number), member: "db3", from: "db2", bytes: TAIL_BYTES };
    expect(crowned.reasons).toContainEqual(salvaged);
    expect(crowned.reasons.map(({ kind }) => kind)).not.toContain("possible-loss");
  });

  test("leaves the dead primary on the line of its successor: it lacks nothing, and holds nothing more", () => {
    const cluster = dead();
    const { until } = tailOf(cluster);
    poll(cluster, "db3", { server: ENDED });
    poll(cluster, "db3", answered(cluster, "done", until.lsn));
    expect(cluster.state.durable.reigns.at(-1)).toMatchObject({ member: "db3", parent: 2, fork: { lsn: until.lsn } });
  });

  test("that cannot be had is told as lost, and the promotion goes on at once", () => {
    const cluster = dead();
    poll(cluster, "db3", { server: ENDED });
    const { reasons, ...crowned } = poll(cluster, "db3", answered(cluster, "failed"));
    expect(commandIn({ reasons, ...crowned })).toMatchObject({ kind: "promote" });
    expect(reasons).toContainEqual({
      kind: "tail-lost",
      op: expect.any(Number),
      member: "db3",
      from: "db2",
      bytes: TAIL_BYTES,
      code: "tail-not-had",
    });
    expect(reasons).toContainEqual({
      kind: "possible-loss",
      op: expect.any(Number),
      member: "db3",
      bytes: TAIL_BYTES,
    });
  });

  test("that does not come is given up when its time is over", () => {
    const cluster = dead();
    poll(cluster, "db3", { server: ENDED });
    pass(cluster, salvageMs - 1);
    send(cluster, { kind: "tick" });
    expect(kindOf(cluster.state.durable.phase)).toBe("collecting-natural");
    pass(cluster, 1);
    const given = send(cluster, { kind: "tick" });
    expect(given.reasons).toContainEqual(expect.objectContaining({ kind: "tail-lost", code: "not-in-time" }));
    expect(kindOf(cluster.state.durable.phase)).toBe("reigning-opening");
  });

  test("is fetched by another when its fetcher has died", () => {
    const cluster = dead();
    poll(cluster, "db3", { server: ENDED });
    poll(cluster, "db3", { server: { report: STOPPED } });
    const told = poll(cluster, "db4", { server: ENDED });
    expect(commandIn(told)).toMatchObject({ kind: "fetch-tail", from: { host: "db2" } });
  });

  test.each([
    ["it was read", { tail: false }],
    ["its agent can be spoken to", { peer: null as unknown as typeof PEER }],
    ["salvage is on", { salvage: 0 }],
  ])("is fetched only if %s", (_, without) => {
    const cluster = dead(without);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", primary: "db3" });
  });

  test("is fetched only from a server that is dead, and whose agent has vouched for that", () => {
    const startsAgain = phases["reigning-opened"]();
    const { until, beyond } = tailOf(startsAgain);
    const released = releasedPatch(2);
    const stopped = { ...released.server, report: STOPPED, position: beyond, tail: until };
    const starting = { ...stopped, report: { state: "starting" } } as const;
    poll(startsAgain, "db2", { ...released, peer: PEER, server: starting });
    for (const host of ["db4", "db3"]) poll(startsAgain, host, { server: ENDED });
    expect(startsAgain.state.durable.reigns.at(-1)).toMatchObject({ epoch: 3, member: "db3", proof: "released" });
    expect(givenIn(startsAgain)).not.toContain("fetch-tail");

    const silent = phases["reigning-opened"]();
    poll(silent, "db2", { ...openPatch(2), peer: PEER, server: stopped });
    passWithout(silent, WAIT_MS + 1_000, ["db1", "db2"]);
    answerInquiry(silent, ["db3", "db4"], "read-only");
    for (const host of ["db3", "db4"]) poll(silent, host);
    for (const host of ["db4", "db3"]) poll(silent, host, frozenPatch(silent));
    expect(silent.state.durable.reigns.at(-1)).toMatchObject({ epoch: 3, proof: "expired" });
    expect(givenIn(silent)).not.toContain("fetch-tail");
  });

  test("keeps nobody waiting who has it already", () => {
    const cluster = phases["reigning-opened"]();
    const { until, beyond } = tailOf(cluster);
    const released = releasedPatch(2);
    const server = { ...released.server, report: STOPPED, position: beyond, tail: until };
    poll(cluster, "db2", { ...released, peer: PEER, server });
    poll(cluster, "db4", { server: ENDED });
    const crowned = poll(cluster, "db3", { server: { ...ENDED, position: beyond } });
    expect(commandIn(crowned)).toMatchObject({ kind: "promote" });
  });
});

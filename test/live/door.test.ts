/** The kernel door on the kernel itself: what passes while a lease runs, and what does not once it is over. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { HeldLease } from "#shared/core/member/state.ts";
import { readBootId, readClocks } from "../../agent/clocks.ts";
import { KernelDoor, listDoors, removeDoor } from "../../agent/door/kernel-door.ts";
import { nft } from "../../agent/door/nft.ts";
import { orphansOf } from "../../agent/door/orphans.ts";
import { claimScript, doorTable, makeScript, refreshScript } from "../../agent/door/ruleset.ts";

const DEADLINE_MS = 10_000;
const LEASE_MS = 3_000;
/** The wall clock's bound is a whole second. */
const SECOND_MS = 1_000;
/** A server that says more than its client will read, and tells its port and then that it has said it. */
const TALKATIVE = `
  const server = require("node:net").createServer((socket) => {
    socket.on("error", () => {});
    socket.write(Buffer.alloc(16 << 20));
    setTimeout(() => console.log("said"), 200);
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
`;

const trial = await new KernelDoor({ table: "interrex_trial", port: 1 }, readClocks).probe();
const whyNot = trial.ok ? "" : ` (not here: ${trial.detail})`;

describe.skipIf(!trial.ok)(`a door in the kernel${whyNot}`, () => {
  let server: Server;
  let port: number;
  let table: string;
  let door: KernelDoor;
  const sockets: Socket[] = [];

  beforeEach(async () => {
    server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    ({ port } = server.address() as { port: number });
    table = doorTable({ dataservice: "test", host: `pid${process.pid}`, port });
    door = new KernelDoor({ table, port }, readClocks);
  });

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    server.close();
    await door.set({ kind: "none" });
    if ((await listDoors()).includes(table)) throw new Error(`left behind: nftables table inet ${table}`);
    await removeDoor(table);
    const left = (await listDoors()).filter((name) => name.startsWith(table));
    if (left.length > 0) throw new Error(`left behind: nftables table inet ${left.join(", ")}`);
  });

  /** Both ends of a new connection to the server. */
  async function converse(): Promise<{ client: Socket; host: Socket }> {
    const accepted = once(server, "connection") as Promise<[Socket]>;
    const client = connect(port, "127.0.0.1");
    const [host] = await accepted;
    for (const socket of [client, host]) socket.on("error", () => {});
    sockets.push(client, host);
    return { client, host };
  }

  /** Whether a word of each side reaches the other. */
  async function isPassing({ client, host }: { client: Socket; host: Socket }): Promise<void> {
    client.write("question");
    expect(String((await once(host, "data"))[0])).toBe("question");
    host.write("answer");
    expect(String((await once(client, "data"))[0])).toBe("answer");
  }

  /** The server's word ends its own connection, and the client has heard nothing. */
  async function isKeptIn({ client, host }: { client: Socket; host: Socket }): Promise<void> {
    const heard: string[] = [];
    const wasHeard = new Promise<void>((resolve) => {
      client.on("data", (data) => resolve(void heard.push(String(data))));
    });
    const ended = new Promise<void>((resolve, reject) => {
      host.once("close", () => resolve());
      setTimeout(() => reject(new Error("the connection was not ended")), 2 * DEADLINE_MS).unref();
    });
    host.write("acknowledged");
    await Promise.race([ended, wasHeard]);
    expect(heard).toEqual([]);
  }

  function leaseOf(ttlMs: number): HeldLease {
    return { epoch: 1, ttlMs, base: readClocks(), bootId: readBootId(), hasLeaseDoor: true };
  }

  async function untilOver({ base, ttlMs }: HeldLease): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, base.monoMs + ttlMs - readClocks().monoMs));
  }

  test("lets everything pass while the lease runs, and nothing of the server out after it", async () => {
    const line = await converse();
    const lease = leaseOf(LEASE_MS);
    expect(await door.set({ kind: "lease", lease })).toMatchObject({ ok: true });
    await isPassing(line);
    await isPassing(await converse());
    await untilOver(lease);
    await isKeptIn(line);
  });

  test("lets no word of a client in after it either", async () => {
    const { client, host } = await converse();
    const lease = leaseOf(LEASE_MS);
    await door.set({ kind: "lease", lease });
    const heard: string[] = [];
    host.on("data", (data) => heard.push(String(data)));
    await untilOver(lease);
    client.write("too late");
    await isKeptIn({ client, host });
    expect(heard).toEqual([]);
  });

  test("stays open as long as the lease is renewed, and after its end is opened by a new lease alone", async () => {
    const line = await converse();
    const first = leaseOf(LEASE_MS);
    await door.set({ kind: "lease", lease: first });
    const second = leaseOf(LEASE_MS + 2 * SECOND_MS);
    expect(await door.set({ kind: "lease", lease: second })).toMatchObject({ ok: true });
    await untilOver(first);
    await isPassing(line);
    await untilOver(second);
    expect(await door.set({ kind: "lease", lease: second })).toMatchObject({ ok: false, code: "lease-over" });
    await isKeptIn(line);
    expect(await door.set({ kind: "lease", lease: leaseOf(LEASE_MS) })).toMatchObject({ ok: true });
    await isPassing(await converse());
  });

  test("is counted by the kernel for what is left of the lease: a wall clock that is set back prolongs nothing", async () => {
    const { monoMs, bootMs, wallMs } = readClocks();
    const [ttlMs, usedMs] = [30_000, 20_000];
    const base = { monoMs: monoMs - usedMs, bootMs: bootMs - usedMs, wallMs: wallMs - usedMs };
    await door.set({ kind: "lease", lease: { ...leaseOf(ttlMs), base } });
    const listed = await nft(`list set inet ${table} lease\n`, { deadlineMs: DEADLINE_MS });
    if (!listed.ok) throw new Error(listed.detail);
    const [, seconds] = /expires (\d+)s/.exec(listed.value ?? "") ?? [];
    expect(Number(seconds)).toBeGreaterThan(0);
    expect(Number(seconds)).toBeLessThanOrEqual((ttlMs - usedMs) / SECOND_MS);
  });

  test("that is asked for again before it has gone stays", async () => {
    await door.set({ kind: "lease", lease: leaseOf(LEASE_MS) });
    const removal = door.set({ kind: "none" });
    // It has begun, and waits a moment before it does it.
    await turn();
    const renewal = door.set({ kind: "lease", lease: leaseOf(LEASE_MS) });
    expect(await removal).toMatchObject({ ok: false, code: "overtaken" });
    expect(await listDoors()).toContain(table);
    expect(await renewal).toMatchObject({ ok: true });
  });

  test("that is shut goes when a dead server has nothing left to say, not before", async () => {
    const child = spawn(process.execPath, ["-e", TALKATIVE], { stdio: ["ignore", "pipe", "inherit"] });
    let itsTable: string | null = null;
    try {
      const [told] = (await once(child.stdout, "data")) as [Buffer];
      const its = Number(String(told));
      const place = { table: doorTable({ dataservice: "test", host: `pid${process.pid}`, port: its }), port: its };
      itsTable = place.table;
      const itsDoor = new KernelDoor(place, readClocks);
      const lease = leaseOf(LEASE_MS);
      await itsDoor.set({ kind: "lease", lease });
      const client = connect(its, "127.0.0.1").pause();
      sockets.push(client);
      client.on("error", () => {});
      await once(child.stdout, "data");
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
      // The client has not read it: the kernel holds it for nobody.
      expect(orphansOf(its)).toBe(1);
      await untilOver(lease);
      expect(orphansOf(its)).toBe(1);
      expect(await itsDoor.set({ kind: "none" })).toMatchObject({ ok: true });
      expect(orphansOf(its)).toBe(0);
      expect(await listDoors()).not.toContain(place.table);
    } finally {
      child.kill("SIGKILL");
      if (itsTable !== null) await removeDoor(itsTable);
    }
  });

  test("is not opened by a transaction that was prepared under a lease and is carried out after it", async () => {
    const line = await converse();
    const late = { kind: "timed", forMs: 60_000, untilWallMs: Date.now() - 1 } as const;
    await nft(claimScript({ table, port }, "agent_1"), { deadlineMs: DEADLINE_MS });
    expect(await nft(makeScript({ table, port }, "agent_1", late), { deadlineMs: DEADLINE_MS })).toMatchObject({
      ok: true,
    });
    await isKeptIn(line);
  });

  test("that has run out is refreshed by nobody who does not know it", async () => {
    const passage = { kind: "timed", forMs: 1, untilWallMs: Date.now() + 60_000 } as const;
    await nft(claimScript({ table, port }, "agent_1"), { deadlineMs: DEADLINE_MS });
    expect(await nft(makeScript({ table, port }, "agent_1", passage), { deadlineMs: DEADLINE_MS })).toMatchObject({
      ok: true,
    });
    const renewed = refreshScript({ table, port }, { ...passage, forMs: 60_000 });
    expect(await nft(renewed, { deadlineMs: DEADLINE_MS })).toMatchObject({ ok: false, code: "nft-refused" });
  });

  test("is not made by an agent's late transaction once another agent has begun", async () => {
    await nft(claimScript({ table, port }, "agent_1"), { deadlineMs: DEADLINE_MS });
    // The later agent wants none.
    expect(await door.set({ kind: "none" })).toMatchObject({ ok: true });
    const late = { kind: "timed", forMs: 60_000, untilWallMs: Date.now() - 1 } as const;
    const script = makeScript({ table, port }, "agent_1", late);
    expect(await nft(script, { deadlineMs: DEADLINE_MS })).toMatchObject({ ok: false, code: "nft-refused" });
    await isPassing(await converse());
  });

  test("is made also after somebody has flushed all that the kernel held of it", async () => {
    await door.set({ kind: "none" });
    await removeDoor(table);
    const lease = leaseOf(LEASE_MS);
    expect(await door.set({ kind: "lease", lease })).toMatchObject({ ok: true });
    expect(await listDoors()).toContain(table);
  });

  test("that somebody has removed is made anew with the next renewal", async () => {
    await door.set({ kind: "lease", lease: leaseOf(LEASE_MS) });
    await nft(`delete table inet ${table}\n`, { deadlineMs: DEADLINE_MS });
    const lease = leaseOf(LEASE_MS);
    expect(await door.set({ kind: "lease", lease })).toMatchObject({ ok: true });
    expect(await listDoors()).toContain(table);
    const line = await converse();
    await untilOver(lease);
    await isKeptIn(line);
  });

  test("has no end in MAINTENANCE, and has one again after it", async () => {
    const line = await converse();
    await door.set({ kind: "lease", lease: leaseOf(LEASE_MS) });
    expect(await door.set({ kind: "endless" })).toMatchObject({ ok: true });
    await isPassing(line);
    const lease = leaseOf(LEASE_MS);
    expect(await door.set({ kind: "lease", lease })).toMatchObject({ ok: true });
    await untilOver(lease);
    await isKeptIn(line);
  });
});

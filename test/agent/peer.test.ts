/** The peer channel over real sockets. */
import { connect } from "node:net";
import { request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { PeerChannel } from "../../agent/peer/channel.ts";
import { isSigned, isTimely, readClaim, sign, SIGNATURE_HEADER, TOLERANCE_MS } from "../../agent/peer/signature.ts";

const KEY = "the key of alpha";
const SPACING_MS = 20;
const DEADLINE_MS = 5_000;

interface Heard {
  channel: PeerChannel;
  nudgedAtMs: number[];
  failures: string[];
  nudged: () => Promise<void>;
}

const opened: PeerChannel[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((channel) => channel.close()));
});

async function open(self: string): Promise<Heard> {
  const nudgedAtMs: number[] = [];
  const failures: string[] = [];
  let tell = () => {};
  const channel = await PeerChannel.open({
    self,
    host: "127.0.0.1",
    port: 0,
    onNudge: () => {
      nudgedAtMs.push(performance.now());
      tell();
    },
    onFailure: (peer) => failures.push(peer),
  });
  opened.push(channel);
  const nudged = () =>
    new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${self} was not nudged`)), DEADLINE_MS);
      tell = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  return { channel, nudgedAtMs, failures, nudged };
}

function acquaint(...all: { name: string; heard: Heard }[]): void {
  for (const { name, heard } of all) {
    const peers = all.filter((other) => other.name !== name);
    heard.channel.learn({
      peers: peers.map((other) => ({ host: other.name, endpoint: other.heard.channel.endpoint })),
      peerKey: KEY,
    });
  }
}

/** A request by hand; settles with its status. */
function post(port: number, headers: Record<string, string>, options: { path?: string; body?: string } = {}) {
  return new Promise<number>((resolve, reject) => {
    const outgoing = request(
      {
        host: "127.0.0.1",
        port,
        method: "POST",
        path: options.path ?? "/nudge",
        headers,
        agent: false,
        signal: AbortSignal.timeout(DEADLINE_MS),
      },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    outgoing.once("error", reject);
    outgoing.end(options.body ?? "");
  });
}

const signedNudge = { method: "POST", path: "/nudge", from: "db2", to: "db1", body: "" };

describe("a nudge", () => {
  test("makes those peers poll that it is for, and no others", async () => {
    const [one, two, three] = [await open("db1"), await open("db2"), await open("app1")];
    const other = await open("db3");
    const all = [one, two, three, other].map((heard, at) => ({ name: ["db1", "db2", "app1", "db3"][at] ?? "", heard }));
    acquaint(...all);
    const nudged = Promise.all([two.nudged(), three.nudged()]);
    one.channel.nudge(["db2", "app1", "stranger"]);
    await nudged;
    expect(one.nudgedAtMs).toEqual([]);
    expect(other.nudgedAtMs).toEqual([]);
    expect(one.failures).toEqual([]);
  });

  test("to a peer that is away fails in silence, and the next one is sent", async () => {
    const [one, two] = [await open("db1"), await open("db2")];
    acquaint({ name: "db1", heard: one }, { name: "db2", heard: two });
    await two.channel.close();
    one.channel.nudge(["db2"]);
    const again = await open("db2");
    acquaint({ name: "db1", heard: one }, { name: "db2", heard: again });
    const nudged = again.nudged();
    one.channel.nudge(["db2"]);
    await nudged;
    expect(one.failures).toEqual(["db2"]);
  });

  test("before any reply there is nobody to tell, and nobody is believed", async () => {
    const { channel, nudgedAtMs } = await open("db1");
    channel.nudge(["db2"]);
    const header = sign("", { ...signedNudge, atWallMs: Date.now() });
    expect(await post(channel.endpoint.port, { [SIGNATURE_HEADER]: header })).toBe(401);
    channel.learn({ peers: [], peerKey: "" });
    expect(await post(channel.endpoint.port, { [SIGNATURE_HEADER]: header })).toBe(401);
    expect(nudgedAtMs).toEqual([]);
  });

  test("a flood of them is one poll for each spacing, and the last of them counts", async () => {
    const [one, two] = [await open("db1"), await open("db2")];
    acquaint({ name: "db1", heard: one }, { name: "db2", heard: two });
    const header = sign(KEY, { ...signedNudge, atWallMs: Date.now() });
    const beganMs = performance.now();
    const statuses = await Promise.all(
      Array.from({ length: 200 }, () => post(one.channel.endpoint.port, { [SIGNATURE_HEADER]: header })),
    );
    const tookMs = performance.now() - beganMs;
    expect(new Set(statuses)).toEqual(new Set([204]));
    await pause(SPACING_MS * 2);
    expect(one.nudgedAtMs.length).toBeGreaterThanOrEqual(2);
    expect(one.nudgedAtMs.length).toBeLessThanOrEqual(Math.ceil((tookMs + SPACING_MS * 2) / SPACING_MS));
  });

  test("wanted a hundred times at once, a sender sends two", async () => {
    const [one, two] = [await open("db1"), await open("db2")];
    acquaint({ name: "db1", heard: one }, { name: "db2", heard: two });
    const nudged = two.nudged();
    for (let i = 0; i < 100; i += 1) one.channel.nudge(["db2"]);
    await nudged;
    await pause(SPACING_MS * 3);
    expect(two.nudgedAtMs.length).toBeLessThanOrEqual(2);
  });
});

describe("who is not believed", () => {
  const good = { ...signedNudge, atWallMs: Date.now() };
  test.each([
    ["no header", () => ({})],
    ["junk", () => ({ [SIGNATURE_HEADER]: "v1 db2 db1 now mac" })],
    ["another key", () => ({ [SIGNATURE_HEADER]: sign("another key", good) })],
    ["an old request", () => ({ [SIGNATURE_HEADER]: sign(KEY, { ...good, atWallMs: Date.now() - 61_000 }) })],
    ["a request of the future", () => ({ [SIGNATURE_HEADER]: sign(KEY, { ...good, atWallMs: Date.now() + 61_000 }) })],
    ["a request for another host", () => ({ [SIGNATURE_HEADER]: sign(KEY, { ...good, to: "db3" }) })],
    ["another path", () => ({ [SIGNATURE_HEADER]: sign(KEY, { ...good, path: "/other" }) })],
    ["another method", () => ({ [SIGNATURE_HEADER]: sign(KEY, { ...good, method: "PUT" }) })],
    ["another body", () => ({ [SIGNATURE_HEADER]: sign(KEY, { ...good, body: "else" }) })],
    ["another sender", () => ({ [SIGNATURE_HEADER]: sign(KEY, good).replace("db2", "db3") })],
  ] as [string, () => Record<string, string>][])("%s", async (_, headers) => {
    const one = await open("db1");
    one.channel.learn({ peers: [], peerKey: KEY });
    expect(await post(one.channel.endpoint.port, headers())).toBe(401);
    await pause(10);
    expect(one.nudgedAtMs).toEqual([]);
  });

  test("an authentic request that there is not, and a body that is too large", async () => {
    const one = await open("db1");
    one.channel.learn({ peers: [], peerKey: KEY });
    const { port } = one.channel.endpoint;
    const other = sign(KEY, { ...good, path: "/other" });
    expect(await post(port, { [SIGNATURE_HEADER]: other }, { path: "/other" })).toBe(404);
    const body = "x".repeat(65_537);
    const large = sign(KEY, { ...good, body });
    const status = await post(port, { [SIGNATURE_HEADER]: large }, { body }).catch(
      (error: NodeJS.ErrnoException) => error.code,
    );
    expect([413, "ECONNRESET", "EPIPE"]).toContain(status);
    expect(one.nudgedAtMs).toEqual([]);
  });

  test("a connection on which nothing comes is closed", async () => {
    const one = await open("db1");
    const socket = connect(one.channel.endpoint.port, "127.0.0.1");
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    socket.on("error", () => {}).resume();
    await closed;
    expect(one.nudgedAtMs).toEqual([]);
  });
});

describe("a signature", () => {
  test("holds for exactly what was signed, for a minute", () => {
    const signed = { ...signedNudge, atWallMs: 1_000_000 };
    const claim = readClaim(sign(KEY, signed));
    if (!claim) throw new Error("no claim");
    expect(isSigned(KEY, claim, signed)).toBe(true);
    expect(isSigned("another", claim, signed)).toBe(false);
    expect(isSigned(KEY, claim, { ...signed, body: "x" })).toBe(false);
    const asked = { ...signed, body: "the epoch is 3" };
    const question = readClaim(sign(KEY, asked)) ?? claim;
    expect(isSigned(KEY, question, asked)).toBe(true);
    expect(isSigned(KEY, question, { ...asked, body: "the epoch is 4" })).toBe(false);
    expect(isTimely(claim, "db1", 1_000_000 + TOLERANCE_MS)).toBe(true);
    expect(isTimely(claim, "db1", 1_000_001 + TOLERANCE_MS)).toBe(false);
    expect(isTimely(claim, "db1", 999_999 - TOLERANCE_MS)).toBe(false);
    expect(isTimely(claim, "db2", 1_000_000)).toBe(false);
  });
});

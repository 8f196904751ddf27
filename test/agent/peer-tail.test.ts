/** The end of a dead server's log, asked for over real sockets. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { PeerChannel } from "../../agent/peer/channel.ts";
import type { TailRequest } from "../../agent/peer/tail.ts";

const KEY = "the key of alpha";
const WITHIN_MS = 2_000;
const WANTED: TailRequest = { epoch: 2, until: { timeline: 1, lsn: "0/3000700" }, from: "0/3000000", bytes: 0x700 };

const opened: { close: () => Promise<unknown> }[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((each) => each.close()));
});

async function open(self: string, giveTail: (wanted: TailRequest) => Promise<Buffer | null>): Promise<PeerChannel> {
  const options = { self, host: "127.0.0.1", port: 0, onNudge: () => {}, onFailure: () => {}, desk: { giveTail } };
  const channel = await PeerChannel.open(options);
  channel.learn({ peers: [], peerKey: KEY });
  opened.push(channel);
  return channel;
}

const nothing = () => Promise.resolve(null);

describe("a piece of the tail", () => {
  test("comes as it lies there, for what was asked", async () => {
    const asked: TailRequest[] = [];
    const dead = await open("db1", async (wanted) => {
      asked.push(wanted);
      return Buffer.alloc(wanted.bytes, 7);
    });
    const heir = await open("db2", nothing);
    const piece = await heir.fetchTail({ host: "db1", endpoint: dead.endpoint }, WANTED, WITHIN_MS);
    expect(piece.equals(Buffer.alloc(WANTED.bytes, 7))).toBe(true);
    expect(asked).toEqual([WANTED]);
  });

  test("is not given by an agent that may not", async () => {
    const dead = await open("db1", nothing);
    const heir = await open("db2", nothing);
    const peer = { host: "db1", endpoint: dead.endpoint };
    await expect(heir.fetchTail(peer, WANTED, WITHIN_MS)).rejects.toThrow("HTTP 409");
  });

  test("is given to nobody without the key, and by nobody under another name", async () => {
    const dead = await open("db1", async ({ bytes }) => Buffer.alloc(bytes));
    const stranger = await open("db2", nothing);
    stranger.learn({ peers: [], peerKey: "another key" });
    const asDb1 = { host: "db1", endpoint: dead.endpoint };
    await expect(stranger.fetchTail(asDb1, WANTED, WITHIN_MS)).rejects.toThrow("HTTP 401");
    const heir = await open("db2", nothing);
    const asDb3 = { host: "db3", endpoint: dead.endpoint };
    await expect(heir.fetchTail(asDb3, WANTED, WITHIN_MS)).rejects.toThrow("HTTP 401");
  });

  test("longer than one may be is refused", async () => {
    const dead = await open("db1", async ({ bytes }) => Buffer.alloc(bytes));
    const heir = await open("db2", nothing);
    const peer = { host: "db1", endpoint: dead.endpoint };
    const tooMuch = { ...WANTED, bytes: 5 * 1_024 * 1_024 };
    await expect(heir.fetchTail(peer, tooMuch, WITHIN_MS)).rejects.toThrow("HTTP 400");
  });

  test("from one who cannot sign it is not taken", async () => {
    const impostor: Server = createServer((request, response) => {
      request.resume();
      response.end(Buffer.alloc(WANTED.bytes));
    });
    await new Promise<void>((resolve) => impostor.listen(0, "127.0.0.1", resolve));
    opened.push({ close: () => new Promise((resolve) => impostor.close(resolve)) });
    const { port } = impostor.address() as AddressInfo;
    const heir = await open("db2", nothing);
    const peer = { host: "db1", endpoint: { host: "127.0.0.1", port } };
    await expect(heir.fetchTail(peer, WANTED, WITHIN_MS)).rejects.toThrow("not signed");
  });
});

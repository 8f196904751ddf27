/** Whoever has no key holds nothing of the peer channel: no connection, and not its end. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import type { Endpoint } from "#shared/domain/messages.ts";
import { PeerChannel } from "../../agent/peer/channel.ts";
import { KEY, REQUEST } from "./asking.ts";

const MOST_CONNECTIONS = 256;
const ASK_AGAIN_MS = 100;

const REQUESTS = {
  "for a tunnel": "CONNECT coordinator:0 HTTP/1.1\r\nhost: x\r\n\r\n",
  "with an expectation": "POST /promise HTTP/1.1\r\nhost: x\r\nexpect: much\r\ncontent-length: 0\r\n\r\n",
  "without a signature": "POST /promise HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
};

const sockets: Socket[] = [];
const channels: PeerChannel[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(channels.splice(0).map((channel) => channel.close()));
});

async function open(self: string): Promise<PeerChannel> {
  const desk = { onPromise: () => Promise.resolve(null) };
  const channel = await PeerChannel.open({ self, host: "127.0.0.1", port: 0, onNudge() {}, onFailure() {}, desk });
  channels.push(channel);
  return channel;
}

/** Asks, hears what is answered, and never ends its own side. */
async function stranger(at: Endpoint, words: string): Promise<{ socket: Socket; heard: string }> {
  const socket = connect({ ...at, allowHalfOpen: true });
  sockets.push(socket);
  socket.on("error", () => socket.destroy());
  socket.write(words);
  const [data] = (await once(socket, "data")) as [Buffer];
  return { socket, heard: data.toString().split("\r\n")[0] ?? "" };
}

describe("a stranger", () => {
  test.each(Object.entries(REQUESTS))("that asks %s is refused", async (_, words) => {
    const { endpoint } = await open("db1");
    expect((await stranger(endpoint, words)).heard).toMatch(/^HTTP\/1\.1 4(01|17) /);
  });

  test.each(Object.entries(REQUESTS))("that asked %s and stays is not waited for at the end", async (_, words) => {
    const channel = await open("db1");
    const { socket } = await stranger(channel.endpoint, words);
    await channel.close();
    expect(socket.writableEnded).toBe(false);
  });

  test.each(Object.entries(REQUESTS))("however many asked %s and stay, promises are given", async (_, words) => {
    const [db1, db2] = [await open("db1"), await open("db2")];
    db1.learn({ peers: [{ host: "db2", endpoint: db2.endpoint }], peerKey: KEY });
    db2.learn({ peers: [{ host: "db1", endpoint: db1.endpoint }], peerKey: KEY });
    await Promise.all(Array.from({ length: MOST_CONNECTIONS }, () => stranger(db2.endpoint, words)));
    const promised: string[] = [];
    while (promised.length === 0) {
      db1.askPromises(["db2"], REQUEST, (by) => promised.push(by));
      await pause(ASK_AGAIN_MS);
    }
    expect(promised[0]).toBe("db2");
  });
});

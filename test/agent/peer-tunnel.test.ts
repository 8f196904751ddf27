/** What an agent carries for a peer is bounded: in bytes, in time, and in how many at once. */
import { once } from "node:events";
import { createServer, connect, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Carrier } from "../../agent/peer/tunnel.ts";
import { listenOn } from "./asking.ts";

const MOST = 16;

let peer: Carrier;
let coordinator: { port: number; close: () => void };
/** Connections as the coordinator sees them. */
let arrived: Socket[];
let doorServer: Server;
let door: { port: number; close: () => void };
const askers: Socket[] = [];

beforeEach(async () => {
  arrived = [];
  const server: Server = createServer((socket) => void arrived.push(socket));
  coordinator = await listenOn(server);
  peer = new Carrier({ host: "127.0.0.1", port: coordinator.port });
  doorServer = createServer({ allowHalfOpen: true }, (socket) => peer.carry(socket, Buffer.alloc(0)));
  door = await listenOn(doorServer);
});

afterEach(() => {
  vi.useRealTimers();
  for (const asker of askers.splice(0)) asker.destroy();
  peer.close();
  door.close();
  coordinator.close();
});

/** Somebody whose connection is carried, and the first that it hears. */
async function ask(): Promise<{ asker: Socket; heard: string }> {
  const asker = connect(door.port, "127.0.0.1");
  askers.push(asker);
  asker.on("error", () => asker.destroy());
  const [data] = (await once(asker, "data")) as [Buffer];
  return { asker, heard: data.toString().split("\r\n")[0] ?? "" };
}

describe("a peer", () => {
  test("carries bytes both ways", async () => {
    const { asker, heard } = await ask();
    expect(heard).toBe("HTTP/1.1 200 carried");
    asker.write("a poll");
    expect(String((await once(arrived[0] as Socket, "data"))[0])).toBe("a poll");
    arrived[0]?.write("a reply");
    expect(String((await once(asker, "data"))[0])).toBe("a reply");
  });

  test("carries no more at one time than a few, and others again when those are done", async () => {
    const first = await Promise.all(Array.from({ length: MOST }, () => ask()));
    expect(new Set(first.map(({ heard }) => heard))).toEqual(new Set(["HTTP/1.1 200 carried"]));
    expect((await ask()).heard).toBe("HTTP/1.1 503 busy");
    const ended = once(arrived[0] as Socket, "close");
    first[0]?.asker.destroy();
    for (const { asker } of first) asker.destroy();
    await ended;
    let { heard } = await ask();
    while (heard === "HTTP/1.1 503 busy") ({ heard } = await ask());
    expect(heard).toBe("HTTP/1.1 200 carried");
  });

  test("cuts off whom it does not carry, also one that never ends its own side", async () => {
    await Promise.all(Array.from({ length: MOST }, () => ask()));
    const asker = connect({ port: door.port, host: "127.0.0.1", allowHalfOpen: true });
    askers.push(asker);
    const [refused] = (await once(doorServer, "connection")) as [Socket];
    asker.on("error", () => {}).resume();
    await once(refused, "close");
    expect(asker.writableEnded).toBe(false);
  });

  test("ends what carries more than a poll and its answer could be", async () => {
    const { asker } = await ask();
    const socket = arrived[0] as Socket;
    socket.resume();
    const ended = once(socket, "close");
    const chunk = Buffer.alloc(1 << 20);
    for (let sent = 0; sent < 8; sent += 1) asker.write(chunk);
    await ended;
    expect(socket.bytesRead).toBeLessThanOrEqual(4 << 20);
  });

  test("ends what takes longer than a poll may", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { asker } = await ask();
    const ended = once(asker, "close");
    vi.advanceTimersByTime(4_999);
    asker.write("a poll");
    expect(String((await once(arrived[0] as Socket, "data"))[0])).toBe("a poll");
    vi.advanceTimersByTime(1);
    await ended;
    expect(asker.destroyed).toBe(true);
  });
});

import { expect, test } from "vitest";
import { Flow } from "../../agent/connector/flow.ts";
import { Stage } from "./peers.ts";

test("no more than one chunk waits for the kernel", async () => {
  const stage = new Stage();
  const { server, port } = await stage.server();
  const sender = await stage.client(port);
  const source = await server.next();
  const destination = await stage.client(port);
  const receiver = await server.next();
  source.socket.removeAllListeners("data").pause();
  receiver.socket.pause();
  let longest = 0;
  let queued = 0;
  const flow = new Flow({
    source: source.socket,
    destination: destination.socket,
    first: Buffer.alloc(1),
    mayForward: () => {
      queued = Math.max(queued, destination.socket.writableLength);
      return true;
    },
  });
  source.socket.on("data", (chunk: Buffer) => {
    longest = Math.max(longest, chunk.length);
  });
  flow.advance();
  const bytes = 32 * 1_048_576;
  sender.say(Buffer.alloc(bytes));
  for (let round = 0; round < 100; round += 1) await stage.settled();
  const held = destination.socket.writableLength;
  receiver.socket.resume();
  await receiver.heard(1 + bytes);
  await stage.close();
  expect(queued).toBe(0);
  expect(held).toBeGreaterThan(0);
  expect(held).toBeLessThanOrEqual(longest);
});

test("the end of an earlier chunk is not taken for the end of the one under way", async () => {
  const stage = new Stage();
  const { server, port } = await stage.server();
  await stage.client(port);
  const source = await server.next();
  const destination = await stage.client(port);
  const receiver = await server.next();
  source.socket.removeAllListeners("data").pause();
  receiver.socket.pause();
  const mayForward = (): boolean => true;
  const flow = new Flow({ source: source.socket, destination: destination.socket, first: Buffer.alloc(1), mayForward });
  flow.advance();
  source.socket.emit("data", Buffer.alloc(32 * 1_048_576));
  await stage.settled();
  const isPaused = source.socket.isPaused();
  receiver.socket.resume();
  await receiver.heard(1 + 32 * 1_048_576);
  await stage.settled();
  const isResumed = !source.socket.isPaused();
  await stage.close();
  expect([isPaused, isResumed]).toEqual([true, true]);
});

test("a proof that comes while a chunk waits for the kernel has no other read before it", async () => {
  const stage = new Stage();
  const { server, port } = await stage.server();
  const sender = await stage.client(port);
  const source = await server.next();
  const destination = await stage.client(port);
  const receiver = await server.next();
  source.socket.removeAllListeners("data").pause();
  receiver.socket.pause();
  let asked = 0;
  const mayForward = (): boolean => (asked += 1) > 0;
  const first = Buffer.alloc(32 * 1_048_576);
  const flow = new Flow({ source: source.socket, destination: destination.socket, first, mayForward });
  flow.advance();
  sender.say("the next");
  flow.advance();
  for (let round = 0; round < 20; round += 1) await stage.settled();
  const askedMeanwhile = asked;
  receiver.socket.resume();
  await receiver.heard(first.length + "the next".length);
  await stage.close();
  expect(askedMeanwhile).toBe(1);
  expect(asked).toBe(2);
});

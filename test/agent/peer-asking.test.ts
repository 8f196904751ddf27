/** Questions between agents whose answers count, and polls that a peer carries, over real sockets. */
import { createServer, request, type RequestListener, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { routerPollOf } from "#shared/core/member/poll.ts";
import { freshDurable, freshLive, UNSEEN } from "#shared/core/member/state.ts";
import type { PromiseRequest, ReaderQuestion, Route } from "#shared/domain/messages.ts";
import { CoordinatorClient } from "../../agent/coordinator-client.ts";
import { PeerChannel, type PeerChannelOptions } from "../../agent/peer/channel.ts";
import { sign, SIGNATURE_HEADER } from "../../agent/peer/signature.ts";
import { destinationOf } from "../../agent/peer/tunnel.ts";
import { EMPTY_REPLY, onPoll, signedWith } from "./reply.ts";
import { KEY, REQUEST, ROUTE } from "./asking.ts";

const opened: { close: () => unknown }[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((one) => one.close()));
});

async function open(self: string, parts: Partial<PeerChannelOptions> = {}) {
  const failures: string[] = [];
  const channel = await PeerChannel.open({
    self,
    host: "127.0.0.1",
    port: 0,
    onNudge: () => {},
    onFailure: (peer, { message }) => failures.push(`${peer}: ${message}`),
    ...parts,
  });
  opened.push(channel);
  return { channel, failures };
}

/** db1 knows where db2 is; both know the key. */
function acquaint(one: PeerChannel, two: PeerChannel): void {
  one.learn({ peers: [{ host: "db2", endpoint: two.endpoint }], peerKey: KEY });
  two.learn({ peers: [{ host: "db1", endpoint: one.endpoint }], peerKey: KEY });
}

async function serve(listener: RequestListener): Promise<{ server: Server; port: number }> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  opened.push({ close: () => (server.closeAllConnections(), server.close()) });
  return { server, port: (server.address() as AddressInfo).port };
}

function promised(channel: PeerChannel, of: string[]): Promise<string> {
  return new Promise((resolve) => channel.askPromises(of, REQUEST, resolve));
}

/** What the failures of a channel are once there is one. */
async function firstOf(failures: string[]): Promise<string> {
  while (failures.length === 0) await new Promise((resolve) => setImmediate(resolve));
  return failures[0] ?? "";
}

describe("a promise", () => {
  test("that is given is heard of, with the request as it was sent", async () => {
    const heard: PromiseRequest[] = [];
    const one = await open("db1");
    const two = await open("db2", {
      desk: { onPromise: (asked) => (heard.push(asked), Promise.resolve(null)), route: () => null },
    });
    acquaint(one.channel, two.channel);
    expect(await promised(one.channel, ["db2"])).toBe("db2");
    expect(heard).toEqual([REQUEST]);
  });

  test.each([
    ["refused", () => Promise.resolve("epoch-superseded"), "epoch-superseded"],
    ["not kept", () => Promise.reject(new Error("disk full")), "no promise"],
  ])("that is %s is none", async (_, onPromise, why) => {
    const one = await open("db1");
    const two = await open("db2", { desk: { onPromise, route: () => null } });
    acquaint(one.channel, two.channel);
    let count = 0;
    one.channel.askPromises(["db2"], REQUEST, () => (count += 1));
    expect(await firstOf(one.failures)).toContain(why);
    expect(count).toBe(0);
  });

  test("is given by no agent that looks after no server", async () => {
    const one = await open("db1");
    const two = await open("db2");
    acquaint(one.channel, two.channel);
    let count = 0;
    one.channel.askPromises(["db2"], REQUEST, () => (count += 1));
    expect(await firstOf(one.failures)).toContain("not-founded");
    expect(count).toBe(0);
  });

  test("is asked for by its holder itself only", async () => {
    const heard: PromiseRequest[] = [];
    const three = await open("db3");
    const two = await open("db2", {
      desk: { onPromise: (asked) => (heard.push(asked), Promise.resolve(null)), route: () => null },
    });
    three.channel.learn({ peers: [{ host: "db2", endpoint: two.channel.endpoint }], peerKey: KEY });
    two.channel.learn({ peers: [], peerKey: KEY });
    three.channel.askPromises(["db2"], REQUEST, () => {});
    await firstOf(three.failures);
    expect(heard).toEqual([]);
  });

  test("said by somebody who does not hold the key is none", async () => {
    const { port } = await serve((_, response) => response.writeHead(200).end());
    const { channel, failures } = await open("db1");
    channel.learn({ peers: [{ host: "db2", endpoint: { host: "127.0.0.1", port } }], peerKey: KEY });
    let count = 0;
    channel.askPromises(["db2"], REQUEST, () => (count += 1));
    expect(await firstOf(failures)).toContain("not signed");
    expect(count).toBe(0);
  });

  test("can still be asked for when a coordinator that has just begun names nobody", async () => {
    const one = await open("db1");
    const two = await open("db2", { desk: { onPromise: () => Promise.resolve(null), route: () => null } });
    acquaint(one.channel, two.channel);
    one.channel.learn({ peers: [], peerKey: KEY });
    expect(await promised(one.channel, ["db2"])).toBe("db2");
  });
});

describe("a route", () => {
  test("is what the primary's own agent proves, or nothing", async () => {
    const known: { route: Route | null } = { route: ROUTE };
    const one = await open("db1");
    const two = await open("db2", { desk: { onPromise: () => Promise.resolve(null), route: () => known.route } });
    acquaint(one.channel, two.channel);
    expect(await one.channel.askRoute("db2")).toEqual(ROUTE);
    known.route = null;
    expect(await one.channel.askRoute("db2")).toBe(null);
    expect(await one.channel.askRoute("db9")).toBe(null);
  });
});

describe("a replica", () => {
  const QUESTION = { primary: "db1", epoch: 3, maxLatencyMs: 500 };
  const TARGET = { member: "db2", host: "127.0.0.1", port: 5_432 };

  test("says itself whether it may be read from, under the reign that it is asked about", async () => {
    const asked: ReaderQuestion[] = [];
    const one = await open("db1");
    const readable = (question: ReaderQuestion) => (asked.push(question), question.epoch === 3 ? TARGET : null);
    const two = await open("db2", { desk: { readable } });
    acquaint(one.channel, two.channel);
    expect(await one.channel.askReader("db2", QUESTION)).toEqual(TARGET);
    expect(await one.channel.askReader("db2", { ...QUESTION, epoch: 4 })).toBe(null);
    expect(asked).toEqual([QUESTION, { ...QUESTION, epoch: 4 }]);
    expect(await one.channel.askReader("db9", QUESTION)).toBe(null);
  });

  test("is asked nothing that is no such question", async () => {
    const one = await open("db1");
    const two = await open("db2", { desk: { readable: () => TARGET } });
    acquaint(one.channel, two.channel);
    expect(await one.channel.askReader("db2", { ...QUESTION, epoch: -1 })).toBe(null);
  });
});

const TOLD = { bootId: "b", fenceMs: 1_500, endpoint: { host: "127.0.0.1", port: 1 }, view: UNSEEN, nextPollMs: 1_000 };
const POLL = routerPollOf(
  { durable: freshDurable({ dataservice: "alpha", host: "db1" }, "i"), live: freshLive(TOLD) },
  { seq: 1, clocks: { monoMs: 1, bootMs: 1, wallMs: 1 }, connector: null, peer: null },
);

/** A port at which nobody listens any more. */
async function deadPort(): Promise<number> {
  const { server, port } = await serve(() => {});
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe("a poll", () => {
  test("reaches the coordinator by way of a peer when the direct way is shut, unchanged", async () => {
    const seen: { authorization: string | undefined; body: string }[] = [];
    const { port } = await serve(
      onPoll((body, response, { headers }) => {
        seen.push({ authorization: headers.authorization, body });
        const text = JSON.stringify(EMPTY_REPLY);
        return response.writeHead(200, signedWith("rex_agent", body, text)).end(text);
      }),
    );
    const one = await open("db1");
    const two = await open("db2", { coordinator: { host: "127.0.0.1", port } });
    acquaint(one.channel, two.channel);
    const client = new CoordinatorClient({
      coordinator: `http://127.0.0.1:${await deadPort()}`,
      dataservice: "alpha",
      token: "rex_agent",
      timeoutMs: 2_000,
    });
    expect(await client.poll(POLL, one.channel.detours())).toEqual({ kind: "reply", reply: EMPTY_REPLY });
    expect(seen).toEqual([{ authorization: "Bearer rex_agent", body: JSON.stringify(POLL) }]);
    client.close();
  });

  test("that no way answers is unreachable", async () => {
    const one = await open("db1");
    const two = await open("db2", { coordinator: { host: "127.0.0.1", port: await deadPort() } });
    acquaint(one.channel, two.channel);
    const coordinator = `http://127.0.0.1:${await deadPort()}`;
    const client = new CoordinatorClient({ coordinator, dataservice: "alpha", token: "t", timeoutMs: 500 });
    expect(await client.poll(POLL, one.channel.detours())).toMatchObject({ kind: "unreachable" });
    client.close();
  });

  test("is carried for nobody without the key, and to nowhere but the coordinator", async () => {
    const reached: string[] = [];
    const { port } = await serve((incoming, response) => (reached.push(incoming.url ?? ""), response.end()));
    const two = await open("db2", { coordinator: { host: "127.0.0.1", port } });
    two.channel.learn({ peers: [], peerKey: KEY });
    const signedFor = (key: string, path: string) =>
      sign(key, { method: "CONNECT", path, from: "db1", to: "db2", atWallMs: Date.now(), body: "" });
    const tries = [
      { path: "coordinator:0", signature: signedFor("another key", "coordinator:0") },
      { path: "elsewhere:80", signature: signedFor(KEY, "elsewhere:80") },
    ];
    for (const { path, signature } of tries) {
      const headers = { [SIGNATURE_HEADER]: signature };
      const outgoing = request({ ...two.channel.endpoint, method: "CONNECT", path, headers, agent: false });
      outgoing.end();
      const [response, socket] = await once(outgoing, "connect");
      expect(response.statusCode).toBe(401);
      socket.destroy();
    }
    expect(reached).toEqual([]);
  });
});

test.each([
  ["https://interrex.example", { host: "interrex.example", port: 443 }],
  ["http://interrex.example:8787/base", { host: "interrex.example", port: 8787 }],
  ["http://[::1]", { host: "::1", port: 80 }],
])("the coordinator at %s is carried to", (url, destination) => {
  expect(destinationOf(url)).toEqual(destination);
});

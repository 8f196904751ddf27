import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Client } from "pg";
import {
  CANCEL_REQUEST,
  type Counterparty,
  errorResponse,
  holding,
  inTime,
  type Peer,
  request,
  route,
  SSL_REQUEST,
  Stage,
  startup,
} from "./peers.ts";

const AUTHENTICATION_OK = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0]);

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => {
  vi.useRealTimers();
  return stage.close();
});

const session = (port: number, server: Counterparty): Promise<{ client: Peer; backend: Peer }> =>
  stage.session(port, server);
const settled = (): Promise<void> => stage.settled();

describe("forwarding", () => {
  test("passes bytes both ways and the half-close, and counts by member", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, serverPort), 1_000);
    const { client, backend } = await session(port, server);
    expect(connector.report()).toMatchObject({
      state: "online",
      pid: process.pid,
      created: 1,
      active: 1,
      targets: [{ member: "db1", created: 1, active: 1 }],
    });

    client.say("question");
    client.socket.end();
    await inTime(backend.ended, "the client's end at the server");
    expect(backend.text).toBe(`${startup().toString("latin1")}question`);
    backend.say(" answer");
    backend.socket.end();
    await inTime(client.closed, "the close of the client");
    expect(client.text).toBe("R answer");
    await settled();
    expect(connector.report()).toMatchObject({ created: 1, active: 0, targets: [{ created: 1, active: 0 }] });
    expect(stage.troubles).toBe(0);
  });

  test("lets a server speak first", async () => {
    const { port: serverPort } = await stage.server((peer) => peer.say("greeting"));
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, serverPort), 1_000);
    expect(await (await stage.client(port)).heard(8)).toBe("greeting");
  });

  test("stops reading a client whose server does not read, and loses nothing", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, serverPort), 1_000);
    const { client, backend } = await session(port, server);
    backend.socket.pause();
    const block = Buffer.alloc(1_048_576, "x");
    let blocks = 0;
    const pour = (): void => {
      while (blocks < 64 && client.socket.writableLength === 0) {
        blocks += 1;
        client.socket.write(block, pour);
      }
    };
    pour();
    let poured = -1;
    while (poured < blocks) {
      poured = blocks;
      for (let round = 0; round < 20; round += 1) await settled();
    }
    // What two pairs of kernel buffers take on the loopback, far from all.
    expect(blocks).toBeLessThan(40);
    backend.socket.resume();
    await backend.heard(startup().length + 64 * 1_048_576);
  });
});

describe("a proof", () => {
  test("is asked before each chunk, either way; a newer one lets what waited pass", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, serverPort, 500), 1_000);
    const { client, backend } = await session(port, server);

    stage.nowMs = 1_500;
    client.say("up");
    backend.say("down");
    await settled();
    expect([backend.count, client.count]).toEqual([startup().length, 1]);
    expect(connector.report().state).toBe("on-hold");

    connector.setRoute(route(1, serverPort, 500), 1_400);
    await backend.heard(startup().length + 2);
    expect(await client.heard(5)).toBe("Rdown");
    expect(connector.report().state).toBe("online");
    expect(stage.troubles).toBe(0);
  });

  test("counts from the sending of the request, and not from a sending in the future", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, serverPort, 500), 900_000);
    const { client, backend } = await session(port, server);
    stage.nowMs = 1_500;
    client.say("up");
    await settled();
    expect(backend.count).toBe(startup().length);
  });

  test("that stays away for the hold time ends the session", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector({ holdTimeoutMs: 150, now: () => performance.now() });
    connector.setRoute(route(1, serverPort, 50), performance.now());
    const { client, backend } = await session(port, server);
    await inTime(client.ended, "the cut of the session");
    await inTime(backend.closed, "the cut of the session at the server");
    expect(stage.logged).toContain("no proof came: the sessions that waited for it are cut");
  });
});

describe("another reign", () => {
  test.each([
    ["at another address", 2, true],
    ["without a primary yet", 2, false],
    ["at another address of the same epoch", 1, true],
  ])("%s cuts the sessions of the old one and takes those that come", async (_name, epoch, hasTarget) => {
    const old = await stage.server();
    const young = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, old.port), 1_000);
    const { client, backend } = await session(port, old.server);

    connector.setRoute(route(epoch, hasTarget ? young.port : null, 60_000, "db2"), 1_001);
    expect((await inTime(backend.closed, "the cut at the server")).error).toBe("ECONNRESET");
    await inTime(client.ended, "the cut at the client");
    expect(stage.troubles).toBe(0);

    connector.setRoute(route(2, young.port, 60_000, "db2"), 1_002);
    await session(port, young.server);
    expect(connector.report().targets).toEqual([
      { member: "db1", created: 1, active: 0 },
      { member: "db2", created: 1, active: 1 },
    ]);
  });

  test("that is lower than the highest seen is ignored", async () => {
    const old = await stage.server();
    const young = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(route(2, young.port), 1_000);
    connector.setRoute(route(1, old.port), 1_001);
    const { client, backend } = await session(port, young.server);
    connector.setRoute(route(1, null), 1_002);
    client.say("!");
    await backend.heard(startup().length + 1);
    expect(old.server.accepted).toEqual([]);
  });

  test("discards what an old server said and nobody may hear", async () => {
    const old = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, old.port, 500), 1_000);
    const { client, backend } = await session(port, old.server);
    stage.nowMs = 1_500;
    backend.say("COMMIT");
    await settled();
    connector.setRoute(route(2, old.port), 1_500);
    await inTime(client.ended, "the cut at the client");
    expect(client.text).toBe("R");
  });

  test("moves a client that was never answered, with its first packet only", async () => {
    const old = await stage.server();
    const young = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, old.port), 1_000);
    const client = await stage.client(port);
    client.say(Buffer.concat([startup(), Buffer.from("Q insert")]));
    const silent = await old.server.next();
    await silent.heard(startup().length);
    await settled();
    expect(silent.count).toBe(startup().length);

    connector.setRoute(route(2, young.port, 60_000, "db2"), 1_001);
    const backend = await young.server.next();
    await backend.heard(startup().length);
    backend.say(AUTHENTICATION_OK);
    await client.heard(AUTHENTICATION_OK.length);
    await backend.heard(startup().length + 8);
    expect(backend.text.endsWith("Q insert")).toBe(true);
    await inTime(silent.closed, "the end of the first attempt");
  });
});

describe("holding", () => {
  test("keeps a client and its early bytes until there is a primary", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector();
    const client = await stage.client(port);
    const early = Buffer.concat([startup(), Buffer.alloc(300_000, "e")]);
    client.say(early);
    await settled();
    expect(connector.report()).toMatchObject({ state: "on-hold", created: 1, active: 1, targets: [] });

    connector.setRoute(route(1, serverPort), 1_000);
    const backend = await server.next();
    await backend.heard(startup().length);
    backend.say("R");
    await backend.heard(early.length);
    expect(backend.bytes.equals(early)).toBe(true);
  });

  test("new clients wait while the newest route names no primary, and open sessions go on", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, serverPort), 1_000);
    const { client, backend } = await session(port, server);
    connector.setRoute(route(1, null), 1_001);
    const waiting = await stage.client(port);
    waiting.say(startup());
    client.say("!");
    await backend.heard(startup().length + 1);
    await settled();
    expect(server.accepted.length).toBe(1);
    expect(connector.report().state).toBe("on-hold");
    connector.setRoute(route(1, serverPort), 1_002);
    await (await server.next()).heard(startup().length);
  });

  test("a proof that is renewed after it ran out releases the held at once", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, serverPort, 500), 1_000);
    stage.nowMs = 1_500;
    const client = await stage.client(port);
    client.say(startup());
    await settled();
    expect(server.accepted).toEqual([]);
    connector.setRoute(route(1, serverPort, 500), 1_500);
    const backend = await server.next();
    expect(await backend.heard(startup().length)).toBe(startup().toString("latin1"));
  });

  test("a crowd is let in a few at a time, in the order of their coming, and nobody is forgotten", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector();
    const names = Array.from({ length: 20 }, (_, index) => `app${index}`);
    for (const name of names) (await stage.client(port)).say(startup(name));
    await settled();
    connector.setRoute(route(1, serverPort), 1_000);
    await settled();
    expect(server.accepted).toHaveLength(6);
    // A longer proof of the same route lets nobody past the others.
    connector.setRoute(route(1, serverPort), 1_001);
    await settled();
    expect(server.accepted).toHaveLength(6);
    const seen: string[] = [];
    for (const name of names) {
      const backend = await server.next();
      await backend.heard(startup(name).length);
      seen.push(backend.text);
      backend.say("R");
    }
    expect(seen.toSorted()).toEqual(names.map((name) => startup(name).toString("latin1")).toSorted());
    expect(seen[0]).toBe(startup("app0").toString("latin1"));
  });

  test("a crowd whose turn comes when the proof has run out waits for the next proof, all of it", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector();
    for (let count = 0; count < 20; count += 1) (await stage.client(port)).say(startup());
    await settled();
    connector.setRoute(route(1, serverPort, 100), 500);
    await settled();
    expect(server.accepted).toEqual([]);
    connector.setRoute(route(1, serverPort), 1_000);
    for (let count = 0; count < 20; count += 1) (await server.next()).say("R");
  });

  test("dials again while the route stays, and says at once that there is trouble", async () => {
    const first = await stage.server();
    await first.server.close();
    const { connector, port } = await stage.connector();
    const trouble = stage.trouble;
    connector.setRoute(route(1, first.port), 1_000);
    const client = await stage.client(port);
    client.say(startup());
    await trouble;
    await new Promise((resolve) => first.server.server.listen(first.port, "127.0.0.1", () => resolve(null)));
    const backend = await first.server.next();
    await backend.heard(startup().length);
    expect(backend.bytes.equals(startup())).toBe(true);
    await first.server.close();
  });

  test.each([
    ["closes without an answer", (peer: Peer) => peer.socket.end()],
    ["resets without an answer", (peer: Peer) => peer.socket.resetAndDestroy()],
    ["is starting up", (peer: Peer) => peer.socket.end(errorResponse("57P03"))],
    ["dies in the middle of saying so", (peer: Peer) => peer.socket.end(errorResponse("57P03").subarray(0, 20))],
  ])("tries again with the same bytes when a server %s", async (_name, react) => {
    let dials = 0;
    const { server, port: serverPort } = await stage.server((peer) => {
      dials += 1;
      if (dials < 3) react(peer);
    });
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, serverPort), 1_000);
    const client = await stage.client(port);
    client.say(startup());
    await server.next();
    await server.next();
    const backend = await server.next();
    await backend.heard(startup().length);
    expect(backend.bytes.equals(startup())).toBe(true);
    backend.say("R");
    expect(await client.heard(1)).toBe("R");
    expect(stage.troubles).toBeGreaterThanOrEqual(2);
    expect(connector.report().targets).toEqual([{ member: "db1", created: 1, active: 1 }]);
  });

  test("never sends a cancel request twice", async () => {
    const cancel = request(CANCEL_REQUEST, Buffer.alloc(8, 1));
    const { server, port: serverPort } = await stage.server(
      (peer) => void peer.heard(16).then(() => peer.socket.end()),
    );
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, serverPort), 1_000);
    const client = await stage.client(port);
    client.say(cancel);
    await inTime(client.ended, "the server's close at the client");
    await settled();
    expect(server.accepted.map((peer) => peer.count)).toEqual([16]);
    expect(stage.troubles).toBe(0);
  });

  test("passes other errors of a server on", async () => {
    const refusal = errorResponse("28P01");
    const { port: serverPort } = await stage.server((peer) => peer.socket.end(refusal));
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, serverPort), 1_000);
    const client = await stage.client(port);
    client.say(startup());
    await inTime(client.ended, "the server's end");
    expect(client.bytes.equals(refusal)).toBe(true);
  });

  test("never tries again once a byte of the server has passed", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, serverPort), 1_000);
    const { client, backend } = await session(port, server);
    const trouble = stage.trouble;
    backend.socket.resetAndDestroy();
    await inTime(client.ended, "the end of the session");
    await trouble;
    await settled();
    expect(server.accepted.length).toBe(1);
    expect(connector.report().active).toBe(0);
  });

  test("forgets a client that gives up", async () => {
    const { connector, port } = await stage.connector();
    const client = await stage.client(port);
    client.say(startup());
    client.socket.end();
    await inTime(client.closed, "the connector's close");
    await settled();
    expect(connector.report().active).toBe(0);
  });
});

describe("a route that holds", () => {
  test("keeps open sessions covered, says so at once and once, and lets a crowd in again a few at a time", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, serverPort, 500), 1_000);
    const { client, backend } = await session(port, server);
    connector.setRoute(holding(route(1, serverPort, 500)), 1_000);
    expect([connector.report().state, stage.holds]).toEqual(["on-hold", 1]);
    for (let count = 0; count < 10; count += 1) (await stage.client(port)).say(startup());

    // Past the end of the first proof: what covers is the one that came with the hold.
    stage.nowMs = 1_400;
    connector.setRoute(holding(route(1, serverPort, 500)), 1_400);
    stage.nowMs = 1_800;
    client.say("up");
    backend.say("down");
    await backend.heard(startup().length + 2);
    await client.heard(5);
    await settled();
    expect(server.accepted).toHaveLength(1);
    expect(stage.holds).toBe(1);

    connector.setRoute(route(1, serverPort, 500), 1_800);
    expect(connector.report().state).toBe("online");
    await settled();
    expect(server.accepted).toHaveLength(7);
    for (let count = 0; count < 10; count += 1) (await server.next()).say("R");
    await settled();
    expect(connector.report().targets).toEqual([{ member: "db1", created: 11, active: 11 }]);
  });

  test("lets an opening that it finds under way come to its end", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, serverPort, 500), 1_000);
    const client = await stage.client(port);
    const backend = await server.next();
    connector.setRoute(holding(route(1, serverPort, 500)), 1_000);
    client.say(startup());
    await backend.heard(startup().length);
    backend.say("R");
    expect(await client.heard(1)).toBe("R");
    client.say("!");
    await backend.heard(startup().length + 1);
    expect(server.accepted).toHaveLength(1);
  });

  test("keeps a client whose server went away before it answered, and sends it to the next primary", async () => {
    const old = await stage.server();
    const young = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, old.port), 1_000);
    const client = await stage.client(port);
    client.say(startup());
    const lost = await old.server.next();
    await lost.heard(startup().length);
    connector.setRoute(holding(route(1, old.port)), 1_001);
    const trouble = stage.trouble;
    lost.socket.end(errorResponse("57P03"));
    await trouble;
    connector.setRoute(holding(route(2, null, 0)), 1_002);
    await settled();
    expect([old.server.accepted.length, client.count]).toEqual([1, 0]);

    connector.setRoute(route(2, young.port, 60_000, "db2"), 1_003);
    const backend = await young.server.next();
    await backend.heard(startup().length);
    backend.say("R");
    expect(await client.heard(1)).toBe("R");
  });
});

describe("refusing", () => {
  const pgOptions = { host: "127.0.0.1", user: "app", database: "app", password: "x" };

  const hidden = { message: "The server does not support SSL connections" };
  const told = {
    severity: "FATAL",
    code: "57P03",
    message: "no primary of dataservice 'alpha' is available: held for 0.1 s",
    hint: expect.stringContaining("connecting again is safe"),
  };
  test.each([
    ["plain", false, told],
    ["that insists on TLS", true, hidden],
  ])("a real driver, %s, is told after the hold time", async (_name, ssl, error) => {
    const { port } = await stage.connector({ holdTimeoutMs: 100 });
    const client = new Client({ ...pgOptions, port, ssl });
    client.on("error", () => {});
    await expect(inTime(client.connect(), "the refusal")).rejects.toMatchObject(error);
  });

  test("is told at once, and from then on by the number, not client by client", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const lines: object[] = [];
    const log = { info() {}, warn: (fields: object, message: string) => void lines.push({ ...fields, message }) };
    const { port } = await stage.connector({ holdTimeoutMs: 0, log });
    const refuseClients = async (count: number): Promise<void> => {
      for (let client = 0; client < count; client += 1) {
        const { socket } = await stage.client(port);
        const ended = once(socket, "end");
        vi.advanceTimersByTime(1);
        socket.write(startup());
        await ended;
      }
    };
    const word = { service: "read-write", state: "on-hold", message: "clients were refused" };
    await refuseClients(5);
    expect(lines).toEqual([{ ...word, clients: 1 }]);
    vi.advanceTimersByTime(10_000);
    expect(lines).toEqual([
      { ...word, clients: 1 },
      { ...word, clients: 4 },
    ]);
  });

  test("also when a primary is known and refuses", async () => {
    const gone = await stage.server();
    await gone.server.close();
    const { connector, port } = await stage.connector({ holdTimeoutMs: 250 });
    connector.setRoute(route(1, gone.port), 1_000);
    const client = await stage.client(port);
    client.say(Buffer.concat([request(SSL_REQUEST), startup()]));
    await inTime(client.ended, "the refusal");
    expect(client.text).toMatch(/^NE.*C57P03/s);
    client.socket.end();
    await inTime(client.closed, "the close");
    await settled();
    expect(connector.report().active).toBe(0);
  });

  test("hears the startup packet to its end first", async () => {
    const { port } = await stage.connector({ holdTimeoutMs: 50 });
    const client = await stage.client(port);
    client.say(request(SSL_REQUEST));
    expect(await client.heard(1)).toBe("N");
    client.say(startup().subarray(0, 9));
    await settled();
    expect(client.count).toBe(1);
    client.say(startup().subarray(9));
    await inTime(client.ended, "the refusal");
    expect(client.text).toContain("C57P03");
  });

  test("a cancel request that nobody can take is dropped", async () => {
    const { port } = await stage.connector({ holdTimeoutMs: 50 });
    const client = await stage.client(port);
    client.say(request(CANCEL_REQUEST, Buffer.alloc(8)));
    await inTime(client.ended, "the close");
    expect(client.count).toBe(0);
  });

  test("a server that is connected but unproved at the hold time gives way to the refusal", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector({ holdTimeoutMs: 150 });
    connector.setRoute(route(1, serverPort, 500), 1_000);
    const client = await stage.client(port);
    client.say(startup());
    const backend = await server.next();
    await backend.heard(startup().length);
    stage.nowMs = 1_500;
    backend.say(AUTHENTICATION_OK);
    await inTime(client.ended, "the refusal");
    expect(client.text).toMatch(/^E.*C57P03/s);
    await inTime(backend.closed, "the end of the attempt");
  });

  test("a client whose silent server loses its reign after the hold time does not wait again", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector({ holdTimeoutMs: 50 });
    connector.setRoute(route(1, serverPort), 1_000);
    const client = await stage.client(port);
    client.say(startup());
    await (await server.next()).heard(startup().length);
    const { port: clockPort } = await stage.connector({ holdTimeoutMs: 50 });
    const clock = await stage.client(clockPort);
    clock.say(startup());
    await inTime(clock.ended, "a refusal that is due later");
    expect(client.count).toBe(0);
    connector.setRoute(route(2, null), 1_001);
    await inTime(client.ended, "the refusal");
    expect(client.text).toContain("C57P03");
  });

  test("offline: at once, while open sessions go on", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, serverPort), 1_000);
    const { client, backend } = await session(port, server);
    connector.setEnabled(false);
    expect(connector.report().state).toBe("offline");
    const late = await stage.client(port);
    late.say(startup());
    await inTime(late.ended, "the refusal");
    expect(late.text).toContain("the connector of dataservice 'alpha' is offline");
    client.say("!");
    await backend.heard(startup().length + 1);
    connector.setEnabled(true);
    await session(port, server);
  });

  test("offline: those who wait already are told at once", async () => {
    const { connector, port } = await stage.connector({ holdTimeoutMs: 60_000 });
    const waiting = await stage.client(port);
    waiting.say(startup());
    await settled();
    expect(connector.report()).toMatchObject({ state: "on-hold", active: 1 });
    connector.setEnabled(false);
    await inTime(waiting.ended, "the refusal");
    expect(waiting.text).toContain("the connector of dataservice 'alpha' is offline");
  });
});

describe("closing", () => {
  test("ends sessions, held and refused clients and resolves", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(route(1, serverPort), 1_000);
    const { client } = await session(port, server);
    connector.setRoute(route(1, null), 1_001);
    const held = await stage.client(port);
    await settled();
    await inTime(connector.close(), "the close of the connector");
    await inTime(client.ended, "the end of the session");
    await inTime(held.ended, "the end of the held client");
    expect(connector.report()).toMatchObject({ state: "offline", active: 0 });
  });

  test("an address that is taken is an error of start", async () => {
    const { port } = await stage.server();
    await expect(stage.connector({ listenPort: port })).rejects.toMatchObject({ code: "EADDRINUSE" });
  });
});

test("many failures at once are few signals", async () => {
  const gone = await stage.server();
  await gone.server.close();
  const { connector, port } = await stage.connector();
  connector.setRoute(route(1, gone.port), 1_000);
  const trouble = stage.trouble;
  const startedMs = performance.now();
  await Promise.all(Array.from({ length: 30 }, () => stage.client(port)));
  await trouble;
  await settled();
  expect(stage.troubles).toBeLessThanOrEqual(1 + Math.ceil((performance.now() - startedMs) / 50));
});

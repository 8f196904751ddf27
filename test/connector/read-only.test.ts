/** The door for readers over real sockets. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { errorResponse, inTime, type Peer, readers, route, Stage, startup } from "./peers.ts";

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => {
  vi.useRealTimers();
  return stage.close();
});

/** A replica that answers each startup packet with `R`. */
const answering = () => stage.server((peer) => void peer.heard(startup().length).then(() => peer.say("R")));

/** A client that has been answered, and that ends when its server does. */
async function reader(port: number): Promise<Peer> {
  const client = await stage.client(port);
  client.socket.once("end", () => client.socket.end());
  client.say(startup());
  await client.heard(1);
  return client;
}

describe("readers are spread over the replicas", () => {
  test("evenly, and then where one has left", async () => {
    const [two, three] = [await answering(), await answering()];
    const { connector, port } = await stage.readOnlyConnector();
    connector.setRoute(readers(1, { db2: two.port, db3: three.port }), 1_000);
    for (let count = 0; count < 6; count += 1) await reader(port);
    expect([two.server.accepted.length, three.server.accepted.length]).toEqual([3, 3]);

    const [first, second] = three.server.accepted;
    for (const backend of [first, second]) backend?.socket.end();
    await inTime(Promise.all([first?.closed, second?.closed]), "the ends of two sessions");
    // A failure is held against a replica for a while; that of these two is only that they ended by themselves.
    stage.nowMs += 2_000;
    for (let count = 0; count < 2; count += 1) await reader(port);
    expect([two.server.accepted.length, three.server.accepted.length]).toEqual([3, 5]);
  });

  test("also when they come together and none has been answered", async () => {
    const [two, three] = [await stage.server(), await stage.server()];
    const { connector, port } = await stage.readOnlyConnector();
    const clients: Peer[] = [];
    for (let count = 0; count < 12; count += 1) clients.push(await stage.client(port));
    for (const client of clients) client.say(startup());
    await stage.settled();
    connector.setRoute(readers(1, { db2: two.port, db3: three.port }), 1_000);
    await stage.settled();
    expect([two.server.accepted.length, three.server.accepted.length]).toEqual([3, 3]);
    for (let count = 0; count < 6; count += 1) {
      (await two.server.next()).say("R");
      (await three.server.next()).say("R");
    }
    for (const client of clients) await client.heard(1);
    expect(connector.report().targets).toEqual([
      { member: "db2", created: 6, active: 6 },
      { member: "db3", created: 6, active: 6 },
    ]);
  });
});

describe("the load of a replica", () => {
  test("counts an opening from its dial on", async () => {
    const [two, three] = [await answering(), await stage.server()];
    const { connector, port } = await stage.readOnlyConnector();
    connector.setRoute(readers(1, { db2: two.port }), 1_000);
    await reader(port);
    connector.setRoute(readers(1, { db2: two.port, db3: three.port }), 1_000);
    await stage.client(port);
    await three.server.next();
    await reader(port);
    expect([two.server.accepted.length, three.server.accepted.length]).toEqual([2, 1]);
  });

  test("forgets an opening that its client gave up", async () => {
    const [two, three] = [await stage.server(), await stage.server()];
    const { connector, port } = await stage.readOnlyConnector();
    connector.setRoute(readers(1, { db2: two.port }), 1_000);
    for (let count = 0; count < 2; count += 1) {
      const client = await stage.client(port);
      const backend = await two.server.next();
      client.socket.destroy();
      await inTime(backend.closed, "the end of the attempt");
    }
    connector.setRoute(readers(1, { db2: two.port, db3: three.port }), 1_000);
    await stage.client(port);
    await three.server.next();
    await stage.client(port);
    await two.server.next();
    expect(three.server.accepted).toHaveLength(1);
  });

  test("forgets an opening that failed, and the failure after a while", async () => {
    let isReady = false;
    const two = await stage.server((peer) => (isReady ? peer.say("R") : peer.socket.end()));
    const three = await answering();
    const { connector, port } = await stage.readOnlyConnector();
    connector.setRoute(readers(1, { db2: two.port, db3: three.port }), 1_000);
    for (let count = 0; count < 2; count += 1) {
      await reader(port);
      stage.nowMs += 2_000;
    }
    expect([two.server.accepted.length, three.server.accepted.length]).toEqual([2, 2]);
    for (const backend of three.server.accepted) backend.socket.end();
    await inTime(Promise.all(three.server.accepted.map(({ closed }) => closed)), "the ends of two sessions");
    stage.nowMs += 2_000;
    isReady = true;
    await reader(port);
    expect([two.server.accepted.length, three.server.accepted.length]).toEqual([3, 2]);
  });

  test("a session that it serves takes its failure back", async () => {
    let isReady = false;
    const two = await stage.server((peer) => (isReady ? peer.say("R") : peer.socket.end()));
    const three = await answering();
    const { connector, port } = await stage.readOnlyConnector();
    const both = { db2: two.port, db3: three.port };
    connector.setRoute(readers(1, both), 1_000);
    await reader(port);
    isReady = true;
    connector.setRoute(readers(1, { db2: two.port }), 1_000);
    await reader(port);
    connector.setRoute(readers(1, both), 1_000);
    for (let count = 0; count < 3; count += 1) await reader(port);
    // One failed and two were served at db2; one was cut and two were served at db3.
    expect([two.server.accepted.length, three.server.accepted.length]).toEqual([3, 3]);
  });
});

describe("a session of a reader", () => {
  test.each([
    ["of a replica that is promoted, and no other", 2],
    ["of a replica that left the list, and no other", 1],
  ])("%s, is cut at once", async (_name, epoch) => {
    const [two, three] = [await stage.server(), await stage.server()];
    const { connector, port } = await stage.readOnlyConnector();
    connector.setRoute(readers(1, { db2: two.port, db3: three.port }), 1_000);
    const crowned = await stage.session(port, two.server);
    const other = await stage.session(port, three.server);

    stage.nowMs = 1_001;
    connector.setRoute(readers(epoch, { db3: three.port }), 1_001);
    crowned.client.say("insert");
    expect((await inTime(crowned.backend.closed, "the cut at the replica")).error).toBe("ECONNRESET");
    await inTime(crowned.client.ended, "the cut at the client");
    expect(crowned.backend.count).toBe(startup().length);
    other.client.say("!");
    await other.backend.heard(startup().length + 1);
    expect(stage.troubles).toBe(0);

    // A list from before does not bring it back.
    connector.setRoute(readers(1, { db2: two.port }), 1_000);
    await stage.session(port, three.server);
    expect(two.server.accepted).toHaveLength(1);
  });

  test("waits without a proof, either way, and goes on under a newer one", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.readOnlyConnector();
    connector.setRoute(readers(1, { db2: serverPort }, 500), 1_000);
    const { client, backend } = await stage.session(port, server);
    stage.nowMs = 1_500;
    client.say("up");
    backend.say("down");
    // A proof for writers covers no reader.
    connector.setRoute(route(1, serverPort, 60_000, "db2"), 1_500);
    await stage.settled();
    expect([backend.count, client.count]).toEqual([startup().length, 1]);
    connector.setRoute(readers(2, { db2: serverPort }, 500), 1_500);
    await backend.heard(startup().length + 2);
    expect(await client.heard(5)).toBe("Rdown");
  });

  test("ends when its proof stays away for the hold time", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.readOnlyConnector({ holdTimeoutMs: 150, now: () => performance.now() });
    connector.setRoute(readers(1, { db2: serverPort }, 50), performance.now());
    const { client } = await stage.session(port, server);
    await inTime(client.ended, "the cut of the session");
    expect(stage.logged).toContain("no proof came: the sessions that waited for it are cut");
  });
});

describe("a replica that cannot serve", () => {
  test.each([
    ["closes without an answer", (peer: Peer) => peer.socket.end()],
    ["resets without an answer", (peer: Peer) => peer.socket.resetAndDestroy()],
    ["is starting up", (peer: Peer) => peer.socket.end(errorResponse("57P03"))],
  ])("because it %s gives way to the next, unseen by the client", async (_name, react) => {
    const two = await stage.server(react);
    const three = await stage.server(react);
    const four = await answering();
    const { connector, port } = await stage.readOnlyConnector();
    connector.setRoute(readers(1, { db2: two.port, db3: three.port, db4: four.port }), 1_000);
    const trouble = stage.trouble;
    // No timer goes off: with a pause after a failure nobody would ever be answered.
    vi.useFakeTimers({ toFake: ["setTimeout"] });
    expect((await reader(port)).text).toBe("R");
    vi.useRealTimers();
    await trouble;
    // Its empty load attracts nobody else for a while.
    for (let count = 0; count < 3; count += 1) await reader(port);
    expect([two, three, four].map(({ server }) => server.accepted.length)).toEqual([1, 1, 4]);
    expect(connector.report().targets).toEqual([{ member: "db4", created: 4, active: 4 }]);
  });

  test("because nobody listens there gives way to the next", async () => {
    const gone = await stage.server();
    await gone.server.close();
    const there = await answering();
    const { connector, port } = await stage.readOnlyConnector();
    connector.setRoute(readers(1, { db2: gone.port, db3: there.port }), 1_000);
    expect((await reader(port)).text).toBe("R");
  });

  test("is tried again while there is no other", async () => {
    let dials = 0;
    const { port: serverPort } = await stage.server((peer) => {
      dials += 1;
      if (dials < 3) peer.socket.end();
      else void peer.heard(startup().length).then(() => peer.say("R"));
    });
    const { connector, port } = await stage.readOnlyConnector();
    connector.setRoute(readers(1, { db2: serverPort }), 1_000);
    expect((await reader(port)).text).toBe("R");
    expect(dials).toBe(3);
  });

  test("and was tried before the list changed can be tried again", async () => {
    let isReady = false;
    const two = await stage.server((peer) => (isReady ? peer.say("R2") : peer.socket.end()));
    const three = await stage.server();
    const { connector, port } = await stage.readOnlyConnector();
    connector.setRoute(readers(1, { db2: two.port, db3: three.port }), 1_000);
    const client = await stage.client(port);
    client.say(startup());
    await (await three.server.next()).heard(startup().length);
    isReady = true;
    connector.setRoute(readers(1, { db2: two.port }), 1_001);
    expect(await client.heard(2)).toBe("R2");
  });
});

describe("without a replica", () => {
  test("a client waits for one", async () => {
    const { port: serverPort } = await answering();
    const { connector, port } = await stage.readOnlyConnector();
    connector.setRoute(readers(1, {}), 1_000);
    const client = await stage.client(port);
    client.say(startup());
    await stage.settled();
    expect(client.count).toBe(0);
    connector.setRoute(readers(1, { db2: serverPort }), 1_001);
    expect(await client.heard(1)).toBe("R");
  });

  test("a client is told after the hold time", async () => {
    const { connector, port } = await stage.readOnlyConnector({ holdTimeoutMs: 100 });
    connector.setRoute(readers(1, {}), 1_000);
    const client = await stage.client(port);
    client.say(startup());
    await inTime(client.ended, "the refusal");
    expect(client.text).toContain("C57P03");
    expect(client.text).toContain("no replica within max_latency of dataservice 'alpha' is available: held for 0.1 s");
  });
});

describe("both doors", () => {
  test("are one connector: its state is the writers', its counts are both's", async () => {
    const [one, two] = [await stage.server(), await stage.server()];
    const { connector, port, readWritePort } = await stage.readOnlyConnector();
    connector.setRoute(readers(1, { db1: one.port, db2: two.port }), 1_000);
    expect(connector.report().state).toBe("on-hold");
    connector.setRoute(route(1, one.port), 1_000);
    expect(connector.report().state).toBe("online");
    await stage.session(readWritePort, one.server);
    await stage.session(port, one.server);
    await stage.session(port, two.server);
    expect(connector.report()).toMatchObject({
      created: 3,
      active: 3,
      targets: [
        { member: "db1", created: 2, active: 2 },
        { member: "db2", created: 1, active: 1 },
      ],
    });
  });

  test("are offline together", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.readOnlyConnector();
    connector.setRoute(readers(1, { db2: serverPort }), 1_000);
    const { client, backend } = await stage.session(port, server);
    connector.setEnabled(false);
    const late = await stage.client(port);
    late.say(startup());
    await inTime(late.ended, "the refusal");
    expect(late.text).toContain("the connector of dataservice 'alpha' is offline");
    client.say("!");
    await backend.heard(startup().length + 1);
  });

  test("close together", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.readOnlyConnector();
    connector.setRoute(readers(1, { db2: serverPort }), 1_000);
    const { client } = await stage.session(port, server);
    await inTime(connector.close(), "the close of the connector");
    await inTime(client.ended, "the end of the session");
    expect(connector.report()).toMatchObject({ state: "offline", active: 0 });
  });

  test("listen together or not at all", async () => {
    const taken = await stage.server();
    const free = await stage.server();
    await free.server.close();
    const ports = { listenPort: free.port, readOnlyPort: taken.port };
    await expect(stage.readOnlyConnector(ports)).rejects.toMatchObject({ code: "EADDRINUSE", port: taken.port });
    await expect(stage.connector({ listenPort: free.port })).resolves.toMatchObject({ port: free.port });
  });

  test("a list of replicas means nothing to a connector without a door for readers", async () => {
    const { server, port: serverPort } = await stage.server();
    const { connector, port } = await stage.connector();
    connector.setRoute(readers(1, { db1: serverPort }), 1_000);
    await stage.client(port);
    await stage.settled();
    expect(server.accepted).toEqual([]);
    expect(connector.report().state).toBe("on-hold");
  });
});

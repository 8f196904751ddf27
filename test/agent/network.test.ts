/**
 * Everything that can come back instead of an answer, on real sockets: straight from the coordinator's address, and
 * through a peer. None of it touches the lease of a holder that polls; what its coordinator has signed does.
 */
import { createServer, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { createServer as createRawServer, type AddressInfo, type Server, type Socket } from "node:net";
import { once } from "node:events";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { begin } from "#shared/core/member/step.ts";
import { freshLive, type MemberReason } from "#shared/core/member/state.ts";
import { routerPollOf } from "#shared/core/member/poll.ts";
import type { Lease, Poll, Reply } from "#shared/domain/messages.ts";
import { ERRORS, problem, type ErrorCode } from "#shared/protocol/errors.ts";
import { readBootId, readClocks } from "../../agent/clocks.ts";
import { CoordinatorClient, type PollOutcome } from "../../agent/coordinator-client.ts";
import { AgentLoop } from "../../agent/loop.ts";
import { PeerChannel } from "../../agent/peer/channel.ts";
import { destinationOf } from "../../agent/peer/tunnel.ts";
import { BadAnswer, causeOf, detailOf, UNREACHABLE, type UnreachableCause } from "../../agent/unreachable.ts";
import { WRITABLE } from "../core/builders.ts";
import { closedDurable, leaseOf, liveOf, viewOf } from "../core/member-events.ts";
import { AUTHORITY, ELSEWHERE, EXPIRED, GOOD, STRANGER } from "./certificates.ts";
import { answering, onPoll, replyTo, signedWith } from "./reply.ts";
import { listenOn } from "./asking.ts";

const EPOCH = 2;
const TOKEN = "rex_agent_alpha";
const PEER_KEY = "the key of alpha";
/** Where silence is what is tried; everything else has all the time that a busy machine may need. */
const TIMEOUT_MS = { short: 300, long: 10_000 };
const DEADLINE_MS = 25_000;
/** What a coordinator says to a holder whose reign it knows to be over. */
const ENDED = { leaseEnded: { epoch: EPOCH, mac: "mac" } } satisfies Partial<Reply>;

/** What the tests have put up; they run side by side, so it stays until the last of them. */
const opened: { close: () => unknown }[] = [];
afterAll(async () => {
  await Promise.all(opened.splice(0).map((one) => one.close()));
});

const systemAuthorities = getCACertificates("default");
beforeAll(() => setDefaultCACertificates([...systemAuthorities, AUTHORITY]));
afterAll(() => setDefaultCACertificates(systemAuthorities));

/** Where something answers, and how often it was spoken to; null where nothing does. */
interface Place {
  url: string;
  reached: (() => number) | null;
}

async function listen(server: Server, scheme: "http" | "https", name = "127.0.0.1"): Promise<Place> {
  let reached = 0;
  server.on("connection", () => (reached += 1));
  const { port, close } = await listenOn(server);
  opened.push({ close });
  return { url: `${scheme}://${name}:${port}`, reached: () => reached };
}

const web = (listener: RequestListener) => listen(createServer(listener), "http");
const secure = (keys: { key: string; cert: string }, listener: RequestListener = answering(ENDED)) =>
  listen(createSecureServer(keys, listener), "https");
/** Answers with these bytes as soon as it is spoken to, and then does `after`. */
const raw = (bytes: string, after: (socket: Socket) => void = () => {}) =>
  listen(
    createRawServer((socket) => {
      socket.once("data", () => socket.write(bytes, () => after(socket)));
    }),
    "http",
  );
const nowhere = (url: string): Promise<Place> => Promise.resolve({ url, reached: null });

/** A port at which nobody listens any more. */
async function deadPort(): Promise<number> {
  const server = createRawServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The end of the reign, whole, for this very poll, signed, and then changed by whoever stands between. */
function changed(change: (text: string) => string): RequestListener {
  return onPoll((poll, response) => {
    const text = replyTo(poll, ENDED);
    return response.writeHead(200, signedWith(TOKEN, poll, text)).end(change(text));
  });
}

/** The same under a signature that is not for it. */
function signed(sign: (poll: string, text: string) => Record<string, string>): RequestListener {
  return onPoll((poll, response) => {
    const text = replyTo(poll, ENDED);
    return response.writeHead(200, sign(poll, text)).end(text);
  });
}

/** The same under a status that is no success. */
function withStatus(status: number, headers: Record<string, string> = {}): RequestListener {
  return onPoll((poll, response) => {
    const text = replyTo(poll, ENDED);
    return response.writeHead(status, { ...signedWith(TOKEN, poll, text), ...headers }).end(status === 204 ? "" : text);
  });
}

/** The answer to the first poll, to every one. */
function keeping(): RequestListener {
  let kept: ((response: ServerResponse) => ServerResponse) | null = null;
  return onPoll((poll, response) => {
    const text = replyTo(poll, { answersSeq: 1_000_000, ...ENDED });
    kept ??= (to) => to.writeHead(200, signedWith(TOKEN, poll, text)).end(text);
    return kept(response);
  });
}

const STATUSES = [
  201, 202, 204, 206, 300, 304, 400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 415, 418, 421, 426, 429, 431, 451,
  500, 501, 502, 503, 504, 505, 520, 522, 530,
];

/** Every cause, with what brings it about; those that no test machine can bring about are tried by their codes alone. */
const CASES: Record<UnreachableCause, [string, () => Promise<Place>][]> = {
  "name-unknown": [["a name that is none", () => nowhere(`http://${"a".repeat(70)}.invalid:1`)]],
  refused: [["nobody listening", async () => nowhere(`http://127.0.0.1:${await deadPort()}`)]],
  "no-route": [["an address to which there is no way", () => nowhere("http://255.255.255.255:1")]],
  timeout: [
    ["silence", () => raw("")],
    ["headers and then silence", () => raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")],
    ["half a body and then silence", () => raw('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"protocol":')],
    ["a byte now and then", () => raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", trickle)],
    ["nothing but promises to go on", () => raw("HTTP/1.1 100 Continue\r\n\r\n")],
  ],
  "hung-up": [
    ["a connection cut at once", () => raw("", (socket) => socket.destroy())],
    ["a connection reset", () => raw("", (socket) => socket.resetAndDestroy())],
    ["a connection closed in good order", () => raw("", (socket) => socket.end())],
    ["TLS where plain HTTP is spoken", () => listen(createSecureServer(GOOD), "http")],
    ["a connection cut in the headers", () => raw("HTTP/1.1 200 OK\r\ncontent-", (socket) => socket.destroy())],
    ["a connection cut in the body", () => raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", (s) => s.destroy())],
    [
      "a connection reset in the body",
      () => raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", (s) => s.resetAndDestroy()),
    ],
  ],
  certificate: [
    ["a certificate that nobody trusts", () => secure(STRANGER)],
    ["a certificate of another host", () => secure(ELSEWHERE)],
    ["a certificate that has run out", () => secure(EXPIRED)],
  ],
  tls: [
    ["plain HTTP where TLS is spoken to", () => listen(createServer(answering(ENDED)), "https")],
    ["TLS of a version that is not spoken any more", () => listen(oldTls(), "https")],
  ],
  "not-http": [
    ["another protocol altogether", () => raw("SSH-2.0-OpenSSH_9.2\r\n")],
    ["a header that is none", () => raw("HTTP/1.1 200 OK\r\nno header\r\n\r\n")],
    ["headers without an end", () => raw(`HTTP/1.1 200 OK\r\nx: ${"x".repeat(100_000)}`)],
    ["two lengths", () => raw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}")],
  ],
  "too-large": [["an answer without an end", () => web((_, response) => flood(response))]],
  redirected: [301, 302, 303, 307, 308].map((status) => [
    `a redirect (${status})`,
    () => web(withStatus(status, { location: "http://127.0.0.1:1/" })),
  ]),
  status: [
    ...STATUSES.map((status): [string, () => Promise<Place>] => [
      `HTTP ${status} with the end of the reign in its body`,
      () => web(withStatus(status)),
    ]),
    [
      "another protocol that is switched to",
      () => raw("HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
    ],
    ["a gateway's page", () => web((_, response) => response.writeHead(502).end("<html>"))],
  ],
  "not-a-reply": [
    ["nothing", () => web((_, response) => response.end())],
    ["junk", () => web((_, response) => response.end("hello"))],
    ["another document", () => web((_, response) => response.end('{"ok":true}'))],
    ["half of a reply", () => web(changed((text) => text.slice(0, text.length / 2)))],
    ["a reply with an unknown field", () => web(changed((text) => text.replace("{", '{"extra":1,')))],
    ["a reply with a field of another kind", () => web(changed((text) => text.replace('"epoch":2', '"epoch":"2"')))],
  ],
  "other-protocol": [
    ["a reply of a version that is not spoken yet", () => web(answering({ protocol: 99, ...ENDED }))],
    ["a reply of a version that is not spoken any more", () => web(answering({ protocol: 0, ...ENDED }))],
  ],
  "other-poll": [
    ["a reply to an earlier poll", () => web(answering({ answersSeq: 0, ...ENDED }))],
    ["a reply to a poll that was not sent yet", () => web(answering({ answersSeq: 1_000_000, ...ENDED }))],
    ["a reply that a proxy has kept", () => web(keeping())],
  ],
  unsigned: [
    ["a reply without a signature", () => web(signed(() => ({})))],
    ["a reply signed with another token", () => web(signed((poll, text) => signedWith("rex_agent_beta", poll, text)))],
    ["a reply to another host's poll", () => web(signed((poll, text) => signedWith(TOKEN, `${poll} `, text)))],
    ["a reply that was changed on its way", () => web(changed((text) => text.replace('"epoch":2', '"epoch":2 ')))],
    ["a reply with a signature of another length", () => web(signed(() => ({ "interrex-reply": "AAAA" })))],
  ],
  "out-of-resources": [],
  other: [],
};

function trickle(socket: Socket): void {
  const timer = setInterval(() => socket.write(" "), 20);
  socket.once("close", () => clearInterval(timer));
}

function flood(response: ServerResponse): void {
  response.writeHead(200);
  const more = (): void => {
    if (!response.destroyed && response.write(" ".repeat(65_536))) setImmediate(more);
    else response.once("drain", more);
  };
  more();
}

function oldTls(): Server {
  return createSecureServer({ ...GOOD, minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "ALL:@SECLEVEL=0" });
}

const ALL = Object.entries(CASES).flatMap(([cause, cases]) =>
  cases.map(([title, place]) => [title, cause as UnreachableCause, place] as const),
);

/** Where a holder asks: straight, or with every straight way shut, by way of a peer. */
type Way = (place: Place, timeoutMs: number) => Promise<(poll: Poll) => Promise<PollOutcome>>;

const straight: Way = ({ url }, timeoutMs) => {
  const client = clientOf(url, timeoutMs);
  return Promise.resolve((poll) => client.poll(poll));
};

const throughPeer: Way = async ({ url }, timeoutMs) => {
  const [one, two] = await Promise.all([channelOf("db1"), channelOf("db2", url)]);
  one.learn({ peers: [{ host: "db2", endpoint: two.endpoint }], peerKey: PEER_KEY });
  two.learn({ peers: [], peerKey: PEER_KEY });
  const shut = new URL(url);
  shut.port = String(await deadPort());
  shut.hostname = shut.protocol === "https:" ? "localhost" : "127.0.0.1";
  const client = clientOf(shut.href, timeoutMs);
  return (poll) => client.poll(poll, one.detours());
};

function clientOf(coordinator: string, timeoutMs: number): CoordinatorClient {
  const client = new CoordinatorClient({ coordinator, dataservice: "alpha", token: TOKEN, timeoutMs });
  opened.push(client);
  return client;
}

async function channelOf(self: string, coordinator?: string): Promise<PeerChannel> {
  const channel = await PeerChannel.open({
    self,
    host: "127.0.0.1",
    port: 0,
    onNudge: () => {},
    onFailure: () => {},
    ...(coordinator === undefined ? {} : { coordinator: destinationOf(coordinator) }),
  });
  opened.push(channel);
  return channel;
}

interface Standing {
  /** What is left of its lease. */
  ttlMs?: number;
  timeoutMs?: number;
}

/** An agent beside a server that is open under a lease. */
async function holder(place: Place, way: Way, { ttlMs = 600_000, timeoutMs = TIMEOUT_MS.long }: Standing = {}) {
  const clocks = readClocks();
  const bootId = readBootId();
  const seen = { ...closedDurable({ epoch: EPOCH, op: 5 }), attempted: EPOCH, ownEpoch: EPOCH };
  const lease = { epoch: EPOCH, ttlMs, base: clocks, bootId, hasLeaseDoor: false };
  const endpoint = { host: "127.0.0.1", port: 1 };
  const told = { bootId, fenceMs: 1_500, endpoint, view: viewOf(WRITABLE), nextPollMs: 100 };
  const reasons: MemberReason[] = [];
  const outcomes: PollOutcome[] = [];
  let tell = () => {};
  const poll = await way(place, timeoutMs);
  const loop: AgentLoop = new AgentLoop(
    {
      engine: null,
      door: null,
      peers: null,
      guard: () => {},
      poll,
      keep: () => {},
      connectorReport: () => null,
      onRoutes: () => {},
      onReason: (reason) => {
        reasons.push(reason);
        // Here is no server that could be fenced: that it was begun is all there is to see.
        if (reason.kind === "fencing") queueMicrotask(() => loop.stop());
        tell();
      },
      onPollOutcome: (outcome) => (outcomes.push(outcome), tell()),
      onKeepFailure: () => {},
      onBroken: (error) => {
        throw error;
      },
    },
    begin({ ...seen, lease }, freshLive(told), clocks),
  );
  opened.push({ close: () => loop.stop() });
  const until = (isSo: () => boolean) =>
    new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(JSON.stringify({ outcomes, reasons }))), DEADLINE_MS);
      tell = () => {
        if (!isSo()) return;
        clearTimeout(timer);
        resolve();
      };
      tell();
    });
  return { loop, lease, reasons, outcomes, until };
}

function timeoutFor(cause: UnreachableCause): number {
  return cause === "timeout" ? TIMEOUT_MS.short : TIMEOUT_MS.long;
}

test.concurrent.each(ALL)("%s is %s, and the lease runs on", async (_, cause, open) => {
  const place = await open();
  const { loop, lease, reasons, outcomes, until } = await holder(place, straight, { timeoutMs: timeoutFor(cause) });
  expect(loop.state.phase.kind).toBe("open");
  await until(() => outcomes.length >= 2);
  expect(outcomes.map((outcome) => (outcome.kind === "unreachable" ? outcome.cause : outcome.kind))).toEqual(
    outcomes.map(() => cause),
  );
  expect(loop.state.phase.kind).toBe("open");
  expect(loop.state.durable.lease).toBe(lease);
  expect(reasons.map(({ kind }) => kind)).toEqual(["started"]);
  loop.stop();
});

test.concurrent.each(ALL)("%s is no answer through a peer either, and the lease runs on", async (_, cause, open) => {
  const place = await open();
  const { loop, lease, reasons, outcomes, until } = await holder(place, throughPeer, { timeoutMs: timeoutFor(cause) });
  await until(() => outcomes.length >= 2);
  expect(place.reached?.() ?? 1).toBeGreaterThan(0);
  expect(outcomes.map(({ kind }) => kind)).toEqual(outcomes.map(() => "unreachable"));
  expect(loop.state.phase.kind).toBe("open");
  expect(loop.state.durable.lease).toBe(lease);
  expect(reasons.map(({ kind }) => kind)).toEqual(["started"]);
  loop.stop();
});

test.concurrent.each(Object.keys(ERRORS) as ErrorCode[])(
  "a coordinator that refuses with %s ends no lease",
  async (code) => {
    const refusal = problem(code, "the detail");
    const place = await web((_, response) => response.writeHead(refusal.status).end(JSON.stringify(refusal)));
    const { loop, lease, reasons, outcomes, until } = await holder(place, straight);
    await until(() => outcomes.length >= 2);
    expect(outcomes[1]).toEqual({ kind: "problem", status: refusal.status, code, detail: "the detail" });
    expect(loop.state.durable.lease).toBe(lease);
    expect(reasons.map(({ kind }) => kind)).toEqual(["started"]);
    loop.stop();
  },
);

describe.each([
  ["straight", straight],
  ["through a peer", throughPeer],
])("what the coordinator has signed counts, %s", (_, way) => {
  /** Where a good coordinator answers; the peer dials it under another port than the agent. */
  const places: [string, (reply: Partial<Reply>) => Promise<Place>][] = [
    ["in the clear", (reply) => web(answering(reply))],
    ["under TLS", (reply) => secure(GOOD, answering(reply))],
  ];

  test.each(places)("%s: the end of the reign ends it", async (__, place) => {
    const { loop, reasons, until } = await holder(await place(ENDED), way);
    await until(() => reasons.some(({ kind }) => kind === "fencing"));
    expect(loop.state.phase).toMatchObject({ kind: "fencing", releases: EPOCH, cause: "lease-lost" });
  });

  test.each(places)("%s: the end of another reign does not", async (__, place) => {
    const { loop, lease, outcomes, until } = await holder(await place({ leaseEnded: { epoch: 1, mac: "mac" } }), way);
    await until(() => outcomes.length >= 2);
    expect(outcomes.map(({ kind }) => kind)).toEqual(outcomes.map(() => "reply"));
    expect(loop.state.durable.lease).toBe(lease);
    loop.stop();
  });

  test.each(places)("%s: an extension extends it", async (__, place) => {
    const granted: Lease = { ...(leaseOf(EPOCH) as Lease), ttlMs: 700_000 };
    const { loop, lease, reasons, until } = await holder(await place({ lease: granted }), way);
    await until(() => reasons.some(({ kind }) => kind === "lease-extended"));
    expect(loop.state.durable.lease).not.toBe(lease);
    expect(loop.state.durable.lease?.ttlMs).toBe(700_000);
    loop.stop();
  });
});

test("a coordinator at an IPv6 address is known by its certificate through a peer too", async () => {
  const { url } = await secure(GOOD, answering({}));
  const [one, two] = await Promise.all([channelOf("db1"), channelOf("db2", url)]);
  one.learn({ peers: [{ host: "db2", endpoint: two.endpoint }], peerKey: PEER_KEY });
  two.learn({ peers: [], peerKey: PEER_KEY });
  const client = clientOf(`https://[::1]:${await deadPort()}`, TIMEOUT_MS.long);
  const poll = routerPollOf(
    { durable: closedDurable({ epoch: EPOCH, op: 5 }), live: liveOf(WRITABLE) },
    { seq: 1, clocks: readClocks(), connector: null, peer: null },
  );
  expect(await client.poll(poll, one.detours())).toMatchObject({ kind: "reply" });
});

test("a lease that nobody extends ends by itself, whatever is answered meanwhile", async () => {
  const { loop, reasons, until } = await holder(await web(withStatus(503)), straight, { ttlMs: 700 });
  await until(() => reasons.some(({ kind }) => kind === "fencing"));
  expect(loop.state.phase).toMatchObject({ kind: "fencing", releases: EPOCH, cause: "lease-lost" });
});

/** What no test machine can be made to say, by its code. */
const CODES: [string, UnreachableCause][] = [
  ["EAI_AGAIN", "name-unknown"],
  ["EHOSTUNREACH", "no-route"],
  ["ENETDOWN", "no-route"],
  ["EACCES", "no-route"],
  ["ETIMEDOUT", "timeout"],
  ["EPIPE", "hung-up"],
  ["ECONNABORTED", "hung-up"],
  ["CERT_REVOKED", "certificate"],
  ["CERT_NOT_YET_VALID", "certificate"],
  ["SELF_SIGNED_CERT_IN_CHAIN", "certificate"],
  ["ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR", "tls"],
  ["EMFILE", "out-of-resources"],
  ["ENOBUFS", "out-of-resources"],
  ["ESOMETHING", "other"],
];

test.each(CODES)("%s is %s", (code, cause) => {
  expect(causeOf(Object.assign(new Error("words"), { code }))).toBe(cause);
});

test("whatever was thrown has a cause, and words", () => {
  const both = ["ECONNREFUSED ::1", "ECONNREFUSED 127.0.0.1"].map((words) => new Error(words));
  expect(detailOf(new AggregateError(both))).toBe("ECONNREFUSED ::1; ECONNREFUSED 127.0.0.1");
  expect(detailOf(new BadAnswer("too-large", "words"))).toBe("words");
  for (const odd of [null, undefined, 7, "text", {}, { code: 23 }]) {
    expect(causeOf(odd)).toBe("other");
    expect(detailOf(odd)).not.toBe("");
  }
});

test("every cause has been brought about, or its code tried", () => {
  const tried = new Set([...ALL.map(([, cause]) => cause), ...CODES.map(([, cause]) => cause)]);
  expect([...tried].toSorted()).toEqual(Object.keys(UNREACHABLE).toSorted());
});

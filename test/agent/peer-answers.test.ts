/** What comes back from a peer's address: a promise or a route only when the peer has signed it, and always an end. */
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import { createServer as createRawServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { PeerChannel } from "../../agent/peer/channel.ts";
import { ANSWER_HEADER, readClaim, signAnswer, SIGNATURE_HEADER } from "../../agent/peer/signature.ts";
import { KEY, listenOn, REQUEST, ROUTE } from "./asking.ts";

const opened: { close: () => unknown }[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((one) => one.close()));
});

async function listen(server: Server): Promise<number> {
  const { port, close } = await listenOn(server);
  opened.push({ close });
  return port;
}

/** db1, to whom somebody at this port was named as db2; and what it could not have. */
async function askerOf(port: number): Promise<{ channel: PeerChannel; failed: Promise<string> }> {
  let tell: (message: string) => void = () => {};
  const failed = new Promise<string>((resolve) => {
    tell = resolve;
  });
  const channel = await PeerChannel.open({
    self: "db1",
    host: "127.0.0.1",
    port: 0,
    onNudge: () => {},
    onFailure: (_, { message }) => tell(message),
  });
  opened.push(channel);
  channel.learn({ peers: [{ host: "db2", endpoint: { host: "127.0.0.1", port } }], peerKey: KEY });
  return { channel, failed };
}

interface Signing {
  key?: string;
  status?: number;
  body?: string;
  /** The MAC of the request that the answer claims to be for; its own when left out. */
  asked?: string;
}

function answerOf(request: IncomingMessage, { key = KEY, status = 200, body = "", asked }: Signing): string {
  const claim = readClaim(request.headers[SIGNATURE_HEADER]);
  return signAnswer(key, asked ?? claim?.mac ?? "", { status, body });
}

/** Says one thing, under a signature for another or for the same. */
function saying(status: number, body: string, signing: Signing | null): RequestListener {
  return (request, response) => {
    request.resume();
    const header = signing && { [ANSWER_HEADER]: answerOf(request, { status, body, ...signing }) };
    response.writeHead(status, header ?? {}).end(body);
  };
}

const web = (listener: RequestListener) => listen(createServer(listener));
const raw = (bytes: string, after: (socket: Socket) => void = () => {}) =>
  listen(createRawServer((socket) => void socket.once("data", () => socket.write(bytes, () => after(socket)))));

async function deadPort(): Promise<number> {
  const server = createRawServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const OTHER_MAC = "A".repeat(43);
const NO_ANSWER: [string, (body: string) => Promise<number>][] = [
  ["nobody listening", () => deadPort()],
  ["silence", () => raw("")],
  ["a connection cut", () => raw("", (socket) => socket.destroy())],
  ["another protocol that is switched to", () => raw("HTTP/1.1 101 Sw\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")],
  ["no HTTP", () => raw("hello\r\n\r\n")],
  ["half an answer", () => raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", (socket) => socket.destroy())],
  ["the very answer, unsigned", (body) => web(saying(200, body, null))],
  ["the very answer, signed with another key", (body) => web(saying(200, body, { key: "the key of beta" }))],
  ["the very answer, signed for another request", (body) => web(saying(200, body, { asked: OTHER_MAC }))],
  ["the very answer, signed with another status", (body) => web(saying(200, body, { status: 409 }))],
  ["an answer that was changed on its way", (body) => web(saying(200, `${body} `, { body }))],
  ["an answer without an end", () => web((_, response) => void response.writeHead(200).write("x".repeat(100_000)))],
  ["a signed answer that is too long", () => web(saying(200, "x".repeat(65_537), {}))],
  ["a redirect", () => web((_, response) => response.writeHead(307, { location: "http://127.0.0.1:1/" }).end())],
  ...[204, 400, 401, 404, 409, 500, 503].map((status): [string, (body: string) => Promise<number>] => [
    `a signed ${status}`,
    (body) => web(saying(status, status === 204 ? "" : body, {})),
  ]),
];

describe("a promise", () => {
  test("that is signed counts", async () => {
    const { channel } = await askerOf(await web(saying(200, "", {})));
    expect(await new Promise((resolve) => channel.askPromises(["db2"], REQUEST, resolve))).toBe("db2");
  });

  test.each(NO_ANSWER)("is none from %s, and the next one can be asked for", async (_, place) => {
    const { channel, failed } = await askerOf(await place(""));
    const given: string[] = [];
    channel.askPromises(["db2"], REQUEST, (by) => given.push(by));
    await failed;
    expect(given).toEqual([]);
  });
});

describe("a route", () => {
  const body = JSON.stringify(ROUTE);

  test("that is signed counts", async () => {
    const { channel } = await askerOf(await web(saying(200, body, {})));
    expect(await channel.askRoute("db2")).toEqual(ROUTE);
  });

  test.each(NO_ANSWER)("is none from %s", async (_, place) => {
    const { channel } = await askerOf(await place(body));
    expect(await channel.askRoute("db2")).toBe(null);
  });

  test.each([
    ["nothing", ""],
    ["junk", "hello"],
    ["another document", '{"service":"read-write"}'],
    ["a time that is none", JSON.stringify({ ...ROUTE, validMs: -1 })],
  ])("that is signed and says %s is none", async (_, said) => {
    const { channel } = await askerOf(await web(saying(200, said, {})));
    expect(await channel.askRoute("db2")).toBe(null);
  });
});

describe("a tunnel", () => {
  const AWAY: [string, () => Promise<number>][] = [
    ["nobody listening", () => deadPort()],
    ["silence", () => raw("")],
    ["a connection cut", () => raw("", (socket) => socket.destroy())],
    ["no HTTP", () => raw("hello\r\n\r\n")],
    ["a peer that believes nobody", () => raw("HTTP/1.1 401 refused\r\n\r\n")],
    ["a peer that carries enough", () => raw("HTTP/1.1 503 busy\r\n\r\n")],
    ["another protocol that is switched to", () => raw("HTTP/1.1 101 Sw\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")],
    ["a peer that knows no tunnels", () => raw("HTTP/1.1 404 no\r\ncontent-length: 0\r\n\r\n")],
  ];

  test.each(AWAY)("is none through %s, within the time given", async (_, place) => {
    const { channel } = await askerOf(await place());
    const [detour] = channel.detours();
    await expect(detour?.(AbortSignal.timeout(300))).rejects.toThrow(Error);
  });
});

/** The listening side of the peer channel. Whoever is not authentic learns nothing and changes nothing. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { TUNNEL } from "./asking.ts";
import { answerPeer, type PeerDesk } from "./requests.ts";
import { ANSWER_HEADER, isSigned, isTimely, readClaim, signAnswer, SIGNATURE_HEADER, type Claim } from "./signature.ts";
import { refuseTunnel } from "./tunnel.ts";

const MAX_BODY_BYTES = 65_536;
const MAX_CONNECTIONS = 256;
const REQUEST_TIMEOUT_MS = 2_000;
const IDLE_TIMEOUT_MS = 300_000;
const CHECK_EVERY_MS = 1_000;

export interface PeerServerOptions {
  /** This host's name: requests for others are none of ours. */
  self: string;
  /** The key of the newest reply; null before the first. */
  key: () => string | null;
  nowWallMs: () => number;
  desk: PeerDesk;
  /** Carries an authentic peer's connection to the coordinator. */
  carry: (asker: Socket, head: Buffer) => void;
}

/** Listens; rejects with the system's error when it cannot. */
export async function listenToPeers(
  address: { host: string; port: number },
  options: PeerServerOptions,
): Promise<{ port: number; close: () => Promise<void> }> {
  const server = createServer(
    {
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_EVERY_MS,
      keepAliveTimeout: IDLE_TIMEOUT_MS,
      noDelay: true,
    },
    (request, response) => receive(request, response, options),
  );
  server.maxConnections = MAX_CONNECTIONS;
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("checkExpectation", (request, response) => refuse(request, response, 417));
  server.on("connect", (request, socket, head) => tunnel({ request, socket: socket as Socket, head }, options));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(address.port, address.host, resolve);
  });
  return { port: (server.address() as AddressInfo).port, close: () => close(server, sockets) };
}

/** The server itself forgets a connection that became a tunnel, and waits for its end all the same. */
function close(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    for (const socket of sockets) socket.destroy();
  });
}

function receive(request: IncomingMessage, response: ServerResponse, options: PeerServerOptions): void {
  const claim = readClaim(request.headers[SIGNATURE_HEADER]);
  if (!claim || !isTimely(claim, options.self, options.nowWallMs())) return refuse(request, response, 401);
  const chunks: Buffer[] = [];
  let size = 0;
  request.on("error", () => request.destroy());
  request.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size <= MAX_BODY_BYTES) return void chunks.push(chunk);
    if (!response.headersSent) refuse(request, response, 413);
  });
  request.on("end", () => {
    if (response.headersSent) return;
    void answer({ request, response, claim, body: Buffer.concat(chunks).toString() }, options);
  });
}

function tunnel(
  { request, socket, head }: { request: IncomingMessage; socket: Socket; head: Buffer },
  { self, key, nowWallMs, carry }: PeerServerOptions,
): void {
  socket.on("error", () => socket.destroy());
  const claim = readClaim(request.headers[SIGNATURE_HEADER]);
  const held = key();
  const isAuthentic =
    claim !== null &&
    held !== null &&
    isTimely(claim, self, nowWallMs()) &&
    isSigned(held, claim, { method: request.method ?? "", path: request.url ?? "", body: "" });
  if (!isAuthentic || request.url !== TUNNEL.path) return refuseTunnel(socket, "401 refused");
  carry(socket, head);
}

async function answer(
  {
    request,
    response,
    claim,
    body,
  }: { request: IncomingMessage; response: ServerResponse; claim: Claim; body: string },
  { key, desk }: PeerServerOptions,
): Promise<void> {
  const { method = "", url: path = "" } = request;
  const held = key();
  if (held === null || !isSigned(held, claim, { method, path, body })) return refuse(request, response, 401);
  const { status, body: text = "" } = await answerPeer({ method, path, from: claim.from, body }, desk).catch(() => ({
    status: 503,
    body: "",
  }));
  response.writeHead(status, { [ANSWER_HEADER]: signAnswer(held, claim.mac, { status, body: text }) }).end(text);
}

/** The rest of what comes on this connection is not read. */
function refuse(request: IncomingMessage, response: ServerResponse, status: number): void {
  response.writeHead(status, { connection: "close" }).end(() => request.destroy());
}

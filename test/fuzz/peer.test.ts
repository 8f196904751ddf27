/** Junk on the peer channel: nobody is nudged by it, and the channel goes on listening. */
import { once } from "node:events";
import { connect } from "node:net";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PeerChannel } from "../../agent/peer/channel.ts";
import { sign, SIGNATURE_HEADER, TOLERANCE_MS } from "../../agent/peer/signature.ts";
import { mutatedText, runsOf } from "./mutate.ts";

const RUNS = runsOf(100, process.env["FUZZ_RUNS"]);
const KEY = "the key of alpha";

let channel: PeerChannel;
let nudges = 0;
let tell = () => {};
beforeAll(async () => {
  channel = await PeerChannel.open({
    self: "db1",
    host: "127.0.0.1",
    port: 0,
    onNudge: () => {
      nudges += 1;
      tell();
    },
    onFailure: () => {},
  });
  channel.learn({ peers: [], peerKey: KEY });
});
afterAll(() => channel.close());

const NUDGE = { method: "POST", path: "/nudge", from: "db2", to: "db1", body: "" };

function headerOf(patch: Partial<typeof NUDGE & { atWallMs: number }> = {}, key = KEY): string {
  return sign(key, { ...NUDGE, atWallMs: Date.now(), ...patch });
}

function requestOf(header: string, { path = "/nudge", body = "" } = {}): string {
  return `POST ${path} HTTP/1.1\r\nhost: db1\r\n${SIGNATURE_HEADER}: ${header}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`;
}

/** What comes back for these bytes until the connection is closed; both sides end it. */
async function exchange(bytes: string | Uint8Array): Promise<string> {
  const socket = connect(channel.endpoint.port, "127.0.0.1");
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.on("error", () => {});
  socket.end(bytes);
  await once(socket, "close");
  return Buffer.concat(chunks).toString();
}

async function expectListening(): Promise<void> {
  const nudged = new Promise<void>((resolve) => (tell = resolve));
  expect(await exchange(requestOf(headerOf()))).toContain(" 204 ");
  await nudged;
}

test("bytes that are no request of ours nudge nobody", async () => {
  nudges = 0;
  const junk = fc.oneof(
    fc.uint8Array({ maxLength: 400 }),
    fc.string({ maxLength: 400 }),
    // Signed by somebody who does not hold the key.
    mutatedText(requestOf(headerOf({}, "another key"))),
    mutatedText(headerOf({}, "another key")).map((header) => requestOf(header.replaceAll(/[\r\n]/g, ""))),
  );
  await fc.assert(
    fc.asyncProperty(junk, async (bytes) => {
      expect(await exchange(bytes)).not.toContain(" 204 ");
    }),
    RUNS,
  );
  expect(nudges).toBe(0);
  await expectListening();
});

test("a signature for anything else than this request, to this host, now, is refused", async () => {
  nudges = 0;
  const wrong = fc.oneof(
    fc.constantFrom({ to: "db2" }, { from: "db3", method: "GET" }, { path: "/" }, { body: "x" }, { path: "/nudge?" }),
    fc.integer({ min: TOLERANCE_MS + 5_000, max: 1e11 }).map((ms) => ({ atWallMs: Date.now() - ms })),
    fc.integer({ min: TOLERANCE_MS + 5_000, max: 1e11 }).map((ms) => ({ atWallMs: Date.now() + ms })),
  );
  await fc.assert(
    fc.asyncProperty(wrong, async (patch) => {
      expect(await exchange(requestOf(headerOf(patch)))).toMatch(/^HTTP\/1\.1 401 /);
    }),
    RUNS,
  );
  expect(nudges).toBe(0);
  await expectListening();
});

test("an authentic request for what there is not, or too large, is answered and does nothing", async () => {
  nudges = 0;
  expect(await exchange(requestOf(headerOf({ path: "/other" }), { path: "/other" }))).toMatch(/^HTTP\/1\.1 404 /);
  const body = "x".repeat(70_000);
  expect(await exchange(requestOf(headerOf({ body }), { body }))).toMatch(/^HTTP\/1\.1 413 |^$/);
  expect(nudges).toBe(0);
  await expectListening();
});

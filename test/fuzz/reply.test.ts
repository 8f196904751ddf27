/** Whatever comes back from the coordinator's address: only a reply is a reply, everything else is as if nobody answered. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pollOf } from "#shared/core/member/poll.ts";
import { nextDeadlineMs, step } from "#shared/core/member/step.ts";
import type { Reply } from "#shared/domain/messages.ts";
import { PROTOCOL_VERSION } from "#shared/domain/version.ts";
import { zReply } from "#shared/protocol/wire.ts";
import { CoordinatorClient } from "../../agent/coordinator-client.ts";
import { clocksAt } from "../core/builders.ts";
import { memberPhases, type MemberPhaseKind } from "../core/member-events.ts";
import { onPoll, signedWith } from "../agent/reply.ts";
import { mutated, mutatedText, runsOf } from "./mutate.ts";

const RUNS = runsOf(150, process.env["FUZZ_RUNS"]);

const HEAD = { id: "9.db1.x", op: 9, epoch: 1, deadlineMs: 1_000 };
const UPSTREAM = { member: "db2", host: "db2.example", port: 5432 };
const REPLY: Reply = {
  protocol: 1,
  answersSeq: 1_000,
  nonce: "1.1",
  version: 30,
  mac: "mac",
  nextPollMs: 1_000,
  policy: "automatic",
  policyVersion: 1,
  lease: {
    epoch: 1,
    ttlMs: 5_000,
    electorateVersion: 1,
    electorate: ["db1", "db2"],
    promiseBindsMs: 7_000,
    hasLeaseDoor: false,
  },
  leaseEnded: { epoch: 1, mac: "mac" },
  commands: [
    { kind: "follow", ...HEAD, upstream: UPSTREAM },
    { kind: "promote", ...HEAD, id: "9.db1.y", proof: "released", timeline: 2 },
  ],
  sync: { version: 1, k: 1, members: ["db2"] },
  routes: [
    { service: "read-write", epoch: 1, target: UPSTREAM, hold: false, validMs: 5_000 },
    { service: "read-only", epoch: 1, targets: [UPSTREAM], maxLatencyMs: 900_000, validMs: 5_000 },
  ],
  peers: [{ host: "db2", endpoint: { host: "db2.example", port: 7432 } }],
  call: ["db2"],
  peerKey: "key",
};

let answer = { status: 200, body: Buffer.from("") };
let server: Server;
let client: CoordinatorClient;
beforeAll(async () => {
  // Signed as the coordinator would: what is tried is what a reply says, not who says it.
  const answering = onPoll((poll, response) =>
    response.writeHead(answer.status, signedWith("t", poll, answer.body.toString())).end(answer.body),
  );
  server = createServer(answering).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  client = new CoordinatorClient({
    coordinator: `http://127.0.0.1:${port}`,
    dataservice: "alpha",
    token: "t",
    timeoutMs: 5_000,
  });
});
afterAll(() => {
  client.close();
  server.closeAllConnections();
  server.close();
});

const POLL = pollOf(memberPhases.open().state, { seq: 1_000, clocks: clocksAt(0), connector: null, peer: null });

function isReply(status: number, body: string): boolean {
  if (status !== 200) return false;
  try {
    const { success, data } = zReply.safeParse(JSON.parse(body));
    return success && data.protocol === PROTOCOL_VERSION && data.answersSeq === POLL.seq;
  } catch {
    return false;
  }
}

const bodies = fc.oneof(
  mutated(REPLY).map((reply) => JSON.stringify(reply)),
  mutatedText(JSON.stringify(REPLY)),
  fc.json(),
);

test("an answer that is no reply of the protocol is not taken for one", async () => {
  expect(isReply(200, JSON.stringify(REPLY))).toBe(true);
  const statuses = fc.constantFrom(200, 200, 200, 201, 400, 401, 404, 409, 429, 500, 502, 503);
  await fc.assert(
    fc.asyncProperty(statuses, bodies, async (status, body) => {
      answer = { status, body: Buffer.from(body) };
      const outcome = await client.poll(POLL);
      // What the wire carries is what was decoded: an unpaired surrogate is not the text that was written.
      const heard = answer.body.toString();
      expect(outcome.kind === "reply").toBe(isReply(status, heard));
    }),
    RUNS,
  );
});

test("an answer of bytes that are no text is as if nobody had answered", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
      answer = { status: 200, body: Buffer.from(bytes) };
      expect((await client.poll(POLL)).kind).toBe("unreachable");
    }),
    RUNS,
  );
});

const phases = Object.keys(memberPhases) as MemberPhaseKind[];

test("whatever reply of the protocol it is, a member's machine neither breaks nor forgets", () => {
  fc.assert(
    fc.property(fc.constantFrom(...phases), fc.array(mutated(REPLY), { maxLength: 4 }), (phase, replies) => {
      const member = memberPhases[phase]();
      let { state } = member;
      for (const candidate of replies) {
        const parsed = zReply.safeParse(candidate);
        if (!parsed.success) continue;
        const before = state.durable;
        const clocks = clocksAt(member.atMs);
        state = step(state, { kind: "replied", clocks, sent: clocks, reply: parsed.data }).state;
        expect(state.durable.released).toBeGreaterThanOrEqual(before.released);
        expect(state.durable.epochSeen).toBeGreaterThanOrEqual(before.epochSeen);
        nextDeadlineMs(state, clocks);
      }
    }),
    RUNS,
  );
});

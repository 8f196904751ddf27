/**
 * Random histories of clocks, routes and bytes over real sockets: no byte arrives that no proof covered since it was
 * sent, and none is lost while its session lives.
 */
import { expect, test } from "vitest";
import * as fc from "fast-check";
import { type Peer, route, Stage, startup } from "./peers.ts";

type Step =
  | { kind: "pass"; ms: number }
  | { kind: "prove"; validMs: number; agoMs: number }
  | { kind: "say"; from: "client" | "backend"; bytes: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 60 }) }),
  fc.record({
    kind: fc.constant("prove" as const),
    validMs: fc.integer({ min: 0, max: 100 }),
    agoMs: fc.integer({ min: 0, max: 50 }),
  }),
  fc.record({
    kind: fc.constant("say" as const),
    from: fc.constantFrom("client" as const, "backend" as const),
    bytes: fc.integer({ min: 1, max: 100_000 }),
  }),
);

test("a byte is never forwarded outside a proof, and none is lost", { timeout: 30_000 }, async () => {
  const stage = new Stage();
  const { server, port: serverPort } = await stage.server();
  const live = async (steps: Step[]): Promise<void> => {
    const { connector, port } = await stage.connector({ holdTimeoutMs: 60_000 });
    let validUntilMs = stage.nowMs + 50;
    connector.setRoute(route(1, serverPort, 50), stage.nowMs);
    const client: Peer = await stage.client(port);
    client.say(startup());
    const backend = await server.next();
    await backend.heard(startup().length);
    backend.say("R");
    await client.heard(1);
    const ends = {
      client: { peer: client, owed: 1, heard: 1 },
      backend: { peer: backend, owed: startup().length, heard: startup().length },
    };

    for (const now of steps) {
      if (now.kind === "pass") stage.nowMs += now.ms;
      if (now.kind === "prove") {
        validUntilMs = Math.max(validUntilMs, stage.nowMs - now.agoMs + now.validMs);
        connector.setRoute(route(1, serverPort, now.validMs), stage.nowMs - now.agoMs);
      }
      if (now.kind === "say") {
        ends[now.from].peer.say(Buffer.alloc(now.bytes, "b"));
        ends[now.from === "client" ? "backend" : "client"].owed += now.bytes;
      }
      const isProved = stage.nowMs < validUntilMs;
      for (const end of Object.values(ends)) {
        if (isProved) await end.peer.heard(end.owed);
        else await stage.settled();
        expect(end.peer.count).toBe(isProved ? end.owed : end.heard);
        end.heard = end.peer.count;
      }
    }
    await connector.close();
  };

  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 15 }), live), { numRuns: 40 });
  await stage.close();
});

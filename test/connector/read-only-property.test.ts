/**
 * Random histories of clocks, lists of replicas and bytes over real sockets: no byte arrives that the newest list did not
 * cover since it was sent, none is lost while its session lives, and no session outlives its replica's place on the list.
 */
import { expect, test } from "vitest";
import * as fc from "fast-check";
import { inTime, type Peer, readers, Stage, startup } from "./peers.ts";

type Name = "db2" | "db3";
type Step =
  | { kind: "pass"; ms: number }
  | { kind: "list"; names: Name[]; raise: number; validMs: number; agoMs: number }
  | { kind: "say"; name: Name; from: "client" | "backend"; bytes: number };

const NAMES: Name[] = ["db2", "db3"];

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 60 }) }),
  fc.record({
    kind: fc.constant("list" as const),
    names: fc.oneof({ weight: 3, arbitrary: fc.constant(NAMES) }, { weight: 1, arbitrary: fc.subarray(NAMES) }),
    raise: fc.integer({ min: -1, max: 1 }),
    validMs: fc.integer({ min: 0, max: 100 }),
    agoMs: fc.integer({ min: 0, max: 50 }),
  }),
  fc.record({
    kind: fc.constant("say" as const),
    name: fc.constantFrom(...NAMES),
    from: fc.constantFrom("client" as const, "backend" as const),
    bytes: fc.integer({ min: 1, max: 100_000 }),
  }),
);

/** One end of a session: what was said to it, and what it had heard when it was last allowed to. */
interface End {
  peer: Peer;
  owed: number;
  heard: number;
}

interface Session {
  name: Name;
  isCut: boolean;
  client: End;
  backend: End;
}

/** Resolves when `end` has heard all that it may hear, with how much that is. */
async function allowed(stage: Stage, session: Session, end: End, isProved: boolean): Promise<number> {
  if (session.isCut) {
    await inTime(end.peer.closed, `the cut of a session of ${session.name}`);
    return end.heard;
  }
  if (isProved) await end.peer.heard(end.owed);
  else await stage.settled();
  return isProved ? end.owed : end.heard;
}

test("a byte is never forwarded outside the newest list, and none is lost", { timeout: 30_000 }, async () => {
  const stage = new Stage();
  const servers = { db2: await stage.server(), db3: await stage.server() };
  const ports = { db2: servers.db2.port, db3: servers.db3.port };

  const live = async (steps: Step[]): Promise<void> => {
    const { connector, port } = await stage.readOnlyConnector({ holdTimeoutMs: 60_000 });
    let newest = { epoch: 5, sentMs: stage.nowMs, untilMs: stage.nowMs + 50 };
    connector.setRoute(readers(5, ports, 50), stage.nowMs);
    const sessions: Session[] = [];
    for (const name of NAMES) {
      const { client, backend } = await stage.session(port, servers[name].server);
      client.socket.once("end", () => client.socket.end());
      const sent = startup().length;
      sessions.push({
        name,
        isCut: false,
        client: { peer: client, owed: 1, heard: 1 },
        backend: { peer: backend, owed: sent, heard: sent },
      });
    }

    for (const now of steps) {
      if (now.kind === "pass") stage.nowMs += now.ms;
      if (now.kind === "list") {
        const [epoch, sentMs] = [newest.epoch + now.raise, stage.nowMs - now.agoMs];
        const named = Object.fromEntries(now.names.map((name) => [name, ports[name]]));
        connector.setRoute(readers(epoch, named, now.validMs), sentMs);
        if (now.raise === 1 || (now.raise === 0 && sentMs >= newest.sentMs)) {
          newest = { epoch, sentMs, untilMs: sentMs + now.validMs };
          for (const session of sessions) session.isCut ||= !now.names.includes(session.name);
        }
      }
      if (now.kind === "say") {
        for (const session of sessions.filter(({ name, isCut }) => name === now.name && !isCut)) {
          session[now.from].peer.say(Buffer.alloc(now.bytes, "b"));
          session[now.from === "client" ? "backend" : "client"].owed += now.bytes;
        }
      }
      for (const session of sessions) {
        for (const end of [session.client, session.backend]) {
          const count = await allowed(stage, session, end, stage.nowMs < newest.untilMs);
          expect(end.peer.count).toBe(count);
          end.heard = count;
        }
      }
    }
    await connector.close();
  };

  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 15 }), live), { numRuns: 40 });
  await stage.close();
});

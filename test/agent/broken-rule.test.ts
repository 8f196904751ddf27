/** An agent one of whose own rules is broken believes nothing any more: it keeps, does and says nothing, and tells it once. */
import { afterEach, describe, expect, test } from "vitest";
import { begin } from "#shared/core/member/step.ts";
import { freshDurable, freshLive, UNSEEN } from "#shared/core/member/state.ts";
import { readBootId, readClocks } from "../../agent/clocks.ts";
import { breakDown } from "../../agent/break-down.ts";
import type { EngineOutcome } from "../../agent/engine/engine.ts";
import { AgentLoop } from "../../agent/loop.ts";

const ENDPOINT = { host: "127.0.0.1", port: 4_321 };

let loop: AgentLoop | null = null;
afterEach(() => loop?.stop());

test("a step that breaks a rule changes nothing, is told once, and is the last", () => {
  const told: string[] = [];
  const broken: unknown[] = [];
  const tell = (what: string) => () => void told.push(what);
  const durable = freshDurable({ dataservice: "alpha", host: "app1" }, "incarnation");
  const live = { bootId: readBootId(), fenceMs: 1_500, endpoint: ENDPOINT, view: UNSEEN, nextPollMs: 60_000 };
  const { state } = begin(durable, freshLive(live), readClocks());
  // It has set out to open in an epoch that it has never heard of: no step comes to that, and no file that says so is read.
  const impossible = { ...state, durable: { ...state.durable, attempted: 5 } };
  loop = new AgentLoop(
    {
      engine: null,
      door: null,
      peers: null,
      guard: tell("guardian"),
      poll: () => (told.push("poll"), new Promise(() => {})),
      keep: tell("kept"),
      connectorReport: () => null,
      onRoutes: tell("routes"),
      onReason: tell("reason"),
      onPollOutcome: tell("outcome"),
      onKeepFailure: tell("keep failure"),
      onBroken: (error) => broken.push(error),
    },
    { state: impossible, effects: [], reasons: [], fsync: false },
  );
  const before = loop.state;
  told.length = 0;
  for (let turn = 0; turn < 3; turn += 1) {
    loop.lookAtTheTime();
    loop.pollSoon();
  }
  expect(broken.map(String)).toEqual(["Error: invariant broken: nobody attempts an epoch it has not seen"]);
  expect(told).toEqual([]);
  expect(loop.state).toBe(before);
});

describe("an agent that ends for a broken rule", () => {
  async function end(isFounded: boolean, fence: () => Promise<EngineOutcome>) {
    const told: string[] = [];
    let fences = 0;
    const engine = { fence: () => ((fences += 1), fence()) };
    const log = { fatal: (_fields: object, message: string) => void told.push(message) };
    await breakDown({ error: new Error("broken"), engine, isFounded, fenceMs: 900, log });
    return { told, fences };
  }

  test("fences its server, once, and says so", async () => {
    const done = async (): Promise<EngineOutcome> => ({ ok: true });
    expect(await end(true, done)).toEqual({ told: ["broken rule: fencing and ending"], fences: 1 });
  });

  test("leaves the server alone as long as it is not founded", async () => {
    const done = async (): Promise<EngineOutcome> => ({ ok: true });
    expect(await end(false, done)).toEqual({ told: ["broken rule: ending"], fences: 0 });
  });

  test.each<[string, () => Promise<EngineOutcome>]>([
    ["fails", async () => ({ ok: false, code: "still-alive", detail: "" })],
    ["breaks, too", () => Promise.reject(new Error("no more files"))],
  ])("ends although the fence %s", async (_, fence) => {
    const told = [
      "broken rule: fencing and ending",
      "the server could not be fenced: the guardian ends it with its lease",
    ];
    expect(await end(true, fence)).toEqual({ told, fences: 1 });
  });
});

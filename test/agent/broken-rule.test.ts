/** An agent one of whose own rules is broken believes nothing any more: it keeps, does and says nothing, and tells it once. */
import { afterEach, expect, test } from "vitest";
import { begin } from "#shared/core/member/step.ts";
import { freshDurable, freshLive, UNSEEN } from "#shared/core/member/state.ts";
import { readBootId, readClocks } from "../../agent/clocks.ts";
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

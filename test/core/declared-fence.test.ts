/** How long a host may take to fence its server is its own word, and what is waited for when its lease has to be over. */
import { expect, test } from "vitest";
import { begin } from "#shared/core/member/step.ts";
import { DEFAULT_SETTINGS, expiryWaitMs } from "#shared/domain/settings.ts";
import { clocksAt, IN_RECOVERY, openPatch, passWithout, poll, runningCluster, WRITABLE } from "./builders.ts";
import { closedDurable, give, liveOf, observed, type Member } from "./member-events.ts";

const { fenceMs: settingMs, ttlMs } = DEFAULT_SETTINGS;
/** What nobody polls for is noticed with the next poll. */
const SLACK_MS = 1_000;

test.each([
  ["longer than the setting says", settingMs + 4_000, settingMs + 4_000],
  ["shorter than the setting says", 100, settingMs],
])("a host that declares to take %s is waited for by the longer of the two", (_, fenceMs, waitedForMs) => {
  const cluster = runningCluster();
  poll(cluster, "db1", { ...openPatch(1), fenceMs });
  expect(cluster.state.lease).toMatchObject({ member: "db1", fenceMs: waitedForMs });
  const waitMs = expiryWaitMs({ ttlMs, fenceMs: waitedForMs, hasLeaseDoor: false }, DEFAULT_SETTINGS);
  passWithout(cluster, waitMs - SLACK_MS, ["db1"]);
  expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", epoch: 1 });
  passWithout(cluster, 3 * SLACK_MS, ["db1"]);
  expect(cluster.state.durable.phase).toMatchObject({ kind: "collecting", epoch: 1, proof: "expired" });
});

test("a member fences within what it declares", () => {
  const declaredMs = 2_345;
  const live = { ...liveOf(IN_RECOVERY), fenceMs: declaredMs };
  const member: Member = { state: begin(closedDurable({ epoch: 3, op: 30 }), live, clocksAt(0)).state, atMs: 0 };
  const { effects } = give(member, observed(member, WRITABLE));
  const tasks = effects.flatMap((effect) => (effect.kind === "run" ? [effect.task] : []));
  expect(tasks).toMatchObject([{ kind: "fence", deadlineMs: declaredMs }]);
});

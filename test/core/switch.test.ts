/**
 * A switch that fails, at each of its steps and in each of the ways in which it can: what is undone, who reigns then, and
 * what the operator is told.
 */
import { describe, expect, test } from "vitest";
import type { SwitchFailure } from "#shared/core/cluster/reason.ts";
import type { DurableState } from "#shared/core/cluster/state.ts";
import type { Command } from "#shared/domain/messages.ts";
import { lsnBytes, type Position } from "#shared/domain/position.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import { ask, pass, poll, position, ROUTER, send, STOPPED, WAIT_MS, type Cluster, type PollPatch } from "./builders.ts";
import { phases } from "./cluster-events.ts";
import { endOf, givenTo, listen, reasonsOf, refusalOf, routeOf, type Told } from "./listening.ts";
import { failing, killServer, live, liveUntil, restartCoordinator, say, serverOf, type Misfortune } from "./living.ts";
import { switchRows, type SwitchRow } from "./plan-events.ts";

const { catchUpMs, drainMs, flushMs } = DEFAULT_SETTINGS;

/** The steps before the old primary is stopped: all of them are undone by opening its door again. */
const BEFORE_THE_STOP = [
  "switch-preparing",
  "switch-holding",
  "switch-settling",
  "switch-draining",
  "switch-flushing",
] as const satisfies SwitchRow[];

const STEPS = [
  ...BEFORE_THE_STOP,
  "switch-stopping",
  "switch-stopping, handing over",
  "switch-stopping, crowning",
  "switch-returning",
] as const satisfies SwitchRow[];

/** Who reigns, and whether anything of an operation is left. */
function standing({ state: { durable } }: Cluster) {
  const { phase, plan, operation } = durable;
  const reigns = phase.kind === "reigning" && phase.opened ? phase.primary : phase.kind;
  return { reigns, isBusy: plan !== null || operation !== null };
}

function stateOf({ state: { durable } }: Cluster, name: string) {
  const record = durable.members[name];
  return record && `${record.role} ${record.state}`;
}

/** What is left of a switch that did not come to its end. */
function leftOf(cluster: Cluster, told: Told, before: DurableState) {
  const { epoch, policy, policyVersion } = cluster.state.durable;
  const { hold, target } = routeOf(cluster, "read-write");
  return {
    ...standing(cluster),
    ended: endOf(told, "switch"),
    told: reasonsOf(told, "switch-rolled-back").map(({ code }) => code),
    isSameReign: epoch === before.epoch,
    isSamePolicy: policy === before.policy && policyVersion === before.policyVersion,
    wasFenced: givenTo(told, "db2").includes("fence"),
    door: serverOf(cluster, "db2").door,
    route: { hold, target: target?.member },
    db2: stateOf(cluster, "db2"),
  };
}

/** db2 goes on in its reign as though nothing had been; the operator is told why. */
function nothingBut(code: SwitchFailure): ReturnType<typeof leftOf> {
  return {
    reigns: "db2",
    isBusy: false,
    ended: code,
    told: [code],
    isSameReign: true,
    isSamePolicy: true,
    wasFenced: false,
    door: "open",
    route: { hold: false, target: "db2" },
    db2: "primary online",
  };
}

interface Failure {
  title: string;
  from: SwitchRow;
  code: SwitchFailure;
  /** What is brought about at once. */
  first?: (cluster: Cluster) => void;
  misfortune?: Misfortune;
  /** How long it takes until the switch is given up. */
  afterMs: number;
}

/** A host that takes a command up and never ends it. */
function never(kind: Command["kind"]): Misfortune {
  return { obey: (_, command) => (command.kind === kind ? accepted(command) : undefined) };
}

function accepted({ id, op }: Command): PollPatch {
  return { results: [{ id, op, outcome: "accepted", code: "", value: "", detail: "" }] };
}

function fails(kind: Command["kind"]): Misfortune {
  return { obey: (_, command) => (command.kind === kind ? failing(command) : undefined) };
}

/** The target receives nothing any more, though its stream seems to stand; yields what ends that. */
function stall(cluster: Cluster, frozen = { position: position("0/1000000", 1), applied: 0x1000000 }): () => void {
  const { stepWith } = cluster;
  if (!stepWith) throw new Error("a stall is seen by whoever listens");
  cluster.stepWith = (state, event) => {
    const isTarget = event.kind === "poll" && event.poll.host === "db3" && event.poll.server !== null;
    if (!isTarget) return stepWith(state, event);
    const server = { ...event.poll.server, ...frozen, isWhole: false };
    return stepWith(state, { ...event, poll: { ...event.poll, server } } as never);
  };
  return () => {
    cluster.stepWith = stepWith;
  };
}

const failures: Failure[] = [
  {
    title: "prepare fails",
    from: "switch-preparing",
    code: "prepare-failed",
    misfortune: fails("prepare"),
    afterMs: 0,
  },
  {
    title: "prepare takes too long",
    from: "switch-preparing",
    code: "catch-up-timed-out",
    misfortune: never("prepare"),
    afterMs: catchUpMs,
  },
  {
    title: "the target does not come near",
    from: "switch-preparing",
    code: "catch-up-timed-out",
    first: stall,
    afterMs: catchUpMs,
  },
  {
    title: "a connector does not hold",
    from: "switch-holding",
    code: "hold-timed-out",
    misfortune: { neverHolds: true },
    afterMs: 4_500,
  },
  { title: "the drain fails", from: "switch-draining", code: "drain-failed", misfortune: fails("shut"), afterMs: 0 },
  {
    title: "the drain takes too long",
    from: "switch-draining",
    code: "drain-failed",
    misfortune: never("shut"),
    afterMs: drainMs + flushMs,
  },
  {
    title: "the target does not get the rest",
    from: "switch-flushing",
    code: "flush-timed-out",
    first: stall,
    afterMs: flushMs,
  },
];

describe("a switch is undone when", () => {
  test.each(failures)("$title ($code)", ({ from, code, first, misfortune = {}, afterMs }) => {
    const cluster = switchRows[from]();
    const before = cluster.state.durable;
    const told = listen(cluster);
    first?.(cluster);
    live(cluster, Math.max(0, afterMs - 500), misfortune);
    expect(cluster.state.durable.plan?.step.kind ?? "ended").toBe(from.replace("switch-", ""));
    live(cluster, 1_000, misfortune);
    expect(leftOf(cluster, told, before)).toEqual(nothingBut(code));
  });

  describe.each(BEFORE_THE_STOP)("in %s", (from) => {
    test.each([
      ["the target's stream breaks", (cluster) => say(cluster, "db3", { server: { receiver: { state: "none" } } })],
      ["the target's server dies", (cluster) => killServer(cluster, "db3")],
    ] as [string, (cluster: Cluster) => void][])("%s", (_, happens) => {
      const cluster = switchRows[from]();
      const before = cluster.state.durable;
      const told = listen(cluster);
      happens(cluster);
      poll(cluster, "db3");
      live(cluster, 500);
      expect(leftOf(cluster, told, before)).toEqual(nothingBut("target-lost"));
    });

    test("nothing is heard of the target", () => {
      const cluster = switchRows[from]();
      const before = cluster.state.durable;
      const told = listen(cluster);
      // Nothing else may move the switch on to where the target is needed no more.
      const isSlow = ({ kind }: Command) => kind === "prepare" || kind === "shut";
      const slow: Misfortune = { obey: (_, command) => (isSlow(command) ? accepted(command) : undefined) };
      live(cluster, 4_000, { ...slow, neverHolds: true, silent: ["db3"] });
      expect(leftOf(cluster, told, before)).toEqual(nothingBut("target-lost"));
    });

    test("all of it takes too long", () => {
      const cluster = switchRows[from]();
      const { durable } = cluster.state;
      const settings = { ...durable.settings, switchMs: 1_000 };
      const before = { ...durable, settings };
      cluster.state = { ...cluster.state, durable: before };
      const told = listen(cluster);
      pass(cluster, 1_000);
      send(cluster, { kind: "tick" });
      live(cluster, 500);
      expect(leftOf(cluster, told, before)).toEqual(nothingBut("switch-timed-out"));
    });
  });
});

describe("a policy that is set during a switch", () => {
  test.each(STEPS)("stands after it, in %s", (from) => {
    const cluster = switchRows[from]();
    const told = listen(cluster);
    expect(refusalOf(ask(cluster, { kind: "set-policy", policy: "manual" }))).toBe("accepted");
    liveUntil(cluster, () => !standing(cluster).isBusy);
    expect(endOf(told, "switch")).toBe("succeeded");
    expect(cluster.state.durable.policy).toBe("manual");
  });

  test("stands after one that is undone", () => {
    const cluster = switchRows["switch-draining"]();
    ask(cluster, { kind: "set-policy", policy: "manual" });
    const before = cluster.state.durable;
    const told = listen(cluster);
    live(cluster, 500, fails("shut"));
    expect(leftOf(cluster, told, before)).toEqual(nothingBut("drain-failed"));
  });
});

describe("a coordinator that is another one from a step on", () => {
  test.each(STEPS)("brings the switch to its end from %s", (from) => {
    const cluster = switchRows[from]();
    const told = listen(cluster);
    restartCoordinator(cluster);
    liveUntil(cluster, () => !standing(cluster).isBusy);
    expect(endOf(told, "switch")).toBe("succeeded");
    expect(standing(cluster)).toEqual({ reigns: "db3", isBusy: false });
    expect([stateOf(cluster, "db2"), stateOf(cluster, "db3")]).toEqual(["replica online", "primary online"]);
    expect(routeOf(cluster, "read-write")).toMatchObject({ hold: false, target: { member: "db3" } });
  });

  test.each(["switch-undoing", "switch-undoing, by a new epoch"] as const)("undoes it from %s", (from) => {
    const cluster = switchRows[from]();
    const { plan } = cluster.state.durable;
    const told = listen(cluster);
    restartCoordinator(cluster);
    liveUntil(cluster, () => !standing(cluster).isBusy);
    expect(plan).toMatchObject({ step: { kind: "undoing", code: endOf(told, "switch") } });
    expect(standing(cluster).reigns).toBe("db2");
    expect(routeOf(cluster, "read-write")).toMatchObject({ hold: false, target: { member: "db2" } });
  });
});

describe("a primary whose server dies during its own switch", () => {
  test.each(BEFORE_THE_STOP)("is succeeded as in any failover, in %s", (from) => {
    const cluster = switchRows[from]();
    const told = listen(cluster);
    killServer(cluster, "db2");
    liveUntil(cluster, () => standing(cluster).reigns !== "reigning" && !standing(cluster).isBusy);
    expect(endOf(told, "switch")).toBe("primary-lost");
    expect(endOf(told, "failover")).toBe("succeeded");
    expect(standing(cluster).reigns).toMatch(/db[34]/);
    expect(cluster.state.durable.members["db2"]).toMatchObject({
      state: "shunned",
      reason: { kind: "failed-over-to", to: standing(cluster).reigns },
    });
    expect(routeOf(cluster, "read-write").hold).toBe(false);
  });
});

describe("a switch whose primary has been stopped", () => {
  /** Runs on from the stop under a misfortune until nothing of the operation is left. */
  function undone(from: SwitchRow, misfortune: Misfortune = {}, first: (cluster: Cluster) => void = () => {}) {
    const cluster = switchRows[from]();
    const told = listen(cluster);
    first(cluster);
    liveUntil(cluster, () => !standing(cluster).isBusy, misfortune);
    return { cluster, told };
  }

  /** Who reigns after it, and how everybody stands a little later. */
  function restored({ cluster, told }: ReturnType<typeof undone>) {
    const { reigns, isBusy } = standing(cluster);
    const { hold } = routeOf(cluster, "read-write");
    live(cluster, 12_000);
    return {
      reigns,
      isBusy,
      hold,
      ended: endOf(told, "switch"),
      isNewReign: cluster.state.durable.epoch > 2,
      rollBacks: reasonsOf(told, "switch-rolled-back").length,
      states: ["db2", "db3", "db4"].map((name) => stateOf(cluster, name)),
      sources: ["db3", "db4"].map((name) => serverOf(cluster, name).receiver),
    };
  }

  /** The prior primary reigns again, in an epoch of its own, and everybody follows it. */
  function withPriorPrimary(code: SwitchFailure): ReturnType<typeof restored> {
    const source = { state: "streaming", upstream: "db2" } as const;
    return {
      reigns: "db2",
      isBusy: false,
      hold: false,
      ended: code,
      isNewReign: true,
      rollBacks: 1,
      states: ["primary online", "replica online", "replica online"],
      sources: [source, source],
    };
  }

  test("and whose stop was not clean opens it again", () => {
    const unclean: Misfortune = {
      obey: (host, command) =>
        command.kind === "fence" && host === "db2"
          ? {
              released: 2,
              releaseCause: "commanded",
              leaseRemainingMs: null,
              server: { phase: "closed", report: STOPPED, door: "open" },
            }
          : undefined,
    };
    expect(restored(undone("switch-stopping", unclean))).toEqual(withPriorPrimary("stop-not-clean"));
  });

  test("and whose target lacks its last word opens it again", () => {
    let endStall = () => {};
    const lacking = undone("switch-stopping", {}, (cluster) => {
      endStall = stall(cluster);
    });
    endStall();
    expect(restored(lacking)).toEqual(withPriorPrimary("target-incomplete"));
  });

  test("and whose target cannot be promoted opens it again", () => {
    const refusing: Misfortune = {
      obey: (host, command): PollPatch | undefined =>
        command.kind === "promote" && host === "db3"
          ? { ...failing(command), released: command.epoch, releaseCause: "promotion-failed" }
          : undefined,
    };
    expect(restored(undone("switch-stopping", refusing))).toEqual(withPriorPrimary("target-lost"));
  });

  test("and whose target is never heard of again opens it again, when the target's lease is certainly over", () => {
    const cluster = switchRows["switch-stopping, crowning"]();
    const told = listen(cluster);
    live(cluster, WAIT_MS - 1_000, { silent: ["db3"] });
    expect(standing(cluster).isBusy).toBe(true);
    liveUntil(cluster, () => !standing(cluster).isBusy, { silent: ["db3"] });
    expect(endOf(told, "switch")).toBe("target-lost");
    expect(standing(cluster).reigns).toBe("db2");
    expect(reasonsOf(told, "reign-ended")).toMatchObject([{ member: "db3", proof: "expired" }]);
  });

  test("and that is lost with its host is succeeded by whoever is left", () => {
    const cluster = switchRows["switch-stopping, handing over"]();
    const told = listen(cluster);
    say(cluster, "db3", { server: { receiver: { state: "ended", upstream: "db2" }, position: position("0/3000000") } });
    liveUntil(cluster, () => !standing(cluster).isBusy, { silent: ["db2"] });
    expect(endOf(told, "switch")).not.toBe("succeeded");
    expect(standing(cluster).reigns).toMatch(/db[34]/);
  });

  test("hands over within a fraction of a second where nothing goes wrong, and counts in no budget", () => {
    const cluster = switchRows["switch-preparing"]();
    const spent = cluster.state.durable.failoversWallMs;
    const told = listen(cluster);
    const begunMs = cluster.atMs;
    liveUntil(cluster, () => standing(cluster).reigns === "db3");
    expect(cluster.atMs - begunMs).toBeLessThan(1_000);
    liveUntil(cluster, () => !standing(cluster).isBusy);
    expect(endOf(told, "switch")).toBe("succeeded");
    expect(givenTo(told, "db2")).toEqual(["prepare", "shut", "fence", "start", "follow"]);
    expect(cluster.state.durable.failoversWallMs).toEqual(spent);
  });
});

describe("a primary whose heir has confirmed everything", () => {
  const obey =
    (value: string) =>
    (_: string, { kind, id, op }: Command): PollPatch | undefined =>
      kind === "shut"
        ? { results: [{ id, op, outcome: "done", code: "", value, detail: "" }], server: { door: "shut" } }
        : undefined;

  test.each([
    ["is stopped at once", "2 heir-has-all", "stopping"],
    ["that says nothing of it waits for the target's own word", "2", "flushing"],
    ["that says something else waits too", "2 heir-has-most", "flushing"],
  ])("%s", (_, value, expected) => {
    const cluster = switchRows["switch-draining"]();
    const told = listen(cluster);
    const { lsn, timeline } = serverOf(cluster, "db2").position as Position;
    const last = Number(lsnBytes(lsn)) - 8;
    const goOn = stall(cluster, {
      position: position(`0/${last.toString(16).toUpperCase()}`, timeline),
      applied: last,
    });
    const misfortune = { obey: obey(value) };
    liveUntil(cluster, () => cluster.state.durable.plan?.step.kind !== "draining", misfortune);
    expect(cluster.state.durable.plan?.step.kind).toBe(expected);
    expect(givenTo(told, "db2").includes("fence")).toBe(expected === "stopping");
    expect(reasonsOf(told, "sessions-purged")).toMatchObject([{ count: 2 }]);
    goOn();
    liveUntil(cluster, () => !standing(cluster).isBusy, misfortune);
    expect(endOf(told, "switch")).toBe("succeeded");
  });

  test("and which is far behind in applying it is waited for", () => {
    const cluster = switchRows["switch-draining"]();
    listen(cluster);
    stall(cluster);
    liveUntil(cluster, () => cluster.state.durable.plan?.step.kind !== "draining", { obey: obey("2 heir-has-all") });
    expect(cluster.state.durable.plan?.step.kind).toBe("flushing");
  });
});

describe("a prior primary that does not come back", () => {
  test("does not make the switch fail; it is told, and brought back later", () => {
    const cluster = switchRows["switch-returning"]();
    const told = listen(cluster);
    live(cluster, 29_000, { silent: ["db2"] });
    expect(standing(cluster).isBusy).toBe(true);
    live(cluster, 2_000, { silent: ["db2"] });
    expect(endOf(told, "switch")).toBe("succeeded");
    expect(reasonsOf(told, "prior-primary-not-back")).toMatchObject([{ member: "db2" }]);
    live(cluster, 15_000);
    expect(stateOf(cluster, "db2")).toBe("replica online");
  });
});

describe("an operator's assertion that the primary is dead", () => {
  test("ends the switch that stopped it, and another takes over", () => {
    const cluster = switchRows["switch-stopping"]();
    const told = listen(cluster);
    const silent = { silent: ["db2"] };
    live(cluster, 1_000, silent);
    expect(refusalOf(ask(cluster, { kind: "failover", to: null }, { force: true }))).toBe("primary-is-live");
    live(cluster, 5_000, silent);
    expect(refusalOf(ask(cluster, { kind: "failover", to: null }, { force: true }))).toBe("accepted");
    expect(cluster.state.durable.plan).toBeNull();
    expect(endOf(told, "switch")).toBe("primary-lost");
    liveUntil(cluster, () => !standing(cluster).isBusy, silent);
    expect(endOf(told, "failover")).toBe("succeeded");
    expect(cluster.state.durable.reigns.at(-1)).toMatchObject({ proof: "asserted" });
  });
});

describe("a switch in MAINTENANCE", () => {
  /** db2's reign is endless, and the dataservice knows it. */
  function inMaintenance(from: SwitchRow): Cluster {
    const cluster = switchRows[from]();
    ask(cluster, { kind: "set-policy", policy: "maintenance" });
    return cluster;
  }

  test("whose primary's agent is lost while the door is shut ends when the door has opened by itself", () => {
    const cluster = inMaintenance("switch-flushing");
    const told = listen(cluster);
    const lost = { silent: ["db2"] };
    say(cluster, "db3", { server: { applied: 0, receiver: { state: "streaming", upstream: "db2" } } });
    stall(cluster);
    live(cluster, flushMs + drainMs + 2 * flushMs - 500, lost);
    expect(cluster.state.durable.plan).toMatchObject({ step: { kind: "undoing" } });
    live(cluster, 1_000, lost);
    expect(endOf(told, "switch")).toBe("flush-timed-out");
    expect(routeOf(cluster, "read-write").hold).toBe(false);
  });

  test("hands over as in any other policy", () => {
    const cluster = inMaintenance("switch-preparing");
    const told = listen(cluster);
    liveUntil(cluster, () => !standing(cluster).isBusy);
    expect(endOf(told, "switch")).toBe("succeeded");
    expect(standing(cluster).reigns).toBe("db3");
  });
});

describe("while a switch is under way", () => {
  test.each(STEPS)("new connections wait as long as they must, in %s", (from) => {
    const cluster = switchRows[from]();
    const mustWait = !["switch-preparing", "switch-returning"].includes(from);
    expect(routeOf(cluster, "read-write").hold).toBe(mustWait);
  });

  test("nothing else is begun", () => {
    const cluster = switchRows["switch-draining"]();
    const before = cluster.state;
    for (const command of [
      { kind: "switch", to: null },
      { kind: "failover", to: null },
      { kind: "recover" },
      { kind: "datasource-shun", member: "db4" },
      { kind: "datasource-recover", member: "db1" },
    ] as const) {
      expect(refusalOf(ask(cluster, command))).toBe("operation-under-way");
      expect(cluster.state).toBe(before);
    }
  });

  test("a router host that is silent keeps nobody waiting", () => {
    const cluster = switchRows["switch-holding"]();
    liveUntil(cluster, () => standing(cluster).reigns === "db3", { silent: [ROUTER] });
    expect(cluster.state.durable.plan).toMatchObject({ step: { kind: "returning" } });
  });
});

describe("a switch to nobody in particular", () => {
  test("goes to the replica that has applied the most", () => {
    const cluster = phases["reigning-opened"]();
    poll(cluster, "db3", { server: { applied: 0x2000000 } });
    poll(cluster, "db4", { server: { applied: 0x3000000 } });
    expect(refusalOf(ask(cluster, { kind: "switch", to: null }))).toBe("accepted");
    expect(cluster.state.durable.plan).toMatchObject({ target: "db4" });
  });
});

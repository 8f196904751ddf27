/** Members that are brought back, and those that cannot be: in which order, by which commands, and what they are called then. */
import { describe, expect, test } from "vitest";
import type { RecoverFailure } from "#shared/core/cluster/reason.ts";
import type { Command } from "#shared/domain/messages.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import { ask, IN_RECOVERY, openPatch, poll, position, STOPPED, type Cluster, type PollPatch } from "./builders.ts";
import { phases } from "./cluster-events.ts";
import { endOf, givenTo, listen, reasonsOf, refusalOf, routeOf } from "./listening.ts";
import { failing, killServer, live, liveUntil, restartCoordinator, say, serverOf, type Misfortune } from "./living.ts";
import { recoverRows, type RecoverRow } from "./plan-events.ts";

/** db2 reigns in epoch 2; db1, which it succeeded, is stopped and SHUNNED; db3 and db4 follow db2. */
function afterFailover(): Cluster {
  const cluster = phases["reigning-opened"]();
  say(cluster, "db1", {
    released: 1,
    releaseCause: "server-died",
    leaseRemainingMs: null,
    server: { phase: "closed", report: STOPPED },
  });
  live(cluster, 2_000);
  return cluster;
}

/** db1 wrote what nobody else received: its log goes beyond the place where db2 took over. */
function withDivergence(): Cluster {
  const cluster = afterFailover();
  say(cluster, "db1", { server: { position: position("0/3000800") } });
  live(cluster, 500);
  return cluster;
}

function stateOf({ state: { durable } }: Cluster, name: string): string {
  const record = durable.members[name];
  const reason = record?.reason.kind === "none" ? "" : `(${record?.reason.kind})`;
  return `${record?.role} ${record?.state}${reason}`;
}

function isBusy({ state: { durable } }: Cluster): boolean {
  return durable.plan !== null || durable.operation !== null;
}

/** Asks for a recovery and lets it come to its end. */
function recover(cluster: Cluster, name: string | null, misfortune: Misfortune = {}) {
  const told = listen(cluster);
  const command =
    name === null ? ({ kind: "recover" } as const) : ({ kind: "datasource-recover", member: name } as const);
  const answer = refusalOf(ask(cluster, command));
  liveUntil(cluster, () => !isBusy(cluster), misfortune);
  return { answer, told, ended: endOf(told, name === null ? "recover" : "datasource-recover") };
}

function when(kind: Command["kind"], happens: (command: Command) => PollPatch): Misfortune {
  return { obey: (_, command) => (command.kind === kind ? happens(command) : undefined) };
}

describe("datasource M recover", () => {
  test("starts a former primary's server, repoints it, and it is a replica", () => {
    const cluster = afterFailover();
    const { told, ended } = recover(cluster, "db1");
    expect(ended).toBe("succeeded");
    expect(givenTo(told, "db1")).toEqual(["start", "follow"]);
    expect(stateOf(cluster, "db1")).toBe("replica online");
    expect(reasonsOf(told, "role-changed")).toMatchObject([{ member: "db1", from: "primary", to: "replica" }]);
  });

  test("rebuilds what has diverged, from the last place that the two logs have in common", () => {
    const cluster = withDivergence();
    const { told, ended } = recover(cluster, "db1");
    expect(ended).toBe("succeeded");
    expect(givenTo(told, "db1")).toEqual(["start", "rebuild", "start", "follow"]);
    const rebuild = told.commands.find(({ command }) => command.kind === "rebuild")?.command;
    expect(rebuild).toMatchObject({ fork: { timeline: 1, lsn: "0/3000000" }, upstream: { member: "db2" } });
    expect(reasonsOf(told, "recovery-rebuilding")).toMatchObject([{ end: "0/3000800", bytes: 0x800 }]);
    expect(stateOf(cluster, "db1")).toBe("replica online");
    expect(cluster.polls["db1"]?.incarnation).toBe("incarnation-db1-rebuilt");
  });

  test("leaves a replica that an operator shunned, and that streams, as it is", () => {
    const cluster = afterFailover();
    ask(cluster, { kind: "datasource-shun", member: "db4" });
    const { told, ended } = recover(cluster, "db4");
    expect(ended).toBe("succeeded");
    expect(told.commands).toEqual([]);
    live(cluster, 2_000);
    expect(stateOf(cluster, "db4")).toBe("replica online");
  });

  test("of one that is ONLINE is refused, and nothing changes", () => {
    const cluster = afterFailover();
    const before = cluster.state;
    expect(refusalOf(ask(cluster, { kind: "datasource-recover", member: "db4" }))).toBe("wrong-state");
    expect(cluster.state).toBe(before);
  });

  test("needs a primary", () => {
    const cluster = phases.vacant();
    const told = listen(cluster);
    expect(refusalOf(ask(cluster, { kind: "datasource-recover", member: "db4" }))).toBe("accepted");
    expect(endOf(told, "datasource-recover")).toBe("no-active-primary");
    expect(cluster.state.durable.plan).toBeNull();
  });
});

describe("a recovery that fails", () => {
  const failures: {
    code: RecoverFailure;
    title: string;
    from: () => Cluster;
    misfortune: Misfortune;
    state: string;
  }[] = [
    {
      code: "server-does-not-start",
      title: "its server cannot be started",
      from: afterFailover,
      misfortune: when("start", (command) => failing(command, "start-failed")),
      state: "primary shunned(failed-over-to)",
    },
    {
      code: "manager-stopped",
      title: "its agent is silent",
      from: afterFailover,
      misfortune: { silent: ["db1"] },
      state: "primary shunned(failed-over-to)",
    },
    {
      code: "rebuild-refused",
      title: "its host allows no rebuild",
      from: withDivergence,
      misfortune: when("rebuild", (command) => failing(command, "rebuild-not-allowed")),
      state: "primary shunned(failed-over-to)",
    },
    {
      code: "rebuild-failed",
      title: "its rebuild leaves a data directory that is worth nothing",
      from: withDivergence,
      misfortune: when("rebuild", (command) => ({ ...failing(command), server: { report: STOPPED, isDamaged: true } })),
      state: "primary failed(needs-provision)",
    },
    {
      code: "rebuild-failed",
      title: "what its rebuild left is still not of the line",
      from: withDivergence,
      misfortune: when("rebuild", ({ id, op }) => ({
        results: [{ id, op, outcome: "done", code: "", value: "", detail: "" }],
        server: { report: STOPPED },
      })),
      state: "primary shunned(failed-over-to)",
    },
    {
      code: "does-not-stream",
      title: "it is told to follow and does not stream",
      from: afterFailover,
      misfortune: when("follow", ({ id, op }) => ({
        results: [{ id, op, outcome: "done", code: "", value: "", detail: "" }],
      })),
      state: "replica offline",
    },
  ];

  test.each(failures)("$code: $title", ({ code, from, misfortune, state }) => {
    const cluster = from();
    const { told, ended } = recover(cluster, "db1", misfortune);
    expect(ended).toBe(code);
    expect(reasonsOf(told, "recovery-failed")).toMatchObject([{ member: "db1", code }]);
    expect(stateOf(cluster, "db1")).toBe(state);
  });

  test("names nothing in common when the server is another system's", () => {
    const cluster = withDivergence();
    const foreign = { ...position("0/3000800"), systemId: "7300000000000000002" };
    say(cluster, "db1", { server: { position: foreign } });
    const { told, ended } = recover(cluster, "db1");
    expect(ended).toBe("rebuild-refused");
    expect(givenTo(told, "db1")).not.toContain("rebuild");
  });

  test("takes no longer than a recovery may", () => {
    const cluster = withDivergence();
    const told = listen(cluster);
    const recoverMs = 40_000;
    const { durable } = cluster.state;
    cluster.state = {
      ...cluster.state,
      durable: { ...durable, settings: { ...DEFAULT_SETTINGS, recoverMs } },
    };
    const { ended } = recover(
      cluster,
      "db1",
      when("rebuild", ({ id, op }) => ({
        results: [{ id, op, outcome: "accepted", code: "", value: "", detail: "" }],
      })),
    );
    expect(ended).toBe("not-in-time");
    expect(reasonsOf(told, "recovery-failed")).toHaveLength(1);
  });
});

describe("a member that is damaged", () => {
  function damaged(): Cluster {
    const cluster = withDivergence();
    recover(
      cluster,
      "db1",
      when("rebuild", (command) => ({ ...failing(command), server: { report: STOPPED, isDamaged: true } })),
    );
    return cluster;
  }

  test("is neither started nor repointed, and stays FAILED(needs-provision)", () => {
    const cluster = damaged();
    const told = listen(cluster);
    live(cluster, 30_000);
    expect(givenTo(told, "db1")).toEqual([]);
    expect(stateOf(cluster, "db1")).toBe("primary failed(needs-provision)");
  });

  test("is not promoted, though it be the only one that is left and an operator welcomes it by force", () => {
    const cluster = damaged();
    for (const name of ["db3", "db4"]) killServer(cluster, name);
    killServer(cluster, "db2");
    const away = { silent: ["db2", "db3", "db4"] };
    for (const name of away.silent) poll(cluster, name);
    say(cluster, "db1", { server: { report: IN_RECOVERY } });
    live(cluster, 40_000, away);
    ask(cluster, { kind: "datasource-shun", member: "db1" });
    expect(refusalOf(ask(cluster, { kind: "datasource-welcome", member: "db1" }, { force: true }))).toBe("accepted");
    const told = listen(cluster);
    live(cluster, 40_000, away);
    expect(givenTo(told, "db1")).not.toContain("promote");
    expect(cluster.state.durable.phase.kind).toBe("vacant");
  });

  test("is recovered by another rebuild that ends well", () => {
    const cluster = damaged();
    const { told, ended } = recover(cluster, "db1");
    expect(ended).toBe("succeeded");
    expect(givenTo(told, "db1")).toEqual(["rebuild", "start", "follow"]);
    expect(stateOf(cluster, "db1")).toBe("replica online");
  });
});

describe("recover", () => {
  /** db1 is SHUNNED, db3 FAILED and stopped, db4 SHUNNED by an operator though it streams. */
  function severalOut(): Cluster {
    const cluster = afterFailover();
    ask(cluster, { kind: "set-policy", policy: "manual" });
    killServer(cluster, "db3");
    live(cluster, 2_000);
    ask(cluster, { kind: "datasource-shun", member: "db4" });
    return cluster;
  }

  test("brings everybody back, one after the other, and says how many", () => {
    const cluster = severalOut();
    const { told, ended } = recover(cluster, null);
    expect(ended).toBe("succeeded");
    expect(reasonsOf(told, "recovery-found").map((reason) => reason.member)).toEqual(["db1", "db3"]);
    expect(reasonsOf(told, "recovery-completed").map((reason) => reason.member)).toEqual(["db1", "db3"]);
    expect(reasonsOf(told, "service-recovered")).toMatchObject([{ count: 3 }]);
    expect(["db1", "db3", "db4"].map((name) => stateOf(cluster, name))).toEqual([
      "replica online",
      "replica online",
      "replica offline",
    ]);
  });

  test("goes on with the others where one cannot be brought back", () => {
    const cluster = severalOut();
    const { told, ended } = recover(cluster, null, {
      obey: (host, command) => (host === "db1" && command.kind === "start" ? failing(command) : undefined),
    });
    expect(ended).toBe("some-not-recovered");
    expect(reasonsOf(told, "recovery-failed")).toMatchObject([{ member: "db1", code: "server-does-not-start" }]);
    expect(reasonsOf(told, "service-recovered")).toMatchObject([{ count: 2 }]);
    expect(stateOf(cluster, "db3")).toBe("replica online");
  });

  test("is done at once where nobody is out", () => {
    const cluster = afterFailover();
    recover(cluster, "db1");
    const { told, ended } = recover(cluster, null);
    expect(ended).toBe("succeeded");
    expect(reasonsOf(told, "service-recovered")).toMatchObject([{ count: 0 }]);
    expect(told.commands).toEqual([]);
  });

  test("says that there is no primary where there is none", () => {
    const cluster = phases.vacant();
    const told = listen(cluster);
    ask(cluster, { kind: "recover" });
    expect(endOf(told, "recover")).toBe("no-active-primary");
    expect(reasonsOf(told, "no-active-primary")).toHaveLength(1);
  });
});

describe("a primary that is lost during a recovery", () => {
  test.each(Object.keys(recoverRows) as RecoverRow[])("comes first, in %s: its successor is sought", (from) => {
    const cluster = recoverRows[from]();
    const told = listen(cluster);
    killServer(cluster, "db2");
    liveUntil(cluster, () => !isBusy(cluster));
    expect(endOf(told, "datasource-recover")).toBe("no-active-primary");
    expect(endOf(told, "failover")).toBe("succeeded");
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", opened: true, epoch: 3 });
  });
});

describe("a coordinator that is another one from a step on", () => {
  test.each(Object.keys(recoverRows) as RecoverRow[])("brings the recovery to its end from %s", (from) => {
    const cluster = recoverRows[from]();
    const told = listen(cluster);
    restartCoordinator(cluster);
    liveUntil(cluster, () => !isBusy(cluster));
    expect(endOf(told, "datasource-recover")).toBe("succeeded");
    expect(stateOf(cluster, "db1")).toBe("replica online");
  });
});

describe("while a member is being recovered", () => {
  test.each(Object.keys(recoverRows) as RecoverRow[])("clients go on, in %s", (from) => {
    const cluster = recoverRows[from]();
    poll(cluster, "db2", openPatch(2));
    expect(routeOf(cluster, "read-write")).toMatchObject({ hold: false, target: { member: "db2" } });
    expect(serverOf(cluster, "db2").door).toBe("open");
  });
});

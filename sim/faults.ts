/** Misfortune: what happens to hosts, network, servers and coordinator while the chaos lasts. */
import type { SyncPolicy } from "#shared/core/cluster/state.ts";
import { weatherOf, type FaultKind, type Scenario } from "./scenario.ts";
import { hasReached } from "#shared/domain/position.ts";
import type { Checkers } from "./checkers.ts";
import type { Coordinator } from "./coordinator.ts";
import type { Host } from "./host.ts";
import type { Network } from "./network.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

export interface FaultPorts {
  world: World;
  random: Random;
  network: Network;
  checkers: Checkers;
  coordinator: Coordinator;
  hosts: Host[];
  scenario: Scenario;
  /** A copy of a machine, running or as its disk is, begins to live beside it. */
  copy: (host: Host, isLive: boolean) => void;
}

/** Lets faults happen, one after the other, from now until the chaos ends. */
export function unleash(ports: FaultPorts): void {
  const { world, random, scenario } = ports;
  if (scenario.faults.length === 0) return;
  const next = (): void => {
    if (!world.chaos) return;
    const host = victim(ports);
    strike(ports, random.pick(scenario.faults), host);
    // Misfortunes that come together break what each alone does not.
    if (random.chance(0.3)) {
      const another = random.pick(scenario.faults);
      world.after(random.between(0, 500), () => world.chaos && strike(ports, another, host));
    }
    world.after(random.between(0, 2 * scenario.faultEveryMs), next);
  };
  world.after(random.between(0, scenario.faultEveryMs), next);
}

/** How long something is broken: mostly short, sometimes longer than any timeout. */
function spell(random: Random): number {
  return random.pick([random.between(20, 500), random.between(300, 3_000), random.between(3_000, 15_000)]);
}

/** Whoever reigns is struck more often than anybody else. */
function victim({ random, hosts, coordinator }: FaultPorts): Host {
  const phase = coordinator.stored.durable.phase;
  const reigning = hosts.find((host) => "primary" in phase && host.name === phase.primary);
  return reigning && random.chance(0.5) ? reigning : random.pick(hosts);
}

function strike(ports: FaultPorts, kind: FaultKind, host: Host): void {
  const { world, random, network, coordinator, hosts } = ports;
  const forMs = spell(random);
  world.note("fault", `${kind} ${host.name}`);
  switch (kind) {
    case "agent-partition":
      return cut(network, random, { a: host.name, b: "coordinator", forMs });
    case "last-word":
      return delayLastWord(ports, host);
    case "server-partition":
      return cut(network, random, { a: host.name, b: random.pick(hosts).name, forMs });
    case "server-crash":
      return crashServer(ports, host);
    case "server-hang":
      host.server.setHung(true);
      world.after(forMs, () => host.server.setHung(false));
      return;
    case "agent-crash":
      if (host.agent?.isAlive && host.mayBeWithoutAgent(forMs)) host.crashAgent(forMs);
      return;
    case "agent-pause":
      if (host.mayBeWithoutAgent(forMs)) host.pause(forMs);
      return;
    case "machine-sleep":
      if (host.mayStandStill(forMs)) host.sleep(forMs);
      return;
    case "machine-reboot":
      return host.powerOff(forMs);
    case "wall-step":
      stepWall(host, wallStep(random));
      // Whoever counts a lease on such a clock alone is found out when nobody renews it.
      if (random.chance(0.4))
        cut(network, random, { a: host.name, b: "coordinator", forMs: random.between(6_000, 12_000) });
      return;
    case "coordinator-crash":
      return coordinator.crash(forMs);
    case "coordinator-away":
      return coordinator.crash(random.between(5_000, 60_000));
    case "coordinator-eviction":
      return coordinator.evict();
    case "coordinator-restore":
      // Those who could contradict it may be away just then.
      for (const { name } of hosts) {
        if (random.chance(0.25))
          cut(network, random, { a: name, b: "coordinator", forMs: random.between(500, 12_000) });
      }
      return coordinator.restore(coordinator.anyCopy(random));
    case "coordinator-disk-lost":
      // Where nothing was founded yet, a creation anew is no restore.
      return coordinator.stored.durable.epoch > 0 ? coordinator.restore(null) : undefined;
    case "state-file-lost":
      return loseState(ports, host);
    case "data-restored":
      return restoreData(ports, host);
    case "agent-cloned":
      return ports.copy(host, random.chance(0.5));
    case "coordinator-wall-step":
      return coordinator.clock.step(wallStep(random));
    case "operator-fail":
      return coordinator.command({ kind: "datasource-fail", member: host.name });
    case "operator-failover":
      return coordinator.command({ kind: "failover", to: random.chance(0.5) ? null : host.name });
    case "operator-switch":
      return coordinator.command({ kind: "switch", to: random.chance(0.5) ? null : host.name });
    case "operator-recover":
      if (random.chance(0.5)) return coordinator.command({ kind: "recover" });
      return coordinator.command({ kind: "datasource-recover", member: host.name });
    case "operator-datasource":
      return coordinator.command({ kind: random.pick(DATASOURCE_REQUESTS), member: host.name });
    case "operator-policy":
      return coordinator.command({ kind: "set-policy", policy: random.pick(["automatic", "manual", "maintenance"]) });
    case "operator-durability":
      return coordinator.command({ kind: "set-durability", sync: anyDurability(ports) });
    case "operator-force":
      return byForce(ports, host);
    case "weather":
      network.weather = weatherOf(random);
      return;
  }
}

const DATASOURCE_REQUESTS = [
  "datasource-shun",
  "datasource-welcome",
  "datasource-online",
  "datasource-offline",
] as const;

/** Asynchronous, or as many acknowledgements as there may be, and what happens with fewer. */
function anyDurability({ random, hosts }: FaultPorts): SyncPolicy | null {
  if (random.chance(0.4)) return null;
  const k = random.chance(0.7) ? 1 : Math.max(1, Math.min(2, hosts.length - 1));
  return { k, onLoss: random.chance(0.7) ? "block" : "degrade" };
}

/** An agent loses its state file; sooner or later an operator has it readmitted. */
function loseState({ world, random, coordinator }: FaultPorts, host: Host): void {
  // An unfounded agent fences nothing: its server must not be able to write, or its owner must have stopped it.
  if (!host.isManaged || !host.isOn || host.isHalted) return;
  host.server.kill();
  host.loseState(`incarnation-of-${host.name}-${world.nowMs.toFixed(0)}`, random.between(10, 3_000));
  world.after(random.between(100, 6_000), () => {
    if (host.server.life === null && host.isOn) host.server.start(200);
    coordinator.command({ kind: "datasource-recover", member: host.name }, true);
  });
}

/**
 * A copy of a data directory is taken and, a while later, put back, under the agent's state as it is by then. A copy that
 * holds all that the agent had seen by then tells nobody that it is one: such are left out.
 */
function restoreData({ world, random, checkers }: FaultPorts, host: Host): void {
  if (!host.isManaged) return;
  const { server, disk } = host;
  const copy = server.copyOfLog();
  const { incarnation } = disk.written;
  world.after(random.pick([random.between(200, 2_000), random.between(2_000, 10_000)]), () => {
    if (random.chance(0.5)) server.kill();
    else server.stopInOrder();
    world.after(random.between(10, 1_000), () => {
      const { furthest: mark, incarnation: now, isDamaged } = disk.written;
      const isOlder = mark !== null && !hasReached(copy.position, mark);
      if (!world.chaos || isDamaged || now !== incarnation || !isOlder) return;
      world.note(host.name, `data directory put back to ${copy.position.timeline} ${copy.position.lsn}`);
      server.putBack(copy);
      checkers.putBack(host.name, mark);
      // Some start it themselves, others leave that to the agent.
      if (random.chance(0.5) && host.isOn) server.start(random.between(50, 500));
    });
  });
}

/** What an operator does who means it. */
function byForce({ random, coordinator }: FaultPorts, host: Host): void {
  const kind = random.pick(["failover", "datasource-welcome", "datasource-welcome", "datasource-shun"] as const);
  if (kind === "failover") return coordinator.command({ kind, to: null }, true);
  coordinator.command({ kind, member: host.name }, true);
}

/** One direction or both. */
function cut(network: Network, random: Random, line: { a: string; b: string; forMs: number }): void {
  const way = random.pick(["both", "there", "back"]);
  if (way !== "back") network.block(line.a, line.b, line.forMs);
  if (way !== "there") network.block(line.b, line.a, line.forMs);
}

/**
 * The last that a host hears is an answer of long ago: once it is on its way, slowly, no poll gets through any more, and
 * no peer is reached that could promise anything.
 */
function delayLastWord({ world, random, network, coordinator, hosts }: FaultPorts, host: Host): void {
  network.holdUp("coordinator", host.name, { byMs: random.between(300, 3_200), forMs: 4_000 });
  if (random.chance(0.3)) return;
  const serial = coordinator.stored.lease?.serial;
  const untilMs = world.nowMs + 4_000;
  const watch = (): void => {
    if (!world.chaos || world.nowMs > untilMs) return;
    if (coordinator.stored.lease?.serial === serial) return void world.after(10, watch);
    const forMs = random.between(6_000, 15_000);
    network.block(host.name, "coordinator", forMs);
    for (const other of hosts) if (other !== host) network.block(host.name, other.name, forMs);
  };
  watch();
}

/** A server dies; now and then somebody starts it by hand, knowing nothing of Interrex. */
function crashServer({ world, random }: FaultPorts, host: Host): void {
  host.server.kill();
  if (!random.chance(0.3)) return;
  world.after(random.between(50, 3_000), () => {
    if (host.isOn) host.server.start(random.between(50, 500));
  });
}

/** Nobody sets the clock of a machine that stands still: that a sleep and a step back meet in one lease is beyond the guarantees. */
function stepWall({ isAsleep, clock }: Host, byMs: number): void {
  if (!isAsleep) clock.stepWall(byMs);
}

function wallStep(random: Random): number {
  const sizeMs = random.pick([300, 3_000, 10_000, 3_600_000]);
  return random.between(-sizeMs, sizeMs);
}

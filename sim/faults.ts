/** Misfortune: what happens to hosts, network, servers and coordinator while the chaos lasts. */
import { weatherOf, type FaultKind, type Scenario } from "./scenario.ts";
import type { Coordinator } from "./coordinator.ts";
import type { Host } from "./host.ts";
import type { Network } from "./network.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

export interface FaultPorts {
  world: World;
  random: Random;
  network: Network;
  coordinator: Coordinator;
  hosts: Host[];
  scenario: Scenario;
}

/** Lets faults happen, one after the other, from now until the chaos ends. */
export function unleash(ports: FaultPorts): void {
  const { world, random, scenario } = ports;
  if (scenario.faults.length === 0) return;
  const next = (): void => {
    if (!world.chaos) return;
    const kind = random.pick(scenario.faults);
    world.note("fault", kind);
    strike(ports, kind);
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

function strike(ports: FaultPorts, kind: FaultKind): void {
  const { random, network, coordinator, hosts } = ports;
  const host = victim(ports);
  const forMs = spell(random);
  switch (kind) {
    case "agent-partition":
      return cut(network, random, { a: host.name, b: "coordinator", forMs });
    case "server-partition":
      return cut(network, random, { a: host.name, b: random.pick(hosts).name, forMs });
    case "server-crash":
      return crashServer(ports, host);
    case "server-hang":
      host.server.setHung(true);
      ports.world.after(forMs, () => host.server.setHung(false));
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
      return host.clock.stepWall(wallStep(random));
    case "coordinator-crash":
      return coordinator.crash(forMs);
    case "coordinator-eviction":
      return coordinator.evict();
    case "coordinator-wall-step":
      return coordinator.clock.step(wallStep(random));
    case "operator-fail":
      return coordinator.command({ kind: "datasource-fail", member: host.name });
    case "operator-failover":
      return coordinator.command({ kind: "failover", to: random.chance(0.5) ? null : host.name });
    case "weather":
      network.weather = weatherOf(random);
      return;
  }
}

/** One direction or both. */
function cut(network: Network, random: Random, line: { a: string; b: string; forMs: number }): void {
  const way = random.pick(["both", "there", "back"]);
  if (way !== "back") network.block(line.a, line.b, line.forMs);
  if (way !== "there") network.block(line.b, line.a, line.forMs);
}

/** A server dies; now and then somebody starts it by hand, knowing nothing of Interrex. */
function crashServer({ world, random }: FaultPorts, host: Host): void {
  host.server.kill();
  if (!random.chance(0.3)) return;
  world.after(random.between(50, 3_000), () => {
    if (host.isOn) host.server.start(random.between(50, 500));
  });
}

function wallStep(random: Random): number {
  const sizeMs = random.pick([300, 3_000, 10_000, 3_600_000]);
  return random.between(-sizeMs, sizeMs);
}

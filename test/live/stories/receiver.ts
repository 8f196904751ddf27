/** A replica that is held back: its server goes on and looks healthy, and receives nothing. */
import { readFileSync } from "node:fs";
import { freezeAll } from "../../../demo/frost.ts";
import type { DemoHost } from "../../../demo/host.ts";

/** Makes the process stand still that receives the log for the host's server; returns it, to be thawed. */
export function freezeReceiver(host: DemoHost): Promise<number[]> {
  return freezeAll(`the receiver of ${host.name}`, () => {
    const receivers = host.servers.filter(isReceiver);
    if (receivers.length !== 1) throw new Error(`${host.name} has ${receivers.length} receivers: it must stream`);
    return receivers;
  });
}

function isReceiver(pid: number): boolean {
  return readFileSync(`/proc/${pid}/cmdline`, "latin1").startsWith("postgres: walreceiver");
}

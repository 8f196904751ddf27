/** An operator's command, as the HTTP API words it, in the words of the coordinator's machine. */
import { DEFAULT_SYNC_POLICY, type OperatorRequest, type SyncPolicy } from "#shared/core/cluster/state.ts";
import type { DurabilityChange, OperatorCommand } from "#shared/protocol/api.ts";
import { refuse, type Refused } from "./answer.ts";

export function requestOf(command: OperatorCommand): OperatorRequest {
  switch (command.command) {
    case "failover":
    case "switch":
      return { kind: command.command, to: command.to ?? null };
    case "recover":
    case "coordinator-restored":
      return { kind: command.command };
    case "set-policy":
      return { kind: "set-policy", policy: command.policy };
    case "set-durability":
      return { kind: "set-durability", sync: syncOf(command) };
    case "datasource-fail":
    case "datasource-shun":
    case "datasource-welcome":
    case "datasource-online":
    case "datasource-offline":
    case "datasource-recover":
      return { kind: command.command, member: command.member };
  }
}

/** Who is to acknowledge; null asks for asynchronous durability, of which `sync` says nothing. */
function syncOf({ durability, sync }: DurabilityChange): SyncPolicy | null {
  return durability === "async" ? null : (sync ?? DEFAULT_SYNC_POLICY);
}

/** Why a command is refused though it has the right shape; null when it may be given. */
export function refuseCommand(command: OperatorCommand): Refused | null {
  if (command.command !== "set-durability" || command.durability === "sync" || command.sync === undefined) return null;
  return refuse("invalid-request", "sync: it means nothing with durability 'async': leave it out, or ask for 'sync'");
}

/** Whether the operator overrides the guards that this command names. */
export function isForced(command: OperatorCommand): boolean {
  return "force" in command && command.force;
}

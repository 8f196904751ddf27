/** An operator's command, as the HTTP API words it, in the words of the coordinator's machine. */
import { DEFAULT_SYNC_POLICY, type OperatorRequest, type SyncPolicy } from "#shared/core/cluster/state.ts";
import type { DurabilityChange, OperatorCommand } from "#shared/protocol/api.ts";

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

/** Whether the operator overrides the guards that this command names. */
export function isForced(command: OperatorCommand): boolean {
  return "force" in command && command.force;
}

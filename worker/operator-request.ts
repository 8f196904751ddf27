/** An operator's command, as the HTTP API words it, in the words of the coordinator's machine. */
import type { OperatorRequest } from "#shared/core/cluster/state.ts";
import type { OperatorCommand } from "#shared/protocol/api.ts";

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
    case "datasource-fail":
    case "datasource-shun":
    case "datasource-welcome":
    case "datasource-online":
    case "datasource-offline":
    case "datasource-recover":
      return { kind: command.command, member: command.member };
  }
}

/** Whether the operator overrides the guards that this command names. */
export function isForced(command: OperatorCommand): boolean {
  return "force" in command && command.force;
}

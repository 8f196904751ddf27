/** Operations as lines. */
import type { OperationStatus } from "#shared/protocol/api.ts";
import { plain } from "./plain.ts";
import { logTime, seconds } from "./time.ts";

/** `7 failover automatic succeeded 2025-01-27 13:51:23.042 UTC (0.412 s)` */
export function renderOperation(operation: OperationStatus): string {
  const { op, kind, requestedBy, state, code, startedWallMs, endedWallMs } = operation;
  const took = endedWallMs === null ? "" : ` (${seconds(endedWallMs - startedWallMs)})`;
  return `${op} ${kind} ${requestedBy} ${state}${code ? `(${plain(code)})` : ""} ${logTime(startedWallMs)}${took}`;
}

/** The line and the transcript below it, ending in a newline. */
export function renderOperationWhole(operation: OperationStatus): string {
  return [renderOperation(operation), ...operation.transcript.map((line) => `  ${plain(line)}`)]
    .map((line) => `${line}\n`)
    .join("");
}

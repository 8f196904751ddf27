/** A token in one line; its text is known to nobody any more. */
import type { TokenLine } from "#shared/protocol/api.ts";
import { plain } from "./plain.ts";
import { logTime } from "./time.ts";

/** `k1 agent db1 2025-01-27 13:51:23.042 UTC`: the host of an agent's, the label of a person's. */
export function renderToken({ id, kind, host, label, createdWallMs }: TokenLine): string {
  return [plain(id), kind, plain(host ?? label ?? "-"), logTime(createdWallMs)].join(" ");
}

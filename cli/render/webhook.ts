/** A webhook in one line. */
import type { WebhookLine } from "#shared/protocol/api.ts";
import { plain } from "./plain.ts";
import { logTime } from "./time.ts";

/** `w1 https://example.com/hook all 2025-01-27 13:51:23.042 UTC` */
export function renderWebhook({ id, url, events, createdWallMs }: WebhookLine): string {
  return [plain(id), plain(url), plain(events === null ? "all" : events.join(",")), logTime(createdWallMs)].join(" ");
}

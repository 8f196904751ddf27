/**
 * Synchronous replication: which standbys a commit waits for.
 *
 * A new `synchronous_standby_names` reaches the parts of a running server one by one, and each of them counts:
 *
 * - a backend waits only when the checkpointer, nobody else, has put up the sign that standbys are defined;
 * - a walsender lets waiting backends go by the names that it has read itself, which may be those of a moment ago.
 *
 * So after the reload, and two more that say the first has reached every process of the server (see `freeze`), a checkpoint
 * is asked for: the checkpointer reads its settings before it begins one. And each walsender must show, by the priority
 * that it has worked out itself, that it has read the new names; where the same standbys are named and only their number
 * changes, nothing shows that, and the walsenders are ended: they come back at once with the new settings.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { SyncSet } from "#shared/domain/messages.ts";
import { configuredSetting, writeSetting } from "./configuration.ts";
import type { Row } from "./connection.ts";
import type { Deadline } from "./deadline.ts";
import { Refusal, untilReloaded } from "./steering.ts";

const LOOK_EVERY_MS = 5;
const NAME = "synchronous_standby_names";

export interface SyncContext {
  dataDirectory: string;
  deadline: Deadline;
  /** Asks over a connection that nobody else uses meanwhile. */
  ask: (sql: string) => Promise<Row[]>;
  /** Whether a newer set is wanted by now. */
  isSuperseded: () => boolean;
}

/** Fails with `superseded`, `not-in-time`, and what the server refuses. */
export async function applySyncSet(context: SyncContext, set: SyncSet): Promise<void> {
  const { dataDirectory, ask } = context;
  const before = configuredSetting(dataDirectory, NAME) ?? "";
  const value = renderStandbyNames(set);
  goOn(context);
  writeSetting(dataDirectory, { name: NAME, value });
  await untilShown(context, value);
  for (let round = 0; round < 2; round += 1) await untilReloaded(ask, () => look(context, "the reload"));
  goOn(context);
  await ask("CHECKPOINT");
  const isSameStandbys = namesIn(before).join() === namesIn(value).join();
  if (before !== value && isSameStandbys) {
    await ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'");
  }
  await untilSendersAgree(context, new Set(set.k === 0 ? [] : set.members));
}

/** The setting's value; names are quoted, as those of hosts may hold hyphens. Empty asks nobody. */
export function renderStandbyNames({ k, members }: Pick<SyncSet, "k" | "members">): string {
  if (k === 0 || members.length === 0) return "";
  const names = [...members].toSorted().map((name) => `"${name.replaceAll('"', '""')}"`);
  return `ANY ${k} (${names.join(", ")})`;
}

function namesIn(value: string): string[] {
  return [...value.matchAll(/"((?:[^"]|"")*)"/g)].map((match) => match[1] ?? "").toSorted();
}

async function untilShown(context: SyncContext, value: string): Promise<void> {
  await context.ask("SELECT pg_reload_conf()");
  const shown = async () => (await context.ask(`SELECT current_setting('${NAME}') AS value`))[0]?.["value"];
  while ((await shown()) !== value) await look(context, `${NAME} to take effect`);
}

/** A walsender of a standby that is waited for says so by its priority, and no other does. */
async function untilSendersAgree(context: SyncContext, members: Set<string>): Promise<void> {
  for (;;) {
    const rows = await context.ask(
      "SELECT application_name AS name, sync_priority AS priority FROM pg_stat_replication",
    );
    const isAgreed = rows.every(({ name, priority }) => Number(priority) > 0 === members.has(String(name)));
    if (isAgreed) return;
    await look(context, "the walsenders to read their settings");
  }
}

async function look(context: SyncContext, awaited: string): Promise<void> {
  goOn(context);
  if (context.deadline.isOver) throw new Refusal("not-in-time", `${awaited} did not come in time`);
  await pause(LOOK_EVERY_MS);
}

function goOn({ isSuperseded }: SyncContext): void {
  if (isSuperseded()) throw new Refusal("superseded", "a newer set of standbys is wanted");
}

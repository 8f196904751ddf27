/**
 * What the agent must not forget, on disk. Two files: `state.json` is written with fsync, whole, by replacement;
 * `lease.json` holds what may be lost with the kernel (the running lease, the bare version), so that renewing a lease
 * costs no fsync and can never damage the other.
 */
import { fsyncSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { MemberDurable } from "#shared/core/member/state.ts";
import { furthest, type Position } from "#shared/domain/position.ts";
import { readJson } from "./json-text.ts";
import { replaceWhole, syncDirectory } from "./whole-file.ts";
import { zClocks, zName, zPosition, zReleaseCause, zUpstream } from "#shared/protocol/wire.ts";

const zCount = z.int().min(0);
const zState = z.strictObject({
  format: z.literal(1),
  dataservice: zName,
  host: zName,
  startCount: zCount,
  incarnation: z.string().min(1),
  place: z.string().nullable().default(null),
  systemId: z.string().nullable(),
  founded: z.boolean(),
  epochSeen: zCount,
  opSeen: zCount,
  attempted: zCount,
  /** A state written before there was this field: its log may hold writes of the last epoch attempted. */
  ownEpoch: zCount.optional(),
  isDamaged: z.boolean().default(false),
  released: zCount,
  releaseCause: zReleaseCause,
  policy: z.enum(["automatic", "manual", "maintenance"]),
  policyVersion: zCount,
  electorate: z.strictObject({ version: zCount, members: z.array(z.string()) }),
  syncSet: z.strictObject({ version: zCount, k: zCount, members: z.array(z.string()) }),
  frozenOp: zCount.nullable(),
  frozenEpoch: zCount.nullable().default(null),
  promiseBindsMs: zCount.default(0),
  promise: z
    .strictObject({ holder: z.string(), epoch: zCount, bindsMs: zCount, base: zClocks, bootId: z.string() })
    .nullable()
    .default(null),
  upstream: zUpstream.nullable(),
  version: zCount,
  mac: z.string(),
  furthest: zPosition.nullable().default(null),
});
const zLease = z.strictObject({
  format: z.literal(1),
  version: zCount,
  mac: z.string(),
  opened: zCount.default(0),
  lease: z
    .strictObject({
      epoch: zCount,
      ttlMs: zCount,
      base: zClocks,
      bootId: z.string(),
      hasLeaseDoor: z.boolean().default(false),
    })
    .nullable(),
  /** Of the data directory of this name: another one has no part in it. */
  incarnation: z.string().default(""),
  furthest: zPosition.nullable().default(null),
});

/** Whether one state can be all that: no member attempts or vouches for an epoch that it has not seen. */
function isConsistent({ attempted, ownEpoch, released, epochSeen }: z.infer<typeof zState>): boolean {
  return attempted <= epochSeen && released <= epochSeen && (ownEpoch ?? 0) <= attempted;
}

/** The state file cannot be read or written; the message names it and the remedy. */
export class StateFileError extends Error {}

export class StateFile {
  readonly #directory: string;
  readonly #stateJson: string;
  readonly #leaseJson: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.#stateJson = join(directory, "state.json");
    this.#leaseJson = join(directory, "lease.json");
  }

  /** What was kept; null when nothing was yet. Damaged state is refused, never guessed at. */
  read(): MemberDurable | null {
    const text = readIfThere(this.#stateJson);
    if (text === null) return null;
    const state = readJson(text, zState);
    if (!state || !isConsistent(state)) {
      throw new StateFileError(
        `state file ${this.#stateJson} is damaged or of another format: restore it, or move it away and have this member readmitted`,
      );
    }
    const { format: _, ...durable } = state;
    // A missing or torn lease file means only that no lease is held: the agent then fences rather than trusts.
    const kept = readJson(readIfThere(this.#leaseJson) ?? "", zLease);
    const newer = kept && kept.version > durable.version ? { version: kept.version, mac: kept.mac } : {};
    const ownEpoch = durable.ownEpoch ?? durable.attempted;
    return {
      ...durable,
      ownEpoch,
      ...newer,
      opened: Math.min(kept?.opened ?? 0, durable.attempted),
      furthest: furtherOf(durable, kept),
      lease: kept?.lease ?? null,
    };
  }

  /** Keeps `durable`; with `fsync` it is on the disk when this returns. Throws a StateFileError when it could not. */
  write(durable: MemberDurable, fsync: boolean): void {
    const { lease, opened, ...state } = durable;
    const { version, mac, incarnation, furthest: mark } = state;
    if (fsync) this.#replace(this.#stateJson, { format: 1, ...state }, true);
    this.#replace(this.#leaseJson, { format: 1, version, mac, opened, lease, incarnation, furthest: mark }, false);
  }

  #replace(path: string, content: unknown, fsync: boolean): void {
    const finish = (file: number) => {
      if (fsync) fsyncSync(file);
    };
    try {
      replaceWhole(path, { temporary: `${path}.new`, content: `${JSON.stringify(content)}\n`, finish });
      if (fsync) syncDirectory(this.#directory);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const remedy = code === "ENOSPC" ? "free some space on its disk" : "make its directory writable for the agent";
      throw new StateFileError(`state file ${path} cannot be written (${code ?? String(error)}): ${remedy}`);
    }
  }
}

/** What was kept without fsync is the newer word of one data directory, or an older one's. */
function furtherOf(
  state: Pick<MemberDurable, "incarnation" | "furthest">,
  kept: z.infer<typeof zLease> | null,
): Position | null {
  if (!kept?.furthest || kept.incarnation !== state.incarnation) return state.furthest;
  return furthest(state.furthest, kept.furthest);
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw new StateFileError(`state file ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

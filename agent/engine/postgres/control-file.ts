/**
 * What `global/pg_control` says of a server that is down. Its first fields have lain at the same places since PostgreSQL
 * 13; the checksum follows them, so that a torn or foreign file is told from a sound one.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { LogPoint } from "#shared/domain/messages.ts";
import { crc32c } from "./crc32c.ts";

export interface ControlFile {
  systemId: string;
  /** `stopped`: in good order, as a primary. `stopped-in-recovery`: in good order, as a standby. */
  state: "stopped" | "stopped-in-recovery" | "other";
  /** The newest checkpoint: the last record of the log of a server that is `stopped`. */
  checkpoint: LogPoint;
  /** How far a standby must replay before it is consistent: its log has reached that. Null for a primary's. */
  minRecovery: LogPoint | null;
}

/** Where the checksum lies, by the format's number: 1300 for servers 13 to 16, 1700 for 17, 1800 for 18. */
const CHECKSUM_AT = new Map([
  [1300, 288],
  [1700, 288],
  [1800, 292],
]);

/** Reads the file; null when it is not there, or is not what it should be. */
export function readControlFile(dataDirectory: string): ControlFile | null {
  try {
    return parseControlFile(readFileSync(join(dataDirectory, "global", "pg_control")));
  } catch {
    return null;
  }
}

/** Null for a format that is not known, and for bytes that do not match their checksum. */
export function parseControlFile(bytes: Buffer): ControlFile | null {
  const checksumAt = bytes.length < 12 ? undefined : CHECKSUM_AT.get(bytes.readUInt32LE(8));
  if (checksumAt === undefined || bytes.length < checksumAt + 4) return null;
  if (bytes.readUInt32LE(checksumAt) !== crc32c(bytes.subarray(0, checksumAt))) return null;
  return {
    systemId: String(bytes.readBigUInt64LE(0)),
    state: stateOf(bytes.readInt32LE(16)),
    checkpoint: { timeline: bytes.readUInt32LE(48), lsn: lsnOf(bytes, 32) },
    minRecovery:
      bytes.readBigUInt64LE(136) === 0n ? null : { timeline: bytes.readUInt32LE(144), lsn: lsnOf(bytes, 136) },
  };
}

function stateOf(code: number): ControlFile["state"] {
  if (code === 1) return "stopped";
  return code === 2 ? "stopped-in-recovery" : "other";
}

function lsnOf(bytes: Buffer, at: number): string {
  const half = (offset: number) => bytes.readUInt32LE(offset).toString(16).toUpperCase();
  return `${half(at + 4)}/${half(at)}`;
}

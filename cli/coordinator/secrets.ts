/**
 * The two secrets of a self-hosted coordinator: the administrator's token, and the secret from which every agent's
 * token and every MAC derives.
 *
 * Made at the first start and kept in `secrets.json`, readable by its owner only; or given in the environment and then
 * not kept. What is always kept is a fingerprint of the second: another secret would silently void every agent's token.
 */
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CannotStart } from "./cannot-start.ts";
import { writeWhole } from "./whole-file.ts";

const MIN_LENGTH = 16;

export interface Secrets {
  adminToken: string;
  secret: string;
  /** Where an operator finds the administrator's token. */
  adminTokenIn: string;
}

interface Kept {
  /** Absent when it is given in the environment. */
  adminToken?: string;
  secret?: string;
  secretFingerprint: string;
}

type Given = Partial<Record<"REX_ADMIN_TOKEN" | "REX_SECRET", string | undefined>>;

/** Reads the secrets of `folder`, or makes them. Throws `CannotStart` when they cannot be those of the last start. */
export function secretsOf(folder: string, given: Given): Secrets {
  for (const name of ["REX_ADMIN_TOKEN", "REX_SECRET"] as const) {
    const value = given[name];
    if (value !== undefined && value.length < MIN_LENGTH) {
      throw new CannotStart(
        `${name} has ${value.length} characters: give it at least ${MIN_LENGTH}, or leave it unset`,
      );
    }
  }
  const path = join(folder, "secrets.json");
  const objects = join(folder, "objects");
  if (!existsSync(path) && given.REX_SECRET === undefined && existsSync(objects) && readdirSync(objects).length > 0) {
    throw new CannotStart(
      `${path} is missing, but ${objects} holds dataservices whose tokens derive from it: restore it from a copy, or give REX_SECRET`,
    );
  }
  const kept = existsSync(path) ? read(path) : create(path, given);
  const secret = given.REX_SECRET ?? kept.secret;
  const adminToken = given.REX_ADMIN_TOKEN ?? kept.adminToken;
  if (secret === undefined || fingerprint(secret) !== kept.secretFingerprint) {
    throw new CannotStart(
      `REX_SECRET is ${secret === undefined ? "not set" : "another"} than at the first start on ${folder}: with another secret no agent's token is valid; give the same again`,
    );
  }
  if (adminToken === undefined) {
    throw new CannotStart(
      `REX_ADMIN_TOKEN is not set and ${path} keeps none, because it was given at the first start: give one`,
    );
  }
  return { adminToken, secret, adminTokenIn: given.REX_ADMIN_TOKEN === undefined ? path : "REX_ADMIN_TOKEN" };
}

function create(path: string, given: Given): Kept {
  const secret = given.REX_SECRET ?? randomBytes(32).toString("hex");
  const kept: Kept = {
    ...(given.REX_ADMIN_TOKEN === undefined ? { adminToken: randomBytes(24).toString("hex") } : {}),
    ...(given.REX_SECRET === undefined ? { secret } : {}),
    secretFingerprint: fingerprint(secret),
  };
  writeWhole(path, `${JSON.stringify(kept, null, 2)}\n`, { isNew: true });
  return kept;
}

function read(path: string): Kept {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Kept;
  } catch (error) {
    throw new CannotStart(`${path} cannot be read (${String(error)}): restore it from a copy`);
  }
}

function fingerprint(secret: string): string {
  return createHash("sha256").update(`interrex fingerprint\n${secret}`).digest("hex").slice(0, 16);
}

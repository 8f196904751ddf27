/** The word that tells a data directory which pg_rewind has left half done. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { markBegun, markEnded, unfinishedRewind } from "../../agent/engine/postgres/rebuild-damage.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "interrex-damage-"));
  for (const path of ["data/global", "keep/first", "keep/second"])
    mkdirSync(join(directory, path), { recursive: true });
  writeFileSync(join(directory, "data/global/pg_control"), "");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const found = () => unfinishedRewind(join(directory, "keep"), join(directory, "data"));

test("is found beside whatever else lies there, also behind a link", () => {
  writeFileSync(join(directory, "keep/a-list-of-what-is-kept"), "");
  symlinkSync("nowhere", join(directory, "keep/a-link-that-leads-nowhere"));
  expect(found()).toBeNull();
  const second = join(directory, "keep/second");
  markBegun(second, join(directory, "data"));
  expect(found()).toBe(second);
  renameSync(second, join(directory, "elsewhere"));
  symlinkSync("../elsewhere", second);
  expect(found()).toBe(second);
  markEnded(second);
  expect(found()).toBeNull();
});

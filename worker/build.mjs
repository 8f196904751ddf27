/**
 * Bundles the Worker into dist/worker/index.js, for self-hosting; does nothing when the bundle is newer than everything
 * it was made from. Plain JavaScript: `node worker/build.mjs`.
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const SOURCES = ["worker", "shared", "wrangler.toml", "package-lock.json"];
const OUT = join("dist", "worker");
const TIMEOUT_MS = 120_000;

/** The newest modification time below `path`, in milliseconds. */
async function newest(path) {
  const { mtimeMs } = await stat(path);
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  const times = await Promise.all(entries.map((entry) => newest(join(path, entry.name))));
  return Math.max(mtimeMs, ...times);
}

async function isFresh() {
  const built = await stat(join(ROOT, OUT, "index.js")).catch(() => null);
  if (!built) return false;
  const changed = await Promise.all(SOURCES.map((source) => newest(join(ROOT, source))));
  return built.mtimeMs > Math.max(...changed);
}

/** Into a folder of its own first: whoever reads the bundle meanwhile must not find half of it. */
async function build() {
  await mkdir(join(ROOT, OUT), { recursive: true });
  const folder = await mkdtemp(join(ROOT, OUT, ".build-"));
  try {
    const wrangler = join(ROOT, "node_modules", "wrangler", "bin", "wrangler.js");
    await promisify(execFile)(process.execPath, [wrangler, "deploy", "--dry-run", "--outdir", folder], {
      cwd: ROOT,
      timeout: TIMEOUT_MS,
      env: { ...process.env, WRANGLER_SEND_METRICS: "false", CI: "1" },
    });
    await rename(join(folder, "index.js.map"), join(ROOT, OUT, "index.js.map"));
    await rename(join(folder, "index.js"), join(ROOT, OUT, "index.js"));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

if (!(await isFresh())) await build();

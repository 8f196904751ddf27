/** What every run begins with: the binaries, and a stopped cluster to copy. Prepared once, so that a run starts fast. */
import { execFile } from "node:child_process";
import { chownSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { prepareCloneCommand } from "./clone-command.ts";
import { fixedPorts } from "./ports.ts";
import { createCluster, demoAccount, preparePostgres, type Account, type DemoMember } from "./postgres.ts";

export const MEMBERS = ["db1", "db2", "db3"] as const;

const COPY_TIMEOUT_MS = 30_000;
const copy = promisify(execFile);

export interface Pristine {
  binDirectory: string;
  account: Account;
  members: DemoMember[];
  /** How an agent lays a diverged server out anew. */
  cloneCommand: string;
}

/** Prepares it in the workshop; once for all runs. */
export async function preparePristine(workshop: string): Promise<Pristine> {
  const account = await demoAccount();
  const { binDirectory } = await preparePostgres(workshop);
  const ports = await fixedPorts(MEMBERS.length);
  const members = MEMBERS.map((name, index) => ({ name, port: ports[index] ?? 0 }));
  const directory = makeDirectory(join(workshop, "pristine"));
  return {
    binDirectory,
    account,
    members: await createCluster({ binDirectory, directory, members, account }),
    cloneCommand: await prepareCloneCommand(workshop, account),
  };
}

/** Copies the members, as they are, into `directory`. */
export async function cloneMembers(directory: string, { members, account }: Pristine): Promise<DemoMember[]> {
  return Promise.all(
    members.map(async (member) => {
      const home = join(directory, member.name);
      const clone = {
        ...member,
        dataDirectory: join(home, "data"),
        socketDirectory: join(home, "socket"),
        logFile: join(home, "postgres.log"),
      };
      for (const path of [home, clone.socketDirectory]) {
        mkdirSync(path, { mode: 0o700 });
        if (account) chownSync(path, account.uid, account.gid);
      }
      await copy("cp", ["-a", "--reflink=auto", member.dataDirectory, clone.dataDirectory], {
        timeout: COPY_TIMEOUT_MS,
      });
      return clone;
    }),
  );
}

/** Passed through by every account, listed by its owner alone. */
export function makeDirectory(path: string): string {
  mkdirSync(path, { mode: 0o711 });
  return path;
}

/** The kernel doors of a demo's servers: they outlive whoever made them, so they are found by their agents' files. */
import { readFileSync } from "node:fs";
import { parse } from "smol-toml";
import { listDoors, removeDoor } from "../agent/door/kernel-door.ts";
import { claimTable, doorTable } from "../agent/door/ruleset.ts";

/** The names of the tables that agents with these configuration files may have made. */
export function doorTablesOf(configFiles: readonly string[]): string[] {
  return configFiles.flatMap((file) => {
    const { dataservice, host, server } = parse(readFileSync(file, "utf8")) as {
      dataservice: string;
      host: string;
      server?: { port: number };
    };
    return server ? [doorTable({ dataservice, host, port: server.port })] : [];
  });
}

/** Removes those that are there; the processes that could make them again must have ended. Returns what is left. */
export async function removeDoors(tables: readonly string[]): Promise<string[]> {
  if (tables.length === 0) return [];
  const there = await listDoors();
  const isThere = (table: string): boolean => there.includes(table) || there.includes(claimTable(table));
  for (const table of tables.filter(isThere)) await removeDoor(table);
  const after = there.length === 0 ? [] : await listDoors();
  const left = tables.flatMap((table) => [table, claimTable(table)]).filter((table) => after.includes(table));
  return left.map((table) => `nftables table inet ${table}`);
}

/**
 * The status screen. Pure: a status in, the screen's bytes out. The one place where primary and replica become the
 * `master` and `slave` that operators' scripts look for.
 */
import type { DatasourceStatus, Status } from "#shared/protocol/api.ts";
import { box } from "./box.ts";
import { plain } from "./plain.ts";
import { reasonRow, reasonText } from "./reason.ts";
import { statusTime } from "./time.ts";

export interface LsOptions {
  /** Between the two bars of a row. */
  width: number;
  blankLineBetweenBoxes: boolean;
  /** An IANA name. */
  timeZone: string;
  /** Colours the word of a STATUS row; must add only bytes that take no room. */
  paint: (word: DatasourceStatus["status"], text: string) => string;
}

/** The screen as scripts know it: 81 wide, boxes joined, UTC, no colours. */
export const PLAIN_LS: LsOptions = {
  width: 81,
  blankLineBetweenBoxes: false,
  timeZone: "UTC",
  paint: (_word, text) => text,
};

/** The whole screen, ending in a newline. */
export function renderLs(status: Status, options: LsOptions): string {
  const { name, state } = status.coordinator;
  const boxes = status.datasources.map((datasource) => renderDatasource(datasource, status.dataservice, options));
  return [
    `COORDINATOR[${plain(name)}:${status.policy.toUpperCase()}:${state.toUpperCase()}]\n`,
    `\nROUTERS:\n`,
    lines(box([status.routers.map(routerRow)], options.width)),
    `\nDATASOURCES:\n`,
    boxes.join(options.blankLineBetweenBoxes ? "\n" : ""),
  ].join("");
}

/** One datasource's box, ending in a newline. */
export function renderDatasource(datasource: DatasourceStatus, dataservice: string, options: LsOptions): string {
  const reason = reasonRow(datasource, dataservice);
  const word = datasource.status.toUpperCase();
  const rows = [
    headRow(datasource, dataservice),
    `STATUS [${word}] [${statusTime(datasource.sinceWallMs, options.timeZone)}]`,
    ...(reason === null ? [] : [`REASON[${reason}]`]),
  ];
  const text = lines(box([rows, componentRows(datasource)], options.width));
  return text.replace(`|STATUS [${word}]`, `|STATUS [${options.paint(datasource.status, word)}]`);
}

function routerRow(router: Status["routers"][number]): string {
  const state = router.state === "on-hold" ? "ON HOLD" : router.state.toUpperCase();
  return `${plain(router.name)}[${router.pid}](${state}, created=${router.created}, active=${router.active})`;
}

function headRow(datasource: DatasourceStatus, dataservice: string): string {
  const reason = reasonText(datasource, dataservice);
  const state = datasource.state.toUpperCase() + (reason === null ? "" : `(${reason})`);
  return `${datasource.member}(${[`${roleWord(datasource.role)}:${state}`, ...progressParts(datasource)].join(", ")})`;
}

/** Nothing is known of a replicator that nobody can reach; -1 is the console's old word for a stopped one. */
function progressParts(datasource: DatasourceStatus): string[] {
  const label = datasource.role === "primary" ? "THL latency" : "latency";
  const { progress, latencyMs } = datasource;
  switch (datasource.replicator.state) {
    case "unknown":
      return [];
    case "offline":
      return ["progress=-1", `${label}=-1.000`];
    case "online":
    case "synchronizing":
    case "degraded":
      return [
        ...(progress === null ? [] : [`progress=${progress}`]),
        ...(latencyMs === null ? [] : [`${label}=${(latencyMs / 1_000).toFixed(3)}`]),
      ];
  }
}

function componentRows(datasource: DatasourceStatus): string[] {
  const { manager, dataserver, connections } = datasource;
  return [
    `  MANAGER(state=${manager.state.toUpperCase()})`,
    `  REPLICATOR(${replicatorParts(datasource.replicator).join(", ")})`,
    `  DATASERVER(state=${dataserver.state === "unknown" ? NOT_AVAILABLE : dataserver.state.toUpperCase()})`,
    `  CONNECTIONS(created=${connections.created}, active=${connections.active})`,
  ];
}

const NOT_AVAILABLE = "STATUS NOT AVAILABLE";

function replicatorParts(replicator: DatasourceStatus["replicator"]): string[] {
  if (replicator.state === "unknown") return [`state=${NOT_AVAILABLE}`];
  const upstream =
    replicator.role === "replica" && replicator.upstream !== null ? [`master=${replicator.upstream}`] : [];
  return [`role=${roleWord(replicator.role)}`, ...upstream, `state=${replicator.state.toUpperCase()}`];
}

function roleWord(role: DatasourceStatus["role"]): string {
  return role === "primary" ? "master" : "slave";
}

function lines(rows: readonly string[]): string {
  return rows.map((line) => `${line}\n`).join("");
}

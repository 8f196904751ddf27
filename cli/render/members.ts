/** A member in one line. */
import type { DatasourceStatus } from "#shared/protocol/api.ts";
import { plain } from "./plain.ts";

type Member = Pick<DatasourceStatus, "member" | "manager" | "endpoint">;

/** `alpha/db1(ONLINE)/10.0.0.11:5432`, without an address that nobody has told yet. */
export function renderMember({ member, manager, endpoint }: Member, dataservice: string): string {
  const address = endpoint === null ? "" : `/${plain(endpoint.host)}:${endpoint.port}`;
  return `${dataservice}/${member}(${manager.state.toUpperCase()})${address}`;
}

/** `HOST db1/10.0.0.11: ALIVE` */
export function renderPing({ member, manager, endpoint }: Member): string {
  const address = endpoint === null ? "" : `/${plain(endpoint.host)}`;
  return `HOST ${member}${address}: ${manager.state === "online" ? "ALIVE" : "NOT REACHABLE"}`;
}

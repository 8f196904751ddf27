/** Fetching and drawing the status: what `ls` and `watch` share. */
import type { Status } from "#shared/protocol/api.ts";
import { colour } from "./render/colour.ts";
import { PLAIN_LS, renderLs } from "./render/ls.ts";
import { clientOf, serviceOf, type Session } from "./session.ts";

/** The status now; its members are remembered for completion. */
export async function fetchStatus(session: Session): Promise<Status> {
  const status = await clientOf(session).status(serviceOf(session));
  session.state.members = status.datasources.map(({ member }) => member);
  return status;
}

/** The screen, in colour where the screen has any. */
export function draw(status: Status, session: Session): string {
  return renderLs(status, session.screen.hasColour ? { ...PLAIN_LS, paint: colour } : PLAIN_LS);
}

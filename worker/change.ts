/** A change that somebody asked for and that is no matter of the machine: tokens and webhooks. */
import type { Store } from "./store.ts";

export interface Change {
  store: Store;
  dataservice: string;
  /** Who asked, for the event log. */
  by: string;
  wallMs: number;
}

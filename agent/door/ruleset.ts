/**
 * What the lease door is to the kernel: one nftables table for each server, which lets traffic to and from the server's
 * port pass only as long as a lease runs. Text in, nothing done: `nft.ts` hands it to the kernel.
 *
 * Two bounds end the passage, and the first of them counts. The element of the set has a timeout, which the kernel
 * counts on its monotonic clock from when the transaction was carried out: exact to a hundredth of a second, whatever
 * becomes of agent, guardian and wall clock. The rule on the wall clock names the lease's end as an instant: a
 * transaction that was prepared before its process stood still, and is carried out after that, brings a bound of the
 * past and opens nothing. It also ends the passage for a machine that slept, whose monotonic clock stood still. nftables
 * takes whole seconds there, so the instant is rounded down: the door may shut up to a second before the lease ends,
 * never after it.
 *
 * Both directions, loopback included: a COMMIT that lies in a stopped server's socket is carried out when the server
 * goes on, and only a door for what it says keeps the acknowledgement in. What the server says through a shut door is
 * answered with a reset to the server itself: a packet that was merely dropped would be sent again, by the kernel alone,
 * after the server is dead and the door is gone. A reset from outside may pass: it can end a session and nothing else.
 */

/** Whose door it is. */
export interface DoorPlace {
  table: string;
  /** The server's TCP port. */
  port: number;
}

/** How long the door lets traffic pass. */
export type Passage =
  /** For `forMs` from the transaction on, and in no case after `untilWallMs`. */
  { kind: "timed"; forMs: number; untilWallMs: number } | { kind: "endless" };

/** Of the names of all such tables. */
export const DOOR_PREFIX = "interrex_";

/** The name of a server's table; names of dataservices and hosts hold nothing that nft would stumble over. */
export function doorTable(server: { dataservice: string; host: string; port: number }): string {
  return `${DOOR_PREFIX}${server.dataservice}_${server.host}_${server.port}`;
}

/** The table by whose only chain the kernel knows whose transactions it takes. */
export function claimTable(table: string): string {
  return `${table}_agent`;
}

/** From here on the door is made by this agent alone: an earlier one's transaction that comes late is refused, whole. */
export function claimScript({ table }: DoorPlace, agent: string): string {
  const claim = claimTable(table);
  return [
    `add table inet ${claim}`,
    `delete table inet ${claim}`,
    `add table inet ${claim}`,
    `add chain inet ${claim} ${agent}`,
    "",
  ].join("\n");
}

/**
 * Makes the door with this passage, in the place of whatever is there under its name. The kernel refuses it when `agent`
 * has not claimed the door, or another has since.
 */
export function makeScript({ table, port }: DoorPlace, agent: string, passage: Passage): string {
  const element = passage.kind === "timed" ? `elements = { ${elementOf(port, passage.forMs)} };` : "";
  return [
    `flush chain inet ${claimTable(table)} ${agent}`,
    `add table inet ${table}`,
    `delete table inet ${table}`,
    `table inet ${table} {`,
    `  set lease { type inet_service; flags timeout; ${element} }`,
    `  chain lease_in { }`,
    `  chain lease_out { }`,
    `  chain input { type filter hook input priority raw; policy accept; tcp dport ${port} tcp flags & rst != rst jump lease_in; }`,
    `  chain output { type filter hook output priority raw; policy accept; tcp sport ${port} jump lease_out; }`,
    `}`,
    ...rules(table, passage),
    "",
  ].join("\n");
}

/**
 * Gives a door that stands another passage. The kernel refuses it, whole, when the element has run out or the table is
 * gone: what was shut is opened by nobody who does not know it.
 */
export function refreshScript({ table, port }: DoorPlace, passage: Extract<Passage, { kind: "timed" }>): string {
  return [
    `delete element inet ${table} lease { ${port} }`,
    `add element inet ${table} lease { ${elementOf(port, passage.forMs)} }`,
    `flush chain inet ${table} lease_in`,
    `flush chain inet ${table} lease_out`,
    ...rules(table, passage),
    "",
  ].join("\n");
}

/** Removes the door, if there is one. What was claimed stays claimed. */
export function removeScript({ table }: DoorPlace): string {
  return `add table inet ${table}\ndelete table inet ${table}\n`;
}

/** Removes the door and what was claimed of it. */
export function eraseScript({ table, port }: DoorPlace): string {
  return removeScript({ table, port }) + removeScript({ table: claimTable(table), port });
}

function elementOf(port: number, forMs: number): string {
  const ms = Math.max(1, Math.floor(forMs));
  return `${port} timeout ${Math.floor(ms / 1_000)}s${ms % 1_000}ms`;
}

function rules(table: string, passage: Passage): string[] {
  if (passage.kind === "endless") return [];
  const until = Math.floor(passage.untilWallMs / 1_000);
  const [dropped, reset] = ["drop", "reject with tcp reset"];
  return [
    `add rule inet ${table} lease_in meta time >= ${until} ${dropped}`,
    `add rule inet ${table} lease_in tcp dport @lease return`,
    `add rule inet ${table} lease_in ${dropped}`,
    `add rule inet ${table} lease_out meta time >= ${until} ${reset}`,
    `add rule inet ${table} lease_out tcp sport @lease return`,
    `add rule inet ${table} lease_out ${reset}`,
  ];
}

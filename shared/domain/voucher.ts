/**
 * What a coordinator vouches for with every version of its state. Members keep the newest voucher and return it with
 * each poll. They need not understand it: it is the coordinator's own memory, kept where a restore of its storage does not
 * reach. To a member it is the text that travels as `mac`; the shell signs it, and checks the signature of what returns.
 */
import type { Policy } from "./datasource.ts";
import type { MemberName } from "./names.ts";
import type { Epoch } from "./reign.ts";

/** Whom an operator has put aside, and how. */
export interface SetAside {
  member: MemberName;
  as: "manually-failed" | "manually-shunned";
}

export interface Voucher {
  version: number;
  /** The highest epoch minted, and when: two epochs of one number, of two pasts, differ in that. 0 for none. */
  epoch: Epoch;
  mintedWallMs: number;
  op: number;
  /** The highest timeline number that any reign was given. */
  timeline: number;
  policy: Policy;
  policyVersion: number;
  electorateVersion: number;
  syncVersion: number;
  /** How many acknowledge what is promised, and what happens when there are fewer; null where nothing is promised. */
  sync: { k: number; onLoss: "block" | "degrade" } | null | "unknown";
  aside: SetAside[];
}

type Text = [
  version: number,
  epoch: number,
  mintedWallMs: number,
  op: number,
  timeline: number,
  policy: Policy,
  policyVersion: number,
  electorateVersion: number,
  syncVersion: number,
  failed: MemberName[],
  shunned: MemberName[],
  /** Missing in a text of an earlier version. */
  sync?: [k: number, onLoss: "block" | "degrade"] | null,
];

/** The text that is signed. */
export function voucherText(voucher: Voucher): string {
  const named = (as: SetAside["as"]): MemberName[] =>
    voucher.aside.filter((entry) => entry.as === as).map((entry) => entry.member);
  const { version, epoch, mintedWallMs, op, timeline, policy } = voucher;
  const { policyVersion, electorateVersion, syncVersion, sync } = voucher;
  const sets = [policyVersion, electorateVersion, syncVersion] as const;
  const words = [named("manually-failed"), named("manually-shunned")] as const;
  const said: Text = [version, epoch, mintedWallMs, op, timeline, policy, ...sets, ...words];
  if (sync !== "unknown") said.push(sync && [sync.k, sync.onLoss]);
  return JSON.stringify(said);
}

/** What a text of ours says. Only for one whose signature was checked: what we have written is of our own shape. */
export function voucherOfText(text: string): Voucher {
  const [version, epoch, mintedWallMs, op, timeline, policy, ...rest] = JSON.parse(text) as Text;
  const [policyVersion, electorateVersion, syncVersion, failed, shunned, promised] = rest;
  const sync = promised === undefined ? "unknown" : promised && { k: promised[0], onLoss: promised[1] };
  const aside: SetAside[] = [
    ...failed.map((member) => ({ member, as: "manually-failed" as const })),
    ...shunned.map((member) => ({ member, as: "manually-shunned" as const })),
  ];
  const numbers = { version, epoch, mintedWallMs, op, timeline, policyVersion, electorateVersion, syncVersion };
  return { ...numbers, policy, sync, aside };
}

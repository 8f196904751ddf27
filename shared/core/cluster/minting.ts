/** The point of no return: a new epoch, for one member, with the proof that the one before is over. */
import type { MemberName } from "../../domain/names.ts";
import { type ProofKind, nextTimeline } from "../../domain/reign.ts";
import { openSet } from "./sync.ts";
import { type Work, because, setPhase } from "./work.ts";

interface Minting {
  member: MemberName;
  parent: number;
  op: number;
  how: "adopt" | "promote";
  proof: ProofKind;
}

export function mint(work: Work, minting: Minting): void {
  const epoch = work.durable.epoch + 1;
  const { op, how, proof, parent } = minting;
  const position = work.live.hosts[minting.member]?.poll.server?.position;
  if (!position) throw new Error(`no position of ${minting.member} to mint an epoch on`);
  const timeline =
    how === "adopt" ? position.timeline : nextTimeline(work.durable.reigns, position, work.live.timelineSeen);
  const reignEntry = {
    epoch,
    member: minting.member,
    parent,
    proof,
    fork: how === "adopt" ? null : position,
    timeline,
    opened: false,
    mintedWallMs: work.live.wallMs,
  };
  work.durable = { ...work.durable, epoch, reigns: [...work.durable.reigns, reignEntry] };
  openSet(work, { epoch, member: minting.member });
  because(work, { kind: "epoch-minted", epoch, member: minting.member, parent, proof, op }, op);
  setPhase(work, {
    kind: "reigning",
    epoch,
    primary: minting.member,
    op,
    how,
    proof,
    timeline,
    opened: false,
    isSuspected: false,
  });
}

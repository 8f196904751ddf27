/** A host's disk: what was written survives the process, what was also synced survives the kernel. */
import type { MemberDurable } from "#shared/core/member/state.ts";

export class Disk {
  /** What a process reads. */
  written: MemberDurable;
  /** What is there after the kernel has crashed. */
  synced: MemberDurable;

  constructor(first: MemberDurable) {
    this.written = first;
    this.synced = first;
  }

  write(durable: MemberDurable, fsync: boolean): void {
    this.written = durable;
    if (fsync) this.synced = durable;
  }

  loseUnsynced(): void {
    this.written = this.synced;
  }
}

/**
 * Message authentication under keys derived from the Worker's secret. The keys never touch an object's storage: whoever
 * restores an old storage cannot also restore the authority to vouch for what it says.
 */
import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { voucherOfText, voucherText, type Voucher } from "#shared/domain/voucher.ts";

/** Hexadecimal digits of a whole MAC. */
const MAC_DIGITS = 64;

/** One key per purpose: a value made for one can never pass for another. */
type Purpose = "token" | "version" | "lease-ended" | "peer-channel";

/** Makes and checks the MACs of one Worker secret. */
export interface Macs {
  /** Over a token's public part: the check at its end, 24 hexadecimal digits. */
  token(publicPart: string): string;
  /** What members keep and echo: what a version of a dataservice's state vouches for, under a signature. */
  voucher(dataservice: string, voucher: Voucher): string;
  /** What an echoed text vouches for; null for one that this secret did not sign. */
  vouched(dataservice: string, text: string): Voucher | null;
  /** Over the one authoritative refusal. */
  leaseEnded(dataservice: string, epoch: number): string;
  /** No MAC but a key: the one with which the agents of a dataservice authenticate each other, 64 hexadecimal digits. */
  peerKey(dataservice: string): string;
}

export function macsOf(secret: string): Macs {
  const keys: Record<Purpose, Buffer> = {
    token: keyOf(secret, "token"),
    version: keyOf(secret, "version"),
    "lease-ended": keyOf(secret, "lease-ended"),
    "peer-channel": keyOf(secret, "peer-channel"),
  };
  const mac = (purpose: Purpose, parts: (string | number)[]): string =>
    createHmac("sha256", keys[purpose]).update(parts.join("\n")).digest("hex");
  return {
    token: (publicPart) => mac("token", [publicPart]).slice(0, 24),
    voucher: (dataservice, voucher) => {
      const text = voucherText(voucher);
      return mac("version", [dataservice, text]) + text;
    },
    vouched: (dataservice, signed) => {
      const text = signed.slice(MAC_DIGITS);
      const isOurs = equalInConstantTime(signed.slice(0, MAC_DIGITS), mac("version", [dataservice, text]));
      return isOurs ? voucherOfText(text) : null;
    },
    leaseEnded: (dataservice, epoch) => mac("lease-ended", [dataservice, epoch]),
    peerKey: (dataservice) => mac("peer-channel", [dataservice]),
  };
}

/** Compares two short texts without telling by its duration where they differ. */
export function equalInConstantTime(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}

function keyOf(secret: string, purpose: Purpose): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, "interrex", purpose, 32));
}

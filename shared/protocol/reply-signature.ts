/**
 * What a reply's signature says: whoever holds the agent's token gave exactly this answer to exactly that poll.
 *
 * A reply is authority: a lease, a promotion, the end of a reign. One that a proxy has kept, mixed up with another
 * host's, or made up itself must not pass for it, however well formed it is. (Answers of two hosts exchanged: db1 obeys
 * the promotion that was db2's, under db2's lease: two writers.)
 */

/** HMAC-SHA256 under the agent's token over `signedPartOf`, in base64url. */
export const REPLY_SIGNATURE_HEADER = "interrex-reply";

/** The bodies as they travelled. */
export function signedPartOf(poll: string, reply: string): string {
  return JSON.stringify(["interrex-reply-1", poll, reply]);
}

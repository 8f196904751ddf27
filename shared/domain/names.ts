/**
 * The names of things. A name is short, lower case and safe in a URL, a file name, a token and an SQL identifier
 * without quoting, because it ends up in all four.
 */

/** What a dataservice, member or router host may be called. The one word that every object answers to is no name. */
export const NAME_PATTERN = /^(?!constructor$)[a-z][a-z0-9-]{0,31}$/;

/** The remedy shown beside a refused name. */
export const NAME_RULE = "a lower-case letter, then up to 31 of a-z, 0-9 and -";

export type DataserviceName = string;
/** A host of a dataservice that carries a database server. */
export type MemberName = string;
/** A host that carries only a connector, or a member: whatever an agent may speak for. */
export type HostName = string;

/** Whether `text` may name a dataservice, a member or a router host. */
export function isName(text: string): boolean {
  return NAME_PATTERN.test(text);
}

/** The frames of `ls`: rows between dashes, padded to one width. */

/** `text` in lines of at most `width`, broken greedily at spaces; a word that fits nowhere is cut. Continuations are not indented. */
export function wrap(text: string, width: number): string[] {
  if (text.length <= width) return [text];
  const indent = text.length - text.trimStart().length;
  const space = text.lastIndexOf(" ", width);
  if (space <= indent) return [text.slice(0, width), ...wrap(text.slice(width), width)];
  return [text.slice(0, space), ...wrap(text.slice(space + 1), width)];
}

/** The line above, between and below the rows. */
export function border(width: number): string {
  return `+${"-".repeat(width)}+`;
}

/** One row, wrapped and padded. */
export function row(text: string, width: number): string[] {
  return wrap(text, width).map((line) => `|${line.padEnd(width)}|`);
}

/** Groups of rows, each between two borders that neighbours share. */
export function box(groups: readonly (readonly string[])[], width: number): string[] {
  const line = border(width);
  return [line, ...groups.flatMap((rows) => [...rows.flatMap((text) => row(text, width)), line])];
}

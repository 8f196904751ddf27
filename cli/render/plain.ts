/** Foreign text on its way to a terminal. */

/**
 * `text` without control and formatting characters: an error message of a server or a name from the network must not be able to move
 * the cursor, recolour the screen or forge another line.
 */
export function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => {
    const hex = character.codePointAt(0)?.toString(16) ?? "";
    return `\\u${hex.padStart(4, "0")}`;
  });
}

/** Foreign text on its way to a terminal. */

/**
 * `text` without control characters: an error message of a server or a name from the network must not be able to move
 * the cursor, recolour the screen or forge another line.
 */
export function plain(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** Scripts: commands in lines or between semicolons. */

/** The commands of a script, each as its words; empty ones and comments (`#` to the end of the line) are left out. */
export function parseScript(text: string): string[][] {
  return text
    .split("\n")
    .map((line) => line.replace(/(^|\s)#.*$/, ""))
    .flatMap((line) => line.split(";"))
    .map(splitWords)
    .filter((words) => words.length > 0);
}

/** The words of one line. */
export function splitWords(line: string): string[] {
  return line.trim().split(/\s+/).filter(Boolean);
}

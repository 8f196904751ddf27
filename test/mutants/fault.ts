/** A planted fault: one place in the machines, or in what they rest on, made wrong. */

export interface Fault {
  /** Names it for ever; what `--only` takes. */
  id: string;
  /** The rule of docs/SPEC.md that is broken. */
  rule: string;
  /** What is wrong, in words. */
  what: string;
  /** Where: a file of this repository; outside `shared/` `tests` names who looks. */
  file: string;
  /** Text that stands there exactly once, and what takes its place. */
  search: string;
  replace: string;
  /** The tests that look at it; without them the simulator does, and all tests of the machines. */
  tests?: readonly string[];
}

/** The text with the fault in it. Throws when the text to be replaced is not there exactly once. */
export function plant(text: string, { id, file, search, replace }: Fault): string {
  const found = text.split(search).length - 1;
  if (found !== 1)
    throw new Error(`fault '${id}': its text is found ${found} times in ${file}: search for another text`);
  if (search === replace) throw new Error(`fault '${id}' changes nothing`);
  return text.replace(search, () => replace);
}

/** Reading operands and option values; each throws a Failure that shows the usage. */
import { isName, NAME_RULE } from "#shared/domain/names.ts";
import { failure, usageFailure } from "../failure.ts";
import { usageOf, type Call, type CommandSpec } from "./command.ts";

export function expectNoOperands(call: Call, spec: CommandSpec): void {
  const [extra] = call.operands;
  if (extra !== undefined) throw usageFailure(`'${extra}' is not understood after '${spec.name}'`, usageOf(spec));
}

/** `what` says which name it is: `the member`. */
export function parseName(text: string, what: string): string {
  if (!isName(text)) throw failure("usage", `${what} is '${text}'`, `give ${NAME_RULE}`);
  return text;
}

/** What the coordinator calls something; it must not lead a request astray. */
export function parseId(text: string, what: string): string {
  if (!/^[A-Za-z0-9_-]{1,100}$/.test(text))
    throw failure("usage", `${what} is '${text}'`, "give its id, as `ls` shows it");
  return text;
}

/** A whole number of 0 or more. */
export function parseCount(text: string, what: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw failure("usage", `${what} is '${text}'`, "give a whole number, 0 or more");
  return Number(text);
}

/** The option's value; undefined when it was not given. */
export function optionText(call: Call, name: string): string | undefined {
  const value = call.options[name];
  return typeof value === "string" ? value : undefined;
}

/** Names between commas; none for an option that was not given. */
export function parseNames(text: string | undefined, what: string): string[] {
  return text === undefined ? [] : text.split(",").map((name) => parseName(name.trim(), what));
}

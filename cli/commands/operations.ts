import { usageFailure } from "../failure.ts";
import { withProgress } from "../progress.ts";
import { renderOperation, renderOperationWhole } from "../render/operations.ts";
import { clientOf, serviceOf, writeJson } from "../session.ts";
import { ORDINARY, usageOf, type CommandSpec } from "./command.ts";
import { parseCount } from "./operands.ts";

/** The operations: all of them in a line each, or one with its transcript. */
export const OPERATIONS: CommandSpec = {
  ...ORDINARY,
  name: "operations",
  operands: "[N]",
  summary: "list the operations, or show number N with its transcript",
  example: "operations 7",
  run: async ({ operands }, session) => {
    if (operands.length > 1)
      throw usageFailure(`'${operands[1]}' is not understood after 'operations'`, usageOf(OPERATIONS));
    const [wanted] = operands;
    const client = clientOf(session);
    if (wanted === undefined) {
      const all = await withProgress(session, "asking the coordinator", client.operations(serviceOf(session)));
      if (session.json) return writeJson(session, { operations: all });
      return session.screen.write(all.map((operation) => `${renderOperation(operation)}\n`).join(""));
    }
    const op = parseCount(wanted, "the operation");
    const one = await withProgress(session, "asking the coordinator", client.operation(serviceOf(session), op));
    if (session.json) return writeJson(session, one);
    session.screen.write(renderOperationWhole(one));
  },
};

/** The answer to a creation. */
import type { Created } from "#shared/protocol/api.ts";

/** The tokens, each once and never again, with where they belong. */
export function renderCreated(created: Created): string {
  const width = Math.max(0, ...created.tokens.map(({ host }) => host.length));
  return [
    `DataService '${created.name}' created`,
    "",
    "These tokens are shown once. Give each host's agent its own:",
    ...created.tokens.map(({ host, token }) => `  ${host.padEnd(width)}  ${token}`),
    "",
  ].join("\n");
}

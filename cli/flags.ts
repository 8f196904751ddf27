/** The options that every command takes. */
import type { OptionSpec } from "./commands/command.ts";

export const COMMON_OPTIONS: readonly OptionSpec[] = [
  { flags: "--url <url>", summary: "the coordinator's address" },
  { flags: "--token <token>", summary: "who asks; others on this host can see it: prefer --token-file" },
  { flags: "--token-file <file>", summary: "a file that holds the token" },
  { flags: "--service <name>", summary: "the dataservice; without it the one that the token names" },
  { flags: "--config <file>", summary: "settings: url, token, token_file, service (default ~/.config/rex.toml)" },
  { flags: "--timeout <seconds>", summary: "how long one request may take (default 10)" },
  { flags: "--wait <seconds>", summary: "how long an operation is followed (default 120)" },
  { flags: "--json", summary: "answers for machines: one document, or one line an event" },
  { flags: "--yes", summary: "carry out expert-level commands without asking" },
];

/** Tokens for people, as an administrator makes them. */
import type { z } from "zod";
import { zTokenCreated, type zTokenSpec } from "#shared/protocol/api.ts";

const ANSWER_MS = 20_000;

export type TokenSpec = z.infer<typeof zTokenSpec>;
export type CreatedToken = z.infer<typeof zTokenCreated>;

/** Makes a token; its text is shown this once. Throws with the coordinator's refusal. */
export async function createToken(
  { url, adminToken, dataservice }: { url: string; adminToken: string; dataservice: string },
  spec: TokenSpec,
): Promise<CreatedToken> {
  const response = await fetch(`${url}/v1/dataservices/${dataservice}/tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/json" },
    body: JSON.stringify(spec),
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`no ${spec.kind} token was made: ${text}`);
  return zTokenCreated.parse(JSON.parse(text));
}

/** What a text says, when it is JSON of the shape that is due: a file of ours, or what a peer has sent. */
import type { z } from "zod";

/** Null for what is no JSON, or another shape. */
export function readJson<T>(text: string, schema: z.ZodType<T>): T | null {
  try {
    return schema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

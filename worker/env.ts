/** What the Worker is given by its platform. */
import type { Coordinator } from "./coordinator.ts";
import type { Registry } from "./registry.ts";

export interface Env {
  COORDINATOR: DurableObjectNamespace<Coordinator>;
  /** One object for the whole Worker. */
  REGISTRY: DurableObjectNamespace<Registry>;
  /** Opens everything. */
  ADMIN_TOKEN: string;
  /** The root of every derived key; never stored by an object. */
  SECRET: string;
  /** What screens call this coordinator. */
  COORDINATOR_NAME: string;
  /** "true" lets webhooks go to plain HTTP and to private addresses. */
  ALLOW_INSECURE_WEBHOOKS?: string;
}

export function allowsInsecureWebhooks(env: Env): boolean {
  return env.ALLOW_INSECURE_WEBHOOKS === "true";
}

/** Shorter secrets could be guessed. */
export const SECRET_MIN_LENGTH = 16;

/** Why this Worker cannot authenticate anybody; null when it can. Names the secret, never its value. */
export function missingSecret(env: Env): string | null {
  for (const name of ["ADMIN_TOKEN", "SECRET"] as const) {
    if ((env[name]?.length ?? 0) < SECRET_MIN_LENGTH) {
      return `the Worker secret ${name} is not set or shorter than ${SECRET_MIN_LENGTH} characters: set it with 'wrangler secret put ${name}'`;
    }
  }
  return null;
}

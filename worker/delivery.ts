/** One try to deliver: a signed request of Standard Webhooks, its deadline, and when to try again. */
import { Webhook } from "standardwebhooks";
import { refuseUrl } from "./webhook-url.ts";

/** How long a receiver may take to answer. */
export const TRY_MS = 5_000;
/** The last failure of so many makes a dead letter. */
export const MAX_TRIES = 12;
const FIRST_BACKOFF_MS = 2_000;
const LONGEST_BACKOFF_MS = 3_600_000;
/** Waits differ by up to this part either way, so that what failed together is not retried together. */
const JITTER = 0.2;
const ERROR_LENGTH = 200;

export interface Letter {
  /** The same for every try: by it a receiver knows what it has had. */
  id: string;
  url: string;
  secret: string;
  body: string;
}

/** Sends one letter; null when it was taken, else what went wrong, in words for people. Never throws. */
export async function send(
  { id, url, secret, body }: Letter,
  options: { wallMs: number; allowInsecure: boolean; signal: AbortSignal },
): Promise<string | null> {
  const refused = refuseUrl(url, options.allowInsecure);
  if (refused !== null) return refused;
  const deadline = AbortSignal.timeout(TRY_MS);
  try {
    const sentAt = new Date(options.wallMs);
    const response = await fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "user-agent": "interrex-webhooks/1",
        "webhook-id": id,
        "webhook-timestamp": String(Math.floor(options.wallMs / 1_000)),
        "webhook-signature": new Webhook(secret).sign(id, sentAt, body),
      },
      body,
      // Another address was never checked.
      redirect: "manual",
      signal: AbortSignal.any([options.signal, deadline]),
    });
    await response.body?.cancel();
    return judged(response.status);
  } catch (error) {
    if (deadline.aborted) return `no answer within ${TRY_MS} ms`;
    return `not delivered: ${String(error)}`.slice(0, ERROR_LENGTH);
  }
}

function judged(status: number): string | null {
  if (status >= 200 && status < 300) return null;
  return status >= 300 && status < 400 ? `answered ${status}: redirects are not followed` : `answered ${status}`;
}

/** How long to wait after the `failures`-th failure in a row: 2 s, 4 s ... 1 h; null when it was the last. */
export function backoffMs(failures: number, random: number): number | null {
  if (failures >= MAX_TRIES) return null;
  const plain = Math.min(FIRST_BACKOFF_MS * 2 ** (failures - 1), LONGEST_BACKOFF_MS);
  return Math.round(plain * (1 - JITTER + 2 * JITTER * random));
}

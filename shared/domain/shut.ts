/** What a primary's agent answers when its switch door is shut and nobody is inside any more. */

const HEIR_HAS_ALL = "heir-has-all";

export interface Shut {
  /** How many sessions were ended. */
  ended: number;
  /** The heir's stream has confirmed, as flushed, everything that the sessions had written. */
  hasHeirAll: boolean;
}

/** As the value of a command's result: `2`, or `2 heir-has-all`. */
export function shutValue({ ended, hasHeirAll }: Shut): string {
  return hasHeirAll ? `${ended} ${HEIR_HAS_ALL}` : String(ended);
}

/** Reads the value; what is not understood says nothing. */
export function parseShut(value: string): Shut {
  const [ended, word] = value.split(" ");
  return { ended: Number(ended) || 0, hasHeirAll: word === HEIR_HAS_ALL };
}

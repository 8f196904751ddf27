/**
 * The simulator's only source of chance: sfc32, seeded by splitmix32. The same seed gives the same numbers on every
 * machine; a fork draws from a stream of its own, so that one more draw here does not shift every draw there.
 */

export interface Random {
  /** A number in [0, 1). */
  next(): number;
  /** A number in [low, high). */
  between(low: number, high: number): number;
  /** A whole number in [low, high]. */
  whole(low: number, high: number): number;
  /** True with probability `p`. */
  chance(p: number): boolean;
  /** One of `items`; throws when there is none. */
  pick<T>(items: readonly T[]): T;
  /** `items` in another order. */
  shuffled<T>(items: readonly T[]): T[];
  /** An independent stream, named so that its numbers depend on nothing but the seed and the name. */
  fork(name: string): Random;
}

/** The stream of numbers that belongs to `seed`. */
export function seededRandom(seed: number): Random {
  const next = sfc32(seed);
  const between = (low: number, high: number): number => low + next() * (high - low);
  const whole = (low: number, high: number): number => low + Math.floor(next() * (high - low + 1));
  return {
    next,
    between,
    whole,
    chance: (p) => next() < p,
    pick: (items) => {
      const item = items[whole(0, items.length - 1)];
      if (item === undefined) throw new Error("nothing to pick from: give at least one item");
      return item;
    },
    shuffled: (items) => {
      const order = [...items];
      for (let index = order.length - 1; index > 0; index -= 1) {
        const other = whole(0, index);
        [order[index], order[other]] = [order[other] as never, order[index] as never];
      }
      return order;
    },
    fork: (name) => seededRandom(hash(`${seed}/${name}`)),
  };
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  }
  return value >>> 0;
}

function splitmix32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return mixed ^ (mixed >>> 15);
  };
}

function sfc32(seed: number): () => number {
  const mix = splitmix32(seed);
  let a = mix();
  let b = mix();
  let c = mix();
  let counter = 1;
  return () => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 4_294_967_296;
  };
}

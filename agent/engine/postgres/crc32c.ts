/** CRC-32C, the checksum of the server's files, eight bytes at a time. */

/** Castagnoli's polynomial, reflected. */
const POLYNOMIAL = 0x82f63b78;
const TABLES = makeTables();

/** The checksum of `bytes`, or of all that was given before and of `bytes`, when `before` is that checksum. */
export function crc32c(bytes: Uint8Array, before = 0): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES;
  const end = bytes.length - (bytes.length % 8);
  let rest = ~before;
  let at = 0;
  for (; at < end; at += 8) {
    const low =
      rest ^ (byte(bytes, at) | (byte(bytes, at + 1) << 8) | (byte(bytes, at + 2) << 16) | (byte(bytes, at + 3) << 24));
    rest =
      entry(t7, low & 0xff) ^
      entry(t6, (low >>> 8) & 0xff) ^
      entry(t5, (low >>> 16) & 0xff) ^
      entry(t4, low >>> 24) ^
      entry(t3, byte(bytes, at + 4)) ^
      entry(t2, byte(bytes, at + 5)) ^
      entry(t1, byte(bytes, at + 6)) ^
      entry(t0, byte(bytes, at + 7));
  }
  for (; at < bytes.length; at += 1) rest = (rest >>> 8) ^ entry(t0, (rest ^ byte(bytes, at)) & 0xff);
  return ~rest >>> 0;
}

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] as number;
}

function entry(table: Int32Array, index: number): number {
  return table[index] as number;
}

type Tables = [Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array];

/** Table n holds what a byte contributes that n more bytes follow. */
function makeTables(): Tables {
  const tables = Array.from({ length: 8 }, () => new Int32Array(256)) as Tables;
  for (let value = 0; value < 256; value += 1) {
    let rest = value;
    for (let bit = 0; bit < 8; bit += 1) rest = rest & 1 ? (rest >>> 1) ^ POLYNOMIAL : rest >>> 1;
    tables[0][value] = rest;
  }
  for (let value = 0; value < 256; value += 1) {
    let rest = entry(tables[0], value);
    for (const table of tables.slice(1)) {
      rest = (rest >>> 8) ^ entry(tables[0], rest & 0xff);
      table[value] = rest;
    }
  }
  return tables;
}

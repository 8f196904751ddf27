/** The control files of fresh clusters of every format, as their `initdb` has left them: the pieces that are not zero. */
import { describe, expect, test } from "vitest";
import { parseControlFile } from "../../agent/engine/postgres/control-file.ts";

const BYTES = 8_192;

interface Sample {
  versions: string;
  systemId: string;
  lsn: string;
  pieces: [at: number, hex: string][];
}

const SAMPLES: Sample[] = [
  {
    versions: "13 to 16",
    systemId: "7710645508428715707",
    lsn: "0/15C4940",
    pieces: [
      [
        0,
        "bbd6dab63cb7016b14050000a1620a0c01000000000000003db7016b0000000040495c010000000040495c010000000001000000010000000100000000000000e501000000000000483400000100000000000000de010000010000000100000001000000000000003db7016b00000000",
      ],
      [128, "e803000000000000"],
      [
        168,
        "00000000010000000000000064000000080000000a000000000000004000000000000000080000000000000087d63241002000000000020000200000000000014000000020000000cc070000000800000100000000000000dba613bd8480ff1fdc9a24f791395f039c2bdc2ebd437a832456269adf504a85abe0b27600000000",
      ],
    ],
  },
  {
    versions: "17",
    systemId: "7710645517551945445",
    lsn: "0/14D89E8",
    pieces: [
      [
        0,
        "e546a4d63eb7016ba40600008979100c01000000000000003fb7016b00000000e8894d0100000000e8894d010000000001000000010000000100000001000000e202000000000000b93400000100000000000000da020000010000000100000001000000000000003fb7016b00000000",
      ],
      [128, "e803000000000000"],
      [
        168,
        "00000000010000000000000064000000080000000a000000000000004000000000000000080000000000000087d63241002000000000020000200000000000014000000020000000cc0700000008000001000000000000007d7136a60d363a8f43ff8d10f34ebdd909aa6d8c06c3624ac2784a490a74026de264c72f00000000",
      ],
    ],
  },
  {
    versions: "18",
    systemId: "7710645677845076044",
    lsn: "0/174B288",
    pieces: [
      [
        0,
        "4c58db2864b7016b080700003300120c010000000000000065b7016b0000000088b274010000000088b274010000000001000000010000000100000001000000f002000000000000c33400000100000000000000e80200000100000001000000010000000000000065b7016b00000000",
      ],
      [128, "e803000000000000"],
      [
        168,
        "00000000010000000000000064000000080000000a000000000000004000000000000000080000000000000087d63241002000000000020000200000000000014000000020000000cc07000000080000010000000100000001e9c10ecb11906a8fbe6460f63ae25e7ad628a8b934db9acdf1a63178c80d14e7000000e2c4cfd3",
      ],
    ],
  },
];

describe.each(SAMPLES)("the control file of PostgreSQL $versions", ({ systemId, lsn, pieces }) => {
  const bytes = Buffer.alloc(BYTES);
  for (const [at, hex] of pieces) bytes.write(hex, at, "hex");

  test("says whose it is, and where the log of a server that was stopped in good order ends", () => {
    const checkpoint = { timeline: 1, lsn };
    expect(parseControlFile(bytes)).toEqual({ systemId, state: "stopped", checkpoint, minRecovery: null });
  });

  test("says nothing when one byte is another", () => {
    for (const [at] of pieces) {
      const torn = Buffer.from(bytes);
      torn.writeUInt8(torn.readUInt8(at) ^ 0x01, at);
      expect(parseControlFile(torn)).toBeNull();
    }
  });
});

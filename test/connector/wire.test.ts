import { describe, expect, test } from "vitest";
import * as fc from "fast-check";
import { readFirstAnswer } from "../../agent/connector/first-answer.ts";
import { readFirstPacket, resendableBytes } from "../../agent/connector/first-packet.ts";
import { converse, encodeRefusal } from "../../agent/connector/refusal.ts";
import { CANCEL_REQUEST, errorResponse, GSS_REQUEST, request, SSL_REQUEST, startup } from "./peers.ts";

const cancel = request(CANCEL_REQUEST, Buffer.alloc(8, 7));

describe("the first packet of a client", () => {
  test.each([
    ["startup", startup(), { kind: "startup", length: startup().length }],
    ["startup 3.2", request((3 << 16) | 2, Buffer.from("\0")), { kind: "startup", length: 9 }],
    [
      "startup with more behind it",
      Buffer.concat([startup(), Buffer.from("Q")]),
      { kind: "startup", length: startup().length },
    ],
    ["half a startup", startup().subarray(0, 10), { kind: "startup", length: startup().length }],
    ["SSLRequest", request(SSL_REQUEST), { kind: "ssl-request", length: 8 }],
    ["GSSENCRequest", request(GSS_REQUEST), { kind: "gss-request", length: 8 }],
    ["CancelRequest", cancel, { kind: "cancel" }],
    ["TLS at once", Buffer.from([0x16, 3, 1, 2, 0, 1]), { kind: "tls-hello" }],
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\n"), { kind: "other" }],
    ["protocol 2", request(2 << 16), { kind: "other" }],
    ["a length below a header", Buffer.from([0, 0, 0, 7, 0, 3, 0, 0]), { kind: "other" }],
    ["nothing", Buffer.alloc(0), { kind: "incomplete" }],
    ["a length only", Buffer.from([0, 0, 0, 8, 4]), { kind: "incomplete" }],
  ])("%s", (_name, bytes, expected) => {
    expect(readFirstPacket(bytes)).toEqual(expected);
  });

  test("only what starts nothing by itself may be sent again", () => {
    const statement = Buffer.concat([startup(), Buffer.from("Q statement")]);
    expect(resendableBytes(readFirstPacket(statement), statement.length)).toBe(startup().length);
    expect(resendableBytes(readFirstPacket(startup().subarray(0, 9)), 9)).toBe(9);
    expect(resendableBytes(readFirstPacket(cancel), cancel.length)).toBe("never");
    expect(resendableBytes(readFirstPacket(Buffer.from("HELO there")), 10)).toBe("never");
    expect(resendableBytes(readFirstPacket(Buffer.from([0, 0])), 2)).toBe(2);
  });
});

describe("the first answer of a server", () => {
  test.each(["57P01", "57P02", "57P03"])("%s means not now", (sqlState) => {
    expect(readFirstAnswer(errorResponse(sqlState))).toEqual({ kind: "not-now", sqlState });
  });

  test.each([
    ["a wrong password", errorResponse("28P01")],
    ["too many clients", errorResponse("53300")],
    ["an error that quotes the state", errorResponse("XX000", "C57P03")],
    ["an authentication request", Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0])],
    ["TLS accepted", Buffer.from("S")],
    ["TLS declined", Buffer.from("N")],
    ["an error of protocol 2", Buffer.from("Ecould not fork\n\0")],
    ["an error without fields", Buffer.from([0x45, 0, 0, 0, 4])],
    ["an error with a length below its own length word", Buffer.from([0x45, 0, 0, 0, 3])],
    ["an error with an unfinished field", Buffer.from([0x45, 0, 0, 0, 7, 0x43, 0x35, 0x37])],
  ])("%s is for the client", (_name, bytes) => {
    expect(readFirstAnswer(bytes)).toEqual({ kind: "answer" });
  });

  test("cut anywhere, an error is waited for", () => {
    const whole = errorResponse("57P03");
    for (let at = 0; at < whole.length; at += 1) expect(readFirstAnswer(whole.subarray(0, at)).kind).toBe("incomplete");
  });

  test("no bytes break it", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (tail) => {
        const { kind } = readFirstAnswer(Buffer.from([0x45, 0, 0, 0, ...tail]));
        expect(["incomplete", "answer", "not-now"]).toContain(kind);
      }),
    );
  });
});

describe("the refusal", () => {
  const refusal = { message: "né", hint: "h" };

  test("is an ErrorResponse of protocol 3 to the byte", () => {
    const fields = ["53464154414c00", "56464154414c00", "43353750303300", "4d6ec3a900", "486800"].join("");
    expect(encodeRefusal(refusal).toString("hex")).toBe(`4500000022${fields}00`);
  });

  test("declines encryption, however the packets are cut, before it answers the startup", () => {
    const wanted = Buffer.concat([Buffer.from("NN"), encodeRefusal(refusal)]);
    const bytes = Buffer.concat([request(GSS_REQUEST), request(SSL_REQUEST), startup()]);
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const first = converse(bytes.subarray(0, cut), refusal);
      expect(first.next).toBe(cut === bytes.length ? "close" : "listen");
      const rest = first.next === "close" ? Buffer.alloc(0) : converse(bytes.subarray(first.said), refusal).answer;
      expect(Buffer.concat([first.answer, rest])).toEqual(wanted);
    }
  });

  test("is not spoken to a cancel request, TLS or another protocol", () => {
    for (const bytes of [cancel, Buffer.from([0x16, 3, 1, 0]), Buffer.from("GET /")]) {
      expect(converse(bytes, refusal)).toMatchObject({ next: "hang-up", answer: Buffer.alloc(0) });
    }
  });
});

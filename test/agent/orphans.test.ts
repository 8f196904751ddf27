/** What the kernel's tables say of a dead server's sockets. */
import { expect, test } from "vitest";
import { countIn } from "../../agent/door/orphans.ts";

const PORT = 5_432;
const HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";

function line({ local = "0100007F:1538", state = "04", queue = "00000011", inode = "0" } = {}): string {
  return `   0: ${local} 0100007F:C350 ${state} ${queue}:00000000 01:00000014 00000003     0        0 ${inode} 2 ffff88`;
}

test("are the sockets of the port that no process holds and that have bytes to send", () => {
  expect(
    countIn([HEAD, line(), line({ local: "00000000000000000000000001000000:1538", state: "09" })].join("\n"), PORT),
  ).toBe(2);
});

test.each([
  ["one that a process holds", { inode: "24680" }],
  ["one that has said everything", { queue: "00000000" }],
  ["one that is only remembered", { state: "06" }],
  ["one of another port", { local: "0100007F:1539" }],
  ["the client's end", { local: "0100007F:C350" }],
])("%s is none", (_, socket) => {
  expect(countIn([HEAD, line(socket)].join("\n"), PORT)).toBe(0);
});

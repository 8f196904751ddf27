/** Hosts that are known by name, and a name service that hangs, fails, and changes its mind. */
import { execFile } from "node:child_process";
import { connect, createServer } from "node:net";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { askSystem, NameService, type Address } from "../../agent/name-service.ts";
import { listenOn } from "./asking.ts";

const FIRST: Address[] = [{ address: "127.0.0.1", family: 4 }];
const SECOND: Address[] = [{ address: "127.0.0.2", family: 4 }];
const FRESH_MS = 1_000;
const DEADLINE_MS = 20_000;
const NAME = "db2.internal";

/** A name service in our hands: `questions` are those that wait for an answer. */
function inOurHands() {
  const questions: { name: string; answer: (addresses: Address[]) => void; fail: (error: Error) => void }[] = [];
  const troubles: string[] = [];
  let nowMs = 0;
  const names = new NameService({
    ask: (name) => new Promise((answer, fail) => void questions.push({ name, answer, fail })),
    nowMs: () => nowMs,
    onTrouble: (name, address, why) => troubles.push(`${name} ${address} ${why}`),
  });
  const pass = (ms: number) => void (nowMs += ms);
  /** Has the name answered with the first address, and that become old. */
  const known = async () => {
    const resolved = names.resolve(NAME);
    questions.shift()?.answer(FIRST);
    await resolved;
    pass(FRESH_MS);
  };
  return { names, questions, troubles, pass, known };
}

describe("a name", () => {
  test("is asked for once at a time, whoever wants it; another one is asked for beside it", async () => {
    const { names, questions } = inOurHands();
    const wanted = [names.resolve(NAME), names.resolve(NAME), names.resolve("db3.internal")];
    expect(questions.map(({ name }) => name)).toEqual([NAME, "db3.internal"]);
    questions[0]?.answer(FIRST);
    questions[1]?.answer(SECOND);
    expect(await Promise.all(wanted)).toEqual([FIRST, FIRST, SECOND]);
  });

  test("that was answered for a moment ago is not asked for", async () => {
    const { names, questions, pass, known } = inOurHands();
    await known();
    pass(-1);
    expect(await names.resolve(NAME)).toEqual(FIRST);
    expect(questions).toEqual([]);
  });

  test("whose question hangs has its last address, asked for no second time; the answer takes its place when it comes", async () => {
    const { names, questions, pass, known } = inOurHands();
    await known();
    expect(await names.resolve(NAME)).toEqual(FIRST);
    pass(10_000);
    expect(await names.resolve(NAME)).toEqual(FIRST);
    expect(questions.length).toBe(1);
    questions[0]?.answer(SECOND);
    await new Promise(setImmediate);
    expect(await names.resolve(NAME)).toEqual(SECOND);
  });

  test("whose question fails has its last address, which is told once, and a new one with the next answer", async () => {
    const { names, questions, troubles, pass, known } = inOurHands();
    await known();
    for (let time = 0; time < 2; time += 1) {
      const resolved = names.resolve(NAME);
      questions.shift()?.fail(Object.assign(new Error("SERVFAIL"), { code: "EAI_AGAIN" }));
      expect(await resolved).toEqual(FIRST);
      pass(FRESH_MS);
    }
    expect(troubles).toEqual([`${NAME} 127.0.0.1 name-unknown`]);
    const resolved = names.resolve(NAME);
    questions.shift()?.answer(SECOND);
    expect(await resolved).toEqual(SECOND);
  });

  test("that was never answered for fails with its question, and is asked for again", async () => {
    const { names, questions } = inOurHands();
    const resolved = names.resolve(NAME);
    questions.shift()?.answer([]);
    await expect(resolved).rejects.toMatchObject({ code: "ENOTFOUND" });
    void names.resolve(NAME);
    expect(questions.length).toBe(1);
  });

  test("leads a connection to its address, of the kind that is wanted", async () => {
    const { names, questions } = inOurHands();
    const server = await listenOn(createServer((socket) => socket.end(String(socket.localAddress))));
    try {
      const socket = connect({ host: NAME, port: server.port, family: 4, lookup: names.lookup });
      questions.shift()?.answer([{ address: "::1", family: 6 }, ...FIRST]);
      expect(String(await socket.setEncoding("utf8").toArray())).toBe("127.0.0.1");
    } finally {
      server.close();
    }
  });
});

describe("the system", () => {
  test("knows this host, and not a name that nobody has", async () => {
    const { signal } = new AbortController();
    expect(await askSystem("localhost", signal)).toContainEqual(FIRST[0]);
    await expect(askSystem("nobody.invalid", signal)).rejects.toMatchObject({ code: "ENOTFOUND" });
    await expect(askSystem("-s", signal)).rejects.toMatchObject({ code: "ENOTFOUND" });
  });

  // A name server that takes questions and answers none needs a network and a resolver's configuration of its own.
  test.skipIf(process.getuid?.() !== 0)(
    "may hang for as long as it likes over one name: others are found, and the process can end",
    async () => {
      const program = new URL("hanging-names.ts", import.meta.url).pathname;
      const script = `ip link set lo up
        echo 'nameserver 127.0.0.99' > "$0/resolv.conf"; mount --bind "$0/resolv.conf" /etc/resolv.conf
        echo '127.0.0.1 localhost ${NAME}' > "$0/hosts"; mount --bind "$0/hosts" /etc/hosts
        exec "$1" "$2" ${NAME}`;
      const inside = [
        "--mount",
        "--net",
        "sh",
        "-c",
        `mount -t tmpfs none "$0" && ${script}`,
        "/mnt",
        process.execPath,
      ];
      const { stdout } = await promisify(execFile)("unshare", [...inside, program], {
        timeout: DEADLINE_MS,
        killSignal: "SIGKILL",
      });
      expect(stdout.trim()).toBe(`${NAME} promises, and 8 polls were not answered: timeout`);
    },
  );
});

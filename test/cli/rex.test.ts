import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import type { OperationStatus } from "#shared/protocol/api.ts";
import { refuse, removeCache, rex, startApi, TOKEN, type ApiServer, type RexOptions } from "./api.ts";
import { RECOVERED } from "./statuses.ts";

const SCREEN = readFileSync(new URL("screens/81-recovered.txt", import.meta.url), "utf8");

let api: ApiServer;
let home: string;

beforeEach(async () => {
  api = await startApi(structuredClone(RECOVERED));
  home = mkdtempSync(join(tmpdir(), "rex-"));
});

afterEach(async () => {
  await api.close();
  rmSync(home, { recursive: true, force: true });
});

afterAll(removeCache);

/** `rex` as an operator with a token and nothing else. */
function run(args: string[], options: RexOptions = {}) {
  return rex(args, { home, ...options, environment: { REX_URL: api.url, REX_TOKEN: TOKEN, ...options.environment } });
}

function operation(
  state: OperationStatus["state"],
  transcript: string[],
  given: Partial<OperationStatus> = {},
): OperationStatus {
  const ended = state === "running" ? null : Date.UTC(2026, 0, 1, 0, 0, 1, 250);
  return {
    op: 7,
    kind: "failover",
    requestedBy: "operator",
    state,
    code: "",
    startedWallMs: Date.UTC(2026, 0, 1),
    endedWallMs: ended,
    transcript,
    ...given,
  };
}

function firstError(err: string): { code: string; detail: string; remedy: string } {
  return (JSON.parse(err) as { error: { code: string; detail: string; remedy: string } }).error;
}

describe("ls", () => {
  it("writes the known bytes into a pipe, for the dataservice that the token names", async () => {
    expect(await run(["ls"])).toEqual({ status: 0, out: SCREEN, err: "" });
    expect(api.requests).toEqual(["GET /v1/dataservices/alpha"]);
  });

  it("writes the status with --json, before or after the command", async () => {
    const after = await run(["ls", "--json"]);
    expect(JSON.parse(after.out)).toEqual(RECOVERED);
    expect(await run(["--json", "ls"])).toEqual(after);
    expect(after.out.split("\n")).toHaveLength(2);
  });

  it("tells that the dataservice is not founded yet, beside the screen", async () => {
    api.status.founded = false;
    const detail = "waiting for reports of db2";
    api.status.founding = { waitsFor: ["db2"], obstacle: null, members: [], detail };
    const { out, err } = await run(["ls"]);
    expect(out).toBe(SCREEN);
    expect(err).toContain("Not founded yet: waiting for reports of db2.");
  });

  it("reads a newer coordinator's status and refuses one that is wrong", async () => {
    api.override = () => ({ status: 200, body: { ...RECOVERED, novelty: 1 } });
    expect((await run(["ls"])).out).toBe(SCREEN);
    api.override = () => ({ status: 200, body: { ...RECOVERED, epoch: "three" } });
    const { status, err } = await run(["ls", "--json"]);
    expect(status).toBe(1);
    expect(firstError(err)).toMatchObject({ code: "unexpected-answer" });
    expect(err).toContain("epoch");
  });
});

describe("failures", () => {
  it("prints a refusal with its code and remedy and exits with 1", async () => {
    const { status, out, err } = await run(["ls"], { environment: { REX_TOKEN: "rex_operator_alpha_k1_wrong" } });
    expect([status, out]).toEqual([1, ""]);
    expect(err).toMatch(/^ERROR: the token is not known \(unauthorized\)\n {2}give a valid token/);
    expect(err).not.toContain("wrong");
  });

  it("tells an unreachable coordinator from a slow one and from something else", async () => {
    const closed = await startApi(RECOVERED);
    await closed.close();
    expect((await run(["--url", closed.url, "ls"])).err).toContain("cannot be reached (ECONNREFUSED)");
    api.override = () => null;
    const slow = await run(["ls", "--timeout", "0.2", "--json"]);
    expect(firstError(slow.err)).toMatchObject({ code: "timed-out", retryable: true });
    api.override = () => ({ status: 502, body: "<html>" });
    expect(firstError((await run(["ls", "--json"])).err)).toMatchObject({ code: "unexpected-answer", retryable: true });
  });

  it("warns that an unanswered command may have been carried out", async () => {
    api.override = () => null;
    const { err } = await run(["failover", "--yes", "--timeout", "0.2"]);
    expect(err).toContain("it may have been carried out all the same");
  });
});

describe("settings", () => {
  it("come from the configuration file, after the environment, after the flags", async () => {
    mkdirSync(join(home, ".config"));
    writeFileSync(join(home, "token"), `${TOKEN}\n`);
    writeFileSync(
      join(home, ".config", "rex.toml"),
      `url = "${api.url}"\nservice = "beta"\ntoken_file = "${join(home, "token")}"\n`,
    );
    const bare = (args: string[], environment: Record<string, string> = {}) => rex(args, { home, environment });
    expect((await bare(["ls"])).err).toContain("there is no GET /v1/dataservices/beta");
    expect((await bare(["ls"], { REX_SERVICE: "gamma" })).err).toContain("/v1/dataservices/gamma");
    expect((await bare(["ls", "--service", "alpha"], { REX_SERVICE: "gamma" })).out).toBe(SCREEN);
    expect((await bare(["ls", "--token", "x"])).err).toContain("unauthorized");
  });

  it("are refused by key and value, never by quoting a line that may hold the token", async () => {
    const config = join(home, "rex.toml");
    writeFileSync(config, 'urls = "x"\n');
    expect((await run(["ls", "--config", config])).err).toContain("unknown key 'urls'");
    writeFileSync(config, 'token = "hush\n');
    const { err } = await run(["ls", "--config", config]);
    expect(err).toContain("(line 1)");
    expect(err).not.toContain("hush");
    expect((await run(["ls", "--config", join(home, "none.toml")])).err).toContain("ENOENT");
  });

  it("are needed only by commands that ask the coordinator", async () => {
    expect((await rex(["ls"], { home })).err).toContain("--service, REX_SERVICE");
    expect((await rex(["ls", "--service", "alpha"], { home })).err).toContain("--url, REX_URL");
    expect((await rex(["help"], { home })).out).toContain("failover [to MEMBER]");
    expect((await rex(["help", "events"], { home })).out).toContain("--follow");
    expect((await rex(["events", "--help"], { home })).out).toContain("--follow");
    expect((await rex(["--version"], { home })).out).toMatch(/^[0-9]+\.[0-9]+\.[0-9]+\n$/);
  });
});

describe("failover", () => {
  it("gives the command and prints the transcript as it grows", async () => {
    api.operation = [
      operation("running", ["SELECTED SLAVE: db3@alpha"]),
      operation("running", ["SELECTED SLAVE: db3@alpha"]),
      operation("succeeded", ["SELECTED SLAVE: db3@alpha", "FAILOVER TO 'db3' WAS COMPLETED"]),
    ];
    expect(await run(["failover", "to", "db3", "--yes"])).toEqual({
      status: 0,
      out: "SELECTED SLAVE: db3@alpha\nFAILOVER TO 'db3' WAS COMPLETED\n",
      err: "",
    });
    expect(api.requests[0]).toBe('POST /v1/dataservices/alpha/commands {"command":"failover","to":"db3"}');
    expect(api.requests.slice(1)).toEqual(Array(2).fill("GET /v1/dataservices/alpha/operations/7"));
  });

  it("asks nobody without a terminal: it refuses, and sends nothing", async () => {
    const { status, err } = await run(["failover"], { input: "y\n" });
    expect(status).toBe(1);
    expect(err).toContain("add --yes");
    expect(api.requests).toEqual([]);
  });

  it("exits with 1 and the operation's code when the operation failed", async () => {
    api.operation = [
      operation("running", []),
      operation("failed", ["NO\u001b[31m ELIGIBLE SLAVE"], { code: "no-candidate" }),
    ];
    const { status, out, err } = await run(["failover", "--yes"]);
    expect([status, out]).toEqual([1, "NO\\u001b[31m ELIGIBLE SLAVE\n"]);
    expect(err).toContain("operation 7 (failover) failed: no-candidate");
  });

  it("writes the ended operation as the one document with --json", async () => {
    const ended = operation("failed", ["A"], { code: "no-candidate" });
    api.operation = [operation("running", []), ended];
    const { status, out, err } = await run(["failover", "--yes", "--json"]);
    expect(status).toBe(1);
    expect(JSON.parse(out)).toEqual(ended);
    expect(firstError(err).code).toBe("operation-failed");
  });

  it("goes on following while the coordinator is away for a moment", async () => {
    api.operation = [operation("running", []), operation("succeeded", ["DONE"])];
    let absences = 2;
    api.override = (request) =>
      request.startsWith("GET") && absences-- > 0 ? refuse("coordinator-unavailable", "restarting") : undefined;
    expect(await run(["failover", "--yes"])).toMatchObject({ status: 0, out: "DONE\n" });
  });

  it("stops following at the deadline and says where to look", async () => {
    api.operation = [operation("running", [])];
    api.override = (request) =>
      request.startsWith("GET") ? { status: 200, body: operation("running", []) } : undefined;
    const { status, err } = await run(["failover", "--yes", "--wait", "0.3"]);
    expect(status).toBe(1);
    expect(err).toContain(
      "has not ended within 0.3 s; it goes on (operation-still-running)\n  see it with `rex operations 7`",
    );
  });

  it("leaves the operation to the coordinator when it is interrupted", async () => {
    api.operation = [operation("running", ["STARTED"])];
    api.override = (request) =>
      request.startsWith("GET") ? { status: 200, body: operation("running", ["STARTED"]) } : undefined;
    const { status, err } = await run(["failover", "--yes"], { interruptAt: "STARTED" });
    expect(status).toBe(1);
    expect(err).toContain("operation 7 (failover) goes on without this console");
  });
});

describe("datasource", () => {
  it.each([
    ["fail", "DataSource 'db2@alpha' set to FAILED"],
    ["shun", "DataSource 'db2' set to SHUNNED"],
    ["welcome", "DataSource 'db2@alpha' is now OFFLINE"],
    ["online", "DataSource 'db2@alpha' is now ONLINE"],
    ["offline", "DataSource 'db2@alpha' is now OFFLINE"],
    ["recover", "RECOVERY OF 'db2@alpha' WAS SUCCESSFUL"],
  ] as const)("%s says what its operation told", async (action, line) => {
    api.operation = [operation("succeeded", [line], { kind: `datasource-${action}` })];
    expect(await run(["datasource", "db2", action, "--yes"])).toEqual({ status: 0, out: `${line}\n`, err: "" });
    expect(api.requests).toEqual([
      `POST /v1/dataservices/alpha/commands {"command":"datasource-${action}","member":"db2"}`,
    ]);
  });

  it("asks before failing and welcoming, and not before the others", async () => {
    for (const action of ["fail", "welcome"])
      expect((await run(["datasource", "db2", action])).err).toContain(`'datasource db2 ${action}' is an expert-level`);
    expect(api.requests).toEqual([]);
    api.operation = [operation("succeeded", [], { kind: "datasource-shun" })];
    expect(await run(["datasource", "db2", "shun"])).toMatchObject({ status: 0 });
  });

  it("passes the coordinator's refusal on", async () => {
    api.override = () => refuse("unknown-member", "member is 'db9'; the members are db1, db2, db3");
    const { status, err } = await run(["datasource", "db9", "fail", "--yes"]);
    expect(status).toBe(1);
    expect(err).toContain("ERROR: member is 'db9'; the members are db1, db2, db3 (unknown-member)");
  });
});

describe("switch and recover", () => {
  it("follow their operation, at 25 ms to begin with", async () => {
    const lines = ["SET POLICY: AUTOMATIC => MAINTENANCE", "SWITCH TO 'db3@alpha' WAS SUCCESSFUL"];
    const running = operation("running", lines.slice(0, 1), { kind: "switch" });
    api.operation = [...Array.from({ length: 20 }, () => running), operation("succeeded", lines, { kind: "switch" })];
    const askedMs: number[] = [];
    api.override = () => void askedMs.push(performance.now());
    expect(await run(["switch", "to", "db3"])).toEqual({ status: 0, out: `${lines.join("\n")}\n`, err: "" });
    // Each question follows the answer before it: at the later pace none could come sooner than 100 ms after another.
    const gapsMs = askedMs.slice(1).map((nowMs, index) => nowMs - (askedMs[index] ?? 0));
    expect(Math.min(...gapsMs)).toBeLessThan(90);
    expect(api.requests[0]).toBe('POST /v1/dataservices/alpha/commands {"command":"switch","to":"db3"}');
  });

  it("end with the failure's code and what to do", async () => {
    api.operation = [
      operation("failed", ["DATA SERVICE 'alpha' DOES NOT HAVE AN ACTIVE PRIMARY"], {
        kind: "recover",
        code: "no-active-primary",
      }),
    ];
    const { status, out, err } = await run(["recover"]);
    expect([status, out]).toEqual([1, "DATA SERVICE 'alpha' DOES NOT HAVE AN ACTIVE PRIMARY\n"]);
    expect(err).toContain("operation 7 (recover) failed: no-active-primary");
    expect(err).toContain("datasource MEMBER welcome");
  });
});

describe("set", () => {
  const POLICY = operation("succeeded", [], { kind: "set-policy" });

  it("policy says which it is now, in either case of the word", async () => {
    api.operation = [POLICY, POLICY];
    const done = { status: 0, out: "policy mode is now MAINTENANCE\n", err: "" };
    expect(await run(["set", "policy", "maintenance"])).toEqual(done);
    expect(await run(["set", "policy", "MAINTENANCE"])).toEqual(done);
    const request = 'POST /v1/dataservices/alpha/commands {"command":"set-policy","policy":"maintenance"}';
    expect(api.requests).toEqual([request, request]);
    api.operation = [POLICY];
    expect(JSON.parse((await run(["set", "policy", "manual", "--json"])).out)).toEqual(POLICY);
  });

  it("durability sends how many are to acknowledge, and tells what became of it", async () => {
    const DURABILITY = operation("succeeded", ["'alpha' IS ASYNCHRONOUS"], { kind: "set-durability" });
    api.operation = [DURABILITY, DURABILITY, DURABILITY];
    expect(await run(["set", "durability", "async"])).toEqual({
      status: 0,
      out: "'alpha' IS ASYNCHRONOUS\n",
      err: "",
    });
    await run(["set", "durability", "sync"]);
    await run(["set", "durability", "SYNC", "2", "degrade"]);
    expect(api.requests.map((request) => request.split("commands ")[1])).toEqual([
      '{"command":"set-durability","durability":"async"}',
      '{"command":"set-durability","durability":"sync","sync":{"k":1,"onLoss":"block"}}',
      '{"command":"set-durability","durability":"sync","sync":{"k":2,"onLoss":"degrade"}}',
    ]);
    for (const words of [["async", "1"], ["sync", "0"], ["sync", "lazy"], ["both"], []]) {
      expect((await run(["set", "durability", ...words])).err).toContain("is not understood");
    }
    expect(api.requests).toHaveLength(3);
  });

  it("force lasts for the session and travels with the commands that take it", async () => {
    const done = (kind: OperationStatus["kind"]) => operation("succeeded", [], { kind });
    api.operation = [done("datasource-welcome"), done("datasource-recover"), done("datasource-shun")];
    const script = [
      "expert; set force true; datasource db3 welcome; datasource db3 recover",
      "set force false; datasource db3 shun",
    ];
    expect(await run(["-e", script.join(";")])).toEqual({ status: 0, out: "FORCE: true\nFORCE: false\n", err: "" });
    expect(api.requests.map((request) => request.split("commands ")[1])).toEqual([
      '{"command":"datasource-welcome","member":"db3","force":true}',
      '{"command":"datasource-recover","member":"db3","force":true}',
      '{"command":"datasource-shun","member":"db3"}',
    ]);
  });

  it("force makes every command expert-level", async () => {
    const { status, out, err } = await run(["-e", "set force true; switch"]);
    expect([status, out]).toEqual([1, "FORCE: true\n"]);
    expect(err).toContain("'switch' is an expert-level command");
    expect(api.requests).toEqual([]);
  });

  it("--force does the same for one command, and asks too", async () => {
    expect((await run(["datasource", "db1", "shun", "--force"])).err).toContain("add --yes");
    expect(api.requests).toEqual([]);
    api.operation = [operation("succeeded", [], { kind: "failover" })];
    expect((await run(["failover", "--force", "--yes"])).status).toBe(0);
    expect(api.requests).toEqual(['POST /v1/dataservices/alpha/commands {"command":"failover","force":true}']);
  });
});

describe("members and ping", () => {
  beforeEach(() => {
    const [first, second] = api.status.datasources;
    if (!first || !second) throw new Error("the picture has three members");
    first.endpoint = { host: "10.0.0.11", port: 5432 };
    second.manager = { state: "stopped" };
    second.endpoint = null;
  });

  it("show who is there", async () => {
    expect((await run(["members"])).out).toBe(
      "alpha/db1(ONLINE)/10.0.0.11:5432\nalpha/db2(STOPPED)\nalpha/db3(ONLINE)/127.0.0.1:5432\n",
    );
    expect((await run(["ping"])).out).toBe(
      "HOST db1/10.0.0.11: ALIVE\nHOST db2: NOT REACHABLE\nHOST db3/127.0.0.1: ALIVE\n",
    );
    expect(JSON.parse((await run(["ping", "--json"])).out)).toMatchObject({
      hosts: [{ host: "db1", address: "10.0.0.11", isAlive: true }, { host: "db2", isAlive: false }, {}],
    });
    expect(JSON.parse((await run(["members", "--json"])).out)).toMatchObject({ members: [{ member: "db1" }, {}, {}] });
  });
});

describe("events and operations", () => {
  beforeEach(() => {
    api.events = [
      { id: 1, wallMs: Date.UTC(2026, 0, 1, 13, 0, 0, 5), kind: "founded", data: { primary: "db1", how: "adopt" } },
      {
        id: 2,
        wallMs: Date.UTC(2026, 0, 1, 13, 0, 1),
        kind: "datasource-changed",
        data: { to: "shunned", reason: { kind: "failed-over-to", to: "db3" }, member: "db1" },
      },
      {
        id: 3,
        wallMs: Date.UTC(2026, 0, 1, 13, 0, 2),
        kind: "command-result",
        data: { detail: "no space\u001b[2J", members: ["db1", "db2"], op: 7 },
      },
    ];
  });

  it("prints a line each, over all pages", async () => {
    expect((await run(["events"])).out.split("\n")).toEqual([
      "1 2026-01-01 13:00:00.005 UTC founded how=adopt primary=db1",
      "2 2026-01-01 13:00:01.000 UTC datasource-changed member=db1 reason=failed-over-to(to=db3) to=shunned",
      '3 2026-01-01 13:00:02.000 UTC command-result detail="no space\\u001b[2J" members=[db1,db2] op=7',
      "",
    ]);
    expect((await run(["events", "--after", "2"])).out).toMatch(/^3 /);
  });

  it("writes one JSON line an event and follows until interrupted", async () => {
    let asked = 0;
    api.override = (request) => {
      if (request.includes("after=3") && ++asked === 1) api.events.push({ id: 4, wallMs: 0, kind: "late", data: {} });
      return undefined;
    };
    const { status, out } = await run(["events", "--follow", "--json"], { interruptAt: '"late"' });
    expect(status).toBe(0);
    expect(
      out
        .trim()
        .split("\n")
        .map((line) => (JSON.parse(line) as { id: number }).id),
    ).toEqual([1, 2, 3, 4]);
  });

  it("lists the operations and shows one with its transcript", async () => {
    api.operation = [operation("failed", ["A", "B"], { code: "no-candidate" })];
    const line = "7 failover operator failed(no-candidate) 2026-01-01 00:00:00.000 UTC (1.250 s)\n";
    expect((await run(["operations"])).out).toBe(line);
    expect((await run(["operations", "7"])).out).toBe(`${line}  A\n  B\n`);
    expect(JSON.parse((await run(["operations", "--json"])).out)).toEqual({ operations: api.operation });
    expect((await run(["operations", "8"])).status).toBe(1);
  });
});

describe("watch", () => {
  it("writes each changed screen once into a pipe, through an absence, until interrupted", async () => {
    let asked = 0;
    api.override = () => {
      asked += 1;
      if (asked === 3) return refuse("coordinator-unavailable", "restarting");
      if (asked === 5) api.status = { ...api.status, policy: "maintenance" };
      return undefined;
    };
    const { status, out, err } = await run(["watch", "--interval", "0.02"], { interruptAt: "MAINTENANCE" });
    expect(status).toBe(0);
    expect(out).toBe(SCREEN + SCREEN.replace("AUTOMATIC", "MAINTENANCE"));
    expect(err).toContain("coordinator-unavailable");
  });

  it("ends at a failure that waiting cannot cure", async () => {
    api.override = () => refuse("forbidden", "this token is another dataservice's");
    expect(await run(["watch"])).toMatchObject({ status: 1, out: "" });
  });
});

describe("create", () => {
  it("creates the dataservice and shows the tokens", async () => {
    const args = ["create", "beta", "--members", "db1,db2", "--primary", "db1", "--routers", "app1"];
    const { status, out } = await run(args);
    expect(status).toBe(0);
    expect(out).toContain("  db1  rex_agent_beta_db1_s3cret\n  db2  rex_agent_beta_db2_s3cret\n");
    expect(api.requests).toEqual([
      'POST /v1/dataservices {"name":"beta","members":[{"name":"db1"},{"name":"db2"}],"primary":"db1","routers":["app1"]}',
    ]);
    expect(JSON.parse((await run([...args, "--json"])).out)).toMatchObject({ name: "beta" });
  });
});

describe("token", () => {
  it("writes a new one's text alone to the output, once", async () => {
    expect(await run(["token", "create", "viewer", "--label", "grafana"])).toEqual({
      status: 0,
      out: "rex_viewer_alpha_k2_s3cret\n",
      err: "Token k2 created. It is shown this once:\n",
    });
    expect((await run(["token", "create", "agent", "--host", "db1"])).out).toBe("rex_agent_alpha_k2_s3cret\n");
    expect(api.requests).toEqual([
      'POST /v1/dataservices/alpha/tokens {"kind":"viewer","label":"grafana"}',
      'POST /v1/dataservices/alpha/tokens {"kind":"agent","host":"db1"}',
    ]);
  });

  it("lists and revokes", async () => {
    api.tokens = [
      { id: "k1", kind: "agent", host: "db1", label: null, createdWallMs: Date.UTC(2026, 0, 1) },
      { id: "k2", kind: "operator", host: null, label: null, createdWallMs: Date.UTC(2026, 0, 2) },
    ];
    expect((await run(["token", "ls"])).out).toBe(
      "k1 agent db1 2026-01-01 00:00:00.000 UTC\nk2 operator - 2026-01-02 00:00:00.000 UTC\n",
    );
    expect(JSON.parse((await run(["token", "ls", "--json"])).out)).toEqual({ tokens: api.tokens });
    expect(await run(["token", "revoke", "k2"])).toEqual({ status: 0, out: "Token k2 revoked\n", err: "" });
    expect(api.requests.at(-1)).toBe("DELETE /v1/dataservices/alpha/tokens/k2");
    expect((await run(["token", "revoke", "k3"])).status).toBe(1);
  });
});

describe("webhook", () => {
  it("writes a new one's secret alone to the output, once", async () => {
    const args = ["webhook", "create", "https://example.com/hook", "--events", "failover-completed, failover-aborted"];
    expect(await run(args)).toEqual({
      status: 0,
      out: "whsec_s3cret\n",
      err: "Webhook w1 created. Its secret is shown this once:\n",
    });
    expect(api.requests).toEqual([
      'POST /v1/dataservices/alpha/webhooks {"url":"https://example.com/hook","events":["failover-completed","failover-aborted"]}',
    ]);
  });

  it("lists and deletes", async () => {
    api.webhooks = [
      { id: "w1", url: "https://example.com/hook", events: null, createdWallMs: Date.UTC(2026, 0, 1) },
      { id: "w2", url: "https://example.com/b", events: ["founded", "late"], createdWallMs: Date.UTC(2026, 0, 1) },
    ];
    expect((await run(["webhook", "ls"])).out).toBe(
      [
        "w1 https://example.com/hook all 2026-01-01 00:00:00.000 UTC",
        "w2 https://example.com/b founded,late 2026-01-01 00:00:00.000 UTC",
        "",
      ].join("\n"),
    );
    expect(await run(["webhook", "delete", "w1"])).toEqual({ status: 0, out: "Webhook w1 deleted\n", err: "" });
    expect(api.requests.at(-1)).toBe("DELETE /v1/dataservices/alpha/webhooks/w1");
  });
});

describe("scripts", () => {
  const FAIL = operation("succeeded", ["DataSource 'db2@alpha' set to FAILED"], { kind: "datasource-fail" });

  it("run from a file and from -e, with comments, expert mode and exit", async () => {
    api.operation = [FAIL];
    const input = "# by hand\nexpert ; datasource db2 fail # the second\n\nls\nexit\nls\n";
    expect(await run([], { input })).toEqual({
      status: 0,
      out: `DataSource 'db2@alpha' set to FAILED\n${SCREEN}`,
      err: "",
    });
    api.operation = [FAIL];
    expect((await run(["-e", "expert; datasource db2 fail; ls"])).out).toBe(
      `DataSource 'db2@alpha' set to FAILED\n${SCREEN}`,
    );
  });

  it("stop at the first failure with status 1", async () => {
    const { status, out, err } = await run(["-e", "ls; datasource db2 fail; ls"]);
    expect([status, out]).toEqual([1, SCREEN]);
    expect(err).toContain("needs-confirmation");
    expect(api.requests).toEqual(["GET /v1/dataservices/alpha"]);
  });

  it("stop at a word that is no command there", async () => {
    expect(await run([], { input: "agent\nls\n" })).toMatchObject({ status: 1, out: "" });
  });
});

/** A Node that cannot run the console by itself, where the machine has one. */
const oldNode = (process.env["PATH"] ?? "")
  .split(delimiter)
  .map((folder) => join(folder, "node"))
  .find(
    (path) =>
      existsSync(path) &&
      Number(execFileSync(path, ["--version"], { encoding: "utf8", timeout: 5_000 }).slice(1).split(".")[0]) < 24,
  );

describe.skipIf(oldNode === undefined)("under an old Node", () => {
  it("runs on the newer one beside it, with its status, signals and streams", async () => {
    const node = oldNode as string;
    expect(await run(["ls"], { node })).toEqual({ status: 0, out: SCREEN, err: "" });
    expect((await run([], { node, input: "ls\nphysical\n" })).status).toBe(1);
    expect(await run(["watch"], { node, interruptAt: "CONNECTIONS" })).toMatchObject({ status: 0 });
  });

  it("says the remedy where there is none", () => {
    const entry = join(home, "rex.mjs");
    writeFileSync(entry, readFileSync(new URL("../../cli/rex.mjs", import.meta.url)));
    const attempt = () =>
      execFileSync(oldNode as string, [entry, "ls"], { encoding: "utf8", stdio: "pipe", timeout: 10_000 });
    expect(attempt).toThrow(/rex needs Node 24 or newer; this is Node [0-9.]+\.\n.*npm install/);
  });
});

/** Hands transactions to the kernel, by the `nft` program: each is carried out whole or not at all. */
import { spawn, type ChildProcess } from "node:child_process";
import type { EngineOutcome } from "../engine/engine.ts";

/** It lies where the path of an unprivileged account as a rule does not lead. */
const PATH = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;
/** Of what the program complains about, the first lines tell all. */
const COMPLAINT_CHARACTERS = 400;

/**
 * Carries `script` out, with what it lists as the value; with `isTrial` the kernel only says whether it would. Never rejects;
 * fails with `nft-refused`, `nft-missing`, `nft-not-started` (the host lacks something of its own: open files, memory), or
 * `nft-late`, after which nobody knows whether it was carried out.
 */
export function nft(script: string, how: { deadlineMs: number; isTrial?: boolean }): Promise<EngineOutcome> {
  return new Promise((resolve) => {
    let child: ChildProcess;
    try {
      child = start(how.isTrial === true ? ["-c", "-f", "-"] : ["-f", "-"]);
    } catch (error) {
      return resolve(notStarted(error));
    }
    let [answer, complaint] = ["", ""];
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      resolve({ ok: false, code: "nft-late", detail: `nft did not end within ${how.deadlineMs} ms` });
    }, how.deadlineMs);
    child.once("error", (error) => {
      clearTimeout(timer);
      resolve(notStarted(error));
    });
    child.once("close", (status) => {
      clearTimeout(timer);
      if (status === 0) resolve({ ok: true, value: answer });
      else resolve({ ok: false, code: "nft-refused", detail: complaint.trim().replaceAll(/\s+/g, " ") });
    });
    // Where the process has no files left it has no streams either, and says so right after this.
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      complaint = `${complaint}${text}`.slice(0, COMPLAINT_CHARACTERS);
    });
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      answer += text;
    });
    child.stdin?.on("error", () => {});
    child.stdin?.end(script);
  });
}

function start(args: string[]): ChildProcess {
  return spawn("nft", args, { cwd: "/", env: { PATH, LC_ALL: "C" }, stdio: ["pipe", "pipe", "pipe"] });
}

function notStarted(error: unknown): EngineOutcome {
  const { code, message } = error as NodeJS.ErrnoException;
  return { ok: false, code: code === "ENOENT" ? "nft-missing" : "nft-not-started", detail: message };
}

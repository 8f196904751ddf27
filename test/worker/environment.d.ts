import type { Env } from "../../worker/env.ts";

declare global {
  namespace Cloudflare {
    interface Env extends globalThis.WorkerEnv {}
    interface GlobalProps {
      mainModule: typeof import("../../worker/index.ts");
    }
  }
  interface WorkerEnv extends Env {}
}

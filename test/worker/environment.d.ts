import type { Env } from "../../worker/env.ts";
import type * as worker from "../../worker/index.ts";

declare global {
  namespace Cloudflare {
    interface Env extends globalThis.WorkerEnv {}
    interface GlobalProps {
      mainModule: typeof worker;
    }
  }
  interface WorkerEnv extends Env {}
}

/** One receiver for all tests that run inside workerd, where no server can be started. */
import type { TestProject } from "vitest/node";
import { Receiver } from "./receiver.ts";

declare module "vitest" {
  interface ProvidedContext {
    receiverUrl: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const receiver = await Receiver.start();
  project.provide("receiverUrl", receiver.url);
  return () => receiver.end();
}

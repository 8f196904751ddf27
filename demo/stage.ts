/** What a demo has put up so far, so that it can be taken down at any moment, whatever was going on. */
import { join } from "node:path";
import { DemoCluster, type StartOptions } from "./cluster.ts";
import { preparePristine, type Pristine } from "./pristine.ts";
import { clearAbandoned, clearDirectory, makeWorkshop } from "./workshop.ts";

const CLEARINGS = 3;

export class Stage {
  readonly workshop: string;
  #pristine: Pristine | null = null;
  #cluster: DemoCluster | null = null;
  #clusters = 0;
  #end: Promise<string[]> | null = null;

  private constructor(workshop: string) {
    this.workshop = workshop;
  }

  /** Clears away what killed demos left, and makes a directory of its own. `note` tells people about it. */
  static async open(note: (text: string) => void): Promise<Stage> {
    for (const directory of await clearAbandoned()) note(`cleared away ${directory}, left by a demo that was killed`);
    return new Stage(makeWorkshop());
  }

  /** A fresh cluster, in place of the one before, which must have ended. */
  async cluster(options: StartOptions = {}): Promise<DemoCluster> {
    this.#pristine ??= await preparePristine(this.workshop);
    this.#clusters += 1;
    this.#cluster = await DemoCluster.start(join(this.workshop, `run-${this.#clusters}`), this.#pristine, options);
    return this.#cluster;
  }

  /** Takes everything down, once. Returns what is left in spite of that. */
  end(): Promise<string[]> {
    this.#end ??= this.#takeDown();
    return this.#end;
  }

  async #takeDown(): Promise<string[]> {
    await this.#cluster?.end();
    // What was being started at this moment may have come up after the first look.
    let left: string[] = [];
    for (let turn = 0; turn < CLEARINGS; turn += 1) {
      left = await clearDirectory(this.workshop, { files: [], segments: [] });
      if (left.length === 0) break;
    }
    return left;
  }
}

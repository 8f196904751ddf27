/** Why a coordinator does not start; the message names the thing, its value and the remedy. */
export class CannotStart extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CannotStart";
  }
}

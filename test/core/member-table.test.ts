/**
 * The whole table of a member's machine: every phase, everything that may happen in it, and what comes of it; and every
 * way in which an agent may be started again. Complete by type: a cell that is missing does not compile.
 */
import { describe, expect, test } from "vitest";
import type { MemberReason } from "#shared/core/member/state.ts";
import { clocksAt, IN_RECOVERY, WRITABLE } from "./builders.ts";
import {
  commandOf,
  give,
  kindOfMember,
  leaseOf,
  memberEvents,
  memberOutcomeOf,
  memberPhases,
  ordered,
  finished,
  observed,
  replyWith,
  restarted,
  standingOf,
  TTL_MS,
  type MemberEventKind,
  type MemberOutcome,
  type MemberPhaseKind,
  type RestartedBeside,
  type RestartedUnder,
} from "./member-events.ts";

/** The phase after the event, the reasons, the tasks begun and polls asked for, and the commands answered. */
function to(
  phase: MemberPhaseKind,
  reasons: MemberReason["kind"][],
  effects: string[],
  ...answers: string[]
): MemberOutcome {
  return { phase, reasons, effects, answers };
}

const table: Record<MemberPhaseKind, Record<MemberEventKind, MemberOutcome>> = {
  observing: {
    "told-to-adopt": to("observing", ["command-refused"], ["poll"], "new.adopt refused server-down"),
    "told-to-promote": to("opening", ["opening", "command-taken"], ["promote"], "new.promote accepted"),
    "told-to-follow": to("closed-busy", ["founded", "command-taken"], ["follow"], "new.follow accepted"),
    "told-to-freeze": to("closed-busy", ["founded", "command-taken"], ["freeze"], "new.freeze accepted"),
    "told-to-fence": to("observing", ["command-refused"], ["poll"], "new.fence refused not-founded"),
    "told-to-start": to("closed-busy", ["founded", "command-taken"], ["start"], "new.start accepted"),
    "told-to-prepare": to("observing", ["command-refused"], ["poll"], "new.prepare refused wrong-phase"),
    "told-to-shut": to("observing", ["command-refused"], ["poll"], "new.shut refused wrong-phase"),
    "told-to-reopen": to("observing", ["command-refused"], ["poll"], "new.reopen refused wrong-phase"),
    "told-to-ask-upstream": to("observing", ["command-refused"], ["poll"], "new.ask-upstream refused not-founded"),
    "told-to-fetch-tail": to("observing", ["command-refused"], ["poll"], "new.fetch-tail refused not-founded"),
    "told-to-rebuild": to("closed-rebuilding", ["founded", "command-taken"], ["rebuild"], "new.rebuild accepted"),
    "told-to-promote-without-a-lease": to("observing", ["command-refused"], ["poll"], "new.promote refused no-lease"),
    "told-to-promote-in-an-attempted-epoch": to(
      "observing",
      ["command-refused"],
      ["poll"],
      "new.promote refused already-attempted",
    ),
    "told-to-adopt-a-writable-server": to(
      "opening",
      ["opening", "command-taken"],
      ["poll", "adopt"],
      "new.adopt accepted",
    ),
    "told-by-a-lower-op": to("observing", ["command-refused"], ["poll"], "new.freeze refused operation-superseded"),
    "told-in-a-lower-epoch": to("observing", ["command-refused"], ["poll"], "new.follow refused epoch-superseded"),
    "told-again": to("closed-busy", [], [], "new.start accepted"),
    "told-of-maintenance": to("observing", [], []),
    "lease-extended": to("observing", [], []),
    "lease-of-another-epoch": to("observing", [], []),
    "lease-ended": to("observing", [], []),
    "late-reply": to("observing", ["late-reply-dropped"], []),
    "time-is-up-by-the-monotonic-clock": to("observing", [], []),
    "time-is-up-by-the-boot-clock": to("observing", [], []),
    "time-is-up-by-the-wall-clock": to("observing", [], []),
    "time-is-up-in-maintenance": to("observing", [], []),
    "door-has-been-shut-for-its-time": to("observing", [], []),
    "extension-comes-after-the-end": to("observing", [], []),
    "server-stopped": to("observing", [], ["poll"]),
    "server-in-recovery": to("observing", [], []),
    "server-writable": to("observing", [], ["poll"]),
    "server-unresponsive": to("observing", [], ["poll"]),
    "server-unresponsive-for-long": to("observing", [], ["poll"]),
    "task-ended-well": to("observing", [], []),
    "task-failed": to("observing", [], []),
    "stale-task-ended": to("observing", [], []),
    "asked-to-promise": to("observing", ["promise-refused"], ["answer-promise"]),
    promised: to("observing", [], []),
    tick: to("observing", [], []),
  },
  "closed-idle": {
    "told-to-adopt": to("closed-idle", ["command-refused"], ["poll"], "new.adopt refused wrong-phase"),
    "told-to-promote": to("opening", ["opening", "command-taken"], ["promote"], "new.promote accepted"),
    "told-to-follow": to("closed-busy", ["command-taken"], ["follow"], "new.follow accepted"),
    "told-to-freeze": to("closed-busy", ["command-taken"], ["freeze"], "new.freeze accepted"),
    "told-to-fence": to("closed-idle", [], ["poll"], "new.fence done"),
    "told-to-start": to("closed-busy", ["command-taken"], ["start"], "new.start accepted"),
    "told-to-prepare": to("closed-idle", ["command-refused"], ["poll"], "new.prepare refused wrong-phase"),
    "told-to-shut": to("closed-idle", ["command-refused"], ["poll"], "new.shut refused wrong-phase"),
    "told-to-reopen": to("closed-idle", ["command-refused"], ["poll"], "new.reopen refused wrong-phase"),
    "told-to-ask-upstream": to("closed-busy", ["command-taken"], ["ask-upstream"], "new.ask-upstream accepted"),
    "told-to-fetch-tail": to("closed-busy", ["command-taken"], ["fetch-tail"], "new.fetch-tail accepted"),
    "told-to-rebuild": to("closed-rebuilding", ["command-taken"], ["rebuild"], "new.rebuild accepted"),
    "told-to-promote-without-a-lease": to("closed-idle", ["command-refused"], ["poll"], "new.promote refused no-lease"),
    "told-to-promote-in-an-attempted-epoch": to(
      "closed-idle",
      ["command-refused"],
      ["poll"],
      "new.promote refused already-attempted",
    ),
    "told-to-adopt-a-writable-server": to(
      "fencing",
      ["fencing", "command-refused"],
      ["poll", "fence"],
      "new.adopt refused wrong-phase",
    ),
    "told-by-a-lower-op": to("closed-idle", ["command-refused"], ["poll"], "new.freeze refused operation-superseded"),
    "told-in-a-lower-epoch": to("closed-idle", ["command-refused"], ["poll"], "new.follow refused epoch-superseded"),
    "told-again": to("closed-busy", [], [], "new.start accepted"),
    "told-of-maintenance": to("closed-idle", [], []),
    "lease-extended": to("closed-idle", [], []),
    "lease-of-another-epoch": to("closed-idle", [], []),
    "lease-ended": to("closed-idle", [], []),
    "late-reply": to("closed-idle", ["late-reply-dropped"], []),
    "time-is-up-by-the-monotonic-clock": to("closed-idle", [], []),
    "time-is-up-by-the-boot-clock": to("closed-idle", [], []),
    "time-is-up-by-the-wall-clock": to("closed-idle", [], []),
    "time-is-up-in-maintenance": to("closed-idle", [], []),
    "door-has-been-shut-for-its-time": to("closed-idle", [], []),
    "extension-comes-after-the-end": to("closed-idle", [], []),
    "server-stopped": to("closed-idle", [], ["poll"]),
    "server-in-recovery": to("closed-idle", [], []),
    "server-writable": to("fencing", ["fencing"], ["poll", "fence"]),
    "server-unresponsive": to("closed-idle", [], ["poll"]),
    "server-unresponsive-for-long": to("closed-idle", [], ["poll"]),
    "task-ended-well": to("closed-idle", [], []),
    "task-failed": to("closed-idle", [], []),
    "stale-task-ended": to("closed-idle", [], []),
    "asked-to-promise": to("closed-idle", ["promise-given"], ["answer-promise"]),
    promised: to("closed-idle", [], []),
    tick: to("closed-idle", [], []),
  },
  "closed-busy": {
    "told-to-adopt": to("closed-busy", [], []),
    "told-to-promote": to("closed-busy", [], []),
    "told-to-follow": to("closed-busy", [], []),
    "told-to-freeze": to("closed-busy", [], []),
    "told-to-fence": to("closed-busy", [], []),
    "told-to-start": to("closed-busy", [], []),
    "told-to-prepare": to("closed-busy", [], []),
    "told-to-shut": to("closed-busy", [], []),
    "told-to-reopen": to("closed-busy", [], []),
    "told-to-ask-upstream": to("closed-busy", [], []),
    "told-to-fetch-tail": to("closed-busy", [], []),
    "told-to-rebuild": to("closed-busy", [], []),
    "told-to-promote-without-a-lease": to("closed-busy", [], []),
    "told-to-promote-in-an-attempted-epoch": to("closed-busy", [], []),
    "told-to-adopt-a-writable-server": to(
      "fencing",
      ["fencing", "command-refused"],
      ["poll", "fence"],
      "old.follow failed fenced",
      "new.adopt refused wrong-phase",
    ),
    "told-by-a-lower-op": to("closed-busy", ["command-refused"], ["poll"], "new.freeze refused operation-superseded"),
    "told-in-a-lower-epoch": to("closed-busy", ["command-refused"], ["poll"], "new.follow refused epoch-superseded"),
    "told-again": to("closed-busy", [], []),
    "told-of-maintenance": to("closed-busy", [], []),
    "lease-extended": to("closed-busy", [], []),
    "lease-of-another-epoch": to("closed-busy", [], []),
    "lease-ended": to("closed-busy", [], []),
    "late-reply": to("closed-busy", ["late-reply-dropped"], []),
    "time-is-up-by-the-monotonic-clock": to("closed-busy", [], []),
    "time-is-up-by-the-boot-clock": to("closed-busy", [], []),
    "time-is-up-by-the-wall-clock": to("closed-busy", [], []),
    "time-is-up-in-maintenance": to("closed-busy", [], []),
    "door-has-been-shut-for-its-time": to("closed-busy", [], []),
    "extension-comes-after-the-end": to("closed-busy", [], []),
    "server-stopped": to("closed-busy", [], ["poll"]),
    "server-in-recovery": to("closed-busy", [], []),
    "server-writable": to("fencing", ["fencing"], ["poll", "fence"], "old.follow failed fenced"),
    "server-unresponsive": to("closed-busy", [], ["poll"]),
    "server-unresponsive-for-long": to("closed-busy", [], ["poll"]),
    "task-ended-well": to("closed-idle", ["task-ended"], ["poll"], "old.follow done"),
    "task-failed": to("closed-idle", ["task-ended"], ["poll"], "old.follow failed engine-failed"),
    "stale-task-ended": to("closed-busy", [], []),
    "asked-to-promise": to("closed-busy", ["promise-given"], ["answer-promise"]),
    promised: to("closed-busy", [], []),
    tick: to("closed-busy", [], []),
  },
  opening: {
    "told-to-adopt": to(
      "fencing",
      ["command-refused", "fencing"],
      ["poll", "fence"],
      "new.adopt refused wrong-phase",
      "old.promote failed fenced",
    ),
    "told-to-promote": to(
      "fencing",
      ["command-refused", "fencing"],
      ["poll", "fence"],
      "new.promote refused wrong-phase",
      "old.promote failed fenced",
    ),
    "told-to-follow": to("opening", ["command-refused"], ["poll"], "new.follow refused wrong-phase"),
    "told-to-freeze": to("opening", ["command-refused"], ["poll"], "new.freeze refused wrong-phase"),
    "told-to-fence": to(
      "fencing",
      ["command-taken", "fencing"],
      ["poll", "fence"],
      "new.fence accepted",
      "old.promote failed fenced",
    ),
    "told-to-start": to("opening", ["command-refused"], ["poll"], "new.start refused wrong-phase"),
    "told-to-prepare": to("opening", ["command-refused"], ["poll"], "new.prepare refused wrong-phase"),
    "told-to-shut": to("opening", ["command-refused"], ["poll"], "new.shut refused wrong-phase"),
    "told-to-reopen": to("opening", ["command-refused"], ["poll"], "new.reopen refused wrong-phase"),
    "told-to-ask-upstream": to("opening", ["command-refused"], ["poll"], "new.ask-upstream refused wrong-phase"),
    "told-to-fetch-tail": to("opening", ["command-refused"], ["poll"], "new.fetch-tail refused wrong-phase"),
    "told-to-rebuild": to("opening", ["command-refused"], ["poll"], "new.rebuild refused wrong-phase"),
    "told-to-promote-without-a-lease": to(
      "fencing",
      ["command-refused", "fencing"],
      ["poll", "fence"],
      "new.promote refused wrong-phase",
      "old.promote failed fenced",
    ),
    "told-to-promote-in-an-attempted-epoch": to(
      "opening",
      ["lease-extended", "command-refused"],
      ["poll"],
      "new.promote refused wrong-phase",
    ),
    "told-to-adopt-a-writable-server": to(
      "fencing",
      ["command-refused", "fencing"],
      ["poll", "fence"],
      "new.adopt refused wrong-phase",
      "old.promote failed fenced",
    ),
    "told-by-a-lower-op": to("opening", ["command-refused"], ["poll"], "new.freeze refused operation-superseded"),
    "told-in-a-lower-epoch": to("opening", ["command-refused"], ["poll"], "new.follow refused epoch-superseded"),
    "told-again": to("opening", [], []),
    "told-of-maintenance": to("opening", [], []),
    "lease-extended": to("opening", ["lease-extended"], []),
    "lease-of-another-epoch": to("opening", [], []),
    "lease-ended": to("fencing", ["fencing"], ["poll", "fence"], "old.promote failed fenced"),
    "late-reply": to("opening", ["late-reply-dropped"], []),
    "time-is-up-by-the-monotonic-clock": to("fencing", ["fencing"], ["poll", "fence"], "old.promote failed fenced"),
    "time-is-up-by-the-boot-clock": to("fencing", ["fencing"], ["poll", "fence"], "old.promote failed fenced"),
    "time-is-up-by-the-wall-clock": to("fencing", ["fencing"], ["poll", "fence"], "old.promote failed fenced"),
    "time-is-up-in-maintenance": to("opening", [], []),
    "door-has-been-shut-for-its-time": to("opening", [], []),
    "extension-comes-after-the-end": to("fencing", ["fencing"], ["poll", "fence"], "old.promote failed fenced"),
    "server-stopped": to("fencing", ["fencing"], ["poll", "fence"], "old.promote failed fenced"),
    "server-in-recovery": to("opening", [], []),
    "server-writable": to("opening", [], ["poll"]),
    "server-unresponsive": to("opening", [], ["poll"]),
    "server-unresponsive-for-long": to("opening", ["lease-extended"], ["poll"]),
    "task-ended-well": to("open", ["task-ended", "opened"], ["poll"], "old.promote done"),
    "task-failed": to("fencing", ["task-ended", "fencing"], ["poll", "fence"], "old.promote failed engine-failed"),
    "stale-task-ended": to("opening", [], []),
    "asked-to-promise": to("opening", ["promise-refused"], ["answer-promise"]),
    promised: to("opening", [], []),
    tick: to("opening", [], []),
  },
  open: {
    "told-to-adopt": to("fencing", ["command-refused", "fencing"], ["poll", "fence"], "new.adopt refused wrong-phase"),
    "told-to-promote": to(
      "fencing",
      ["command-refused", "fencing"],
      ["poll", "fence"],
      "new.promote refused wrong-phase",
    ),
    "told-to-follow": to("open", ["command-refused"], ["poll"], "new.follow refused wrong-phase"),
    "told-to-freeze": to("open", ["command-refused"], ["poll"], "new.freeze refused wrong-phase"),
    "told-to-fence": to("fencing", ["command-taken", "fencing"], ["fence"], "new.fence accepted"),
    "told-to-start": to("open", ["command-refused"], ["poll"], "new.start refused wrong-phase"),
    "told-to-prepare": to("open-busy", ["command-taken"], ["prepare"], "new.prepare accepted"),
    "told-to-shut": to("open-busy", ["command-taken"], ["shut"], "new.shut accepted"),
    "told-to-reopen": to("open-busy", ["command-taken"], ["reopen"], "new.reopen accepted"),
    "told-to-ask-upstream": to("open", ["command-refused"], ["poll"], "new.ask-upstream refused wrong-phase"),
    "told-to-fetch-tail": to("open", ["command-refused"], ["poll"], "new.fetch-tail refused wrong-phase"),
    "told-to-rebuild": to("open", ["command-refused"], ["poll"], "new.rebuild refused wrong-phase"),
    "told-to-promote-without-a-lease": to(
      "fencing",
      ["command-refused", "fencing"],
      ["poll", "fence"],
      "new.promote refused wrong-phase",
    ),
    "told-to-promote-in-an-attempted-epoch": to(
      "open",
      ["lease-extended", "command-refused"],
      ["poll"],
      "new.promote refused wrong-phase",
    ),
    "told-to-adopt-a-writable-server": to(
      "fencing",
      ["command-refused", "fencing"],
      ["poll", "fence"],
      "new.adopt refused wrong-phase",
    ),
    "told-by-a-lower-op": to("open", ["command-refused"], ["poll"], "new.freeze refused operation-superseded"),
    "told-in-a-lower-epoch": to("open", ["command-refused"], ["poll"], "new.follow refused epoch-superseded"),
    "told-again": to("open", [], []),
    "told-of-maintenance": to("open", [], []),
    "lease-extended": to("open", ["lease-extended"], []),
    "lease-of-another-epoch": to("open", [], []),
    "lease-ended": to("fencing", ["fencing"], ["fence"]),
    "late-reply": to("open", ["late-reply-dropped"], []),
    "time-is-up-by-the-monotonic-clock": to("fencing", ["fencing"], ["fence"]),
    "time-is-up-by-the-boot-clock": to("fencing", ["fencing"], ["fence"]),
    "time-is-up-by-the-wall-clock": to("fencing", ["fencing"], ["fence"]),
    "time-is-up-in-maintenance": to("open", [], []),
    "door-has-been-shut-for-its-time": to("open", [], ["ask-promises"]),
    "extension-comes-after-the-end": to("fencing", ["fencing"], ["fence"]),
    "server-stopped": to("fencing", ["fencing"], ["poll", "fence"]),
    "server-in-recovery": to("fencing", ["fencing"], ["poll", "fence"]),
    "server-writable": to("open", [], []),
    "server-unresponsive": to("open", [], ["poll"]),
    "server-unresponsive-for-long": to("fencing", ["lease-extended", "fencing"], ["poll", "fence"]),
    "task-ended-well": to("open", [], []),
    "task-failed": to("open", [], []),
    "stale-task-ended": to("open", [], []),
    "asked-to-promise": to("open", ["promise-refused"], ["answer-promise"]),
    promised: to("open", ["promises-held"], []),
    tick: to("open", [], []),
  },
  "closed-rebuilding": {
    "told-to-adopt": to("closed-rebuilding", [], []),
    "told-to-promote": to("closed-rebuilding", [], []),
    "told-to-follow": to("closed-rebuilding", [], []),
    "told-to-freeze": to("closed-rebuilding", [], []),
    "told-to-fence": to("closed-rebuilding", [], []),
    "told-to-start": to("closed-rebuilding", [], []),
    "told-to-prepare": to("closed-rebuilding", [], []),
    "told-to-shut": to("closed-rebuilding", [], []),
    "told-to-reopen": to("closed-rebuilding", [], []),
    "told-to-ask-upstream": to("closed-rebuilding", [], []),
    "told-to-fetch-tail": to("closed-rebuilding", [], []),
    "told-to-rebuild": to("closed-rebuilding", [], []),
    "told-to-promote-without-a-lease": to("closed-rebuilding", [], []),
    "told-to-promote-in-an-attempted-epoch": to("closed-rebuilding", [], []),
    "told-to-adopt-a-writable-server": to(
      "fencing",
      ["fencing", "command-refused"],
      ["poll", "fence"],
      "old.rebuild failed fenced",
      "new.adopt refused wrong-phase",
    ),
    "told-by-a-lower-op": to(
      "closed-rebuilding",
      ["command-refused"],
      ["poll"],
      "new.freeze refused operation-superseded",
    ),
    "told-in-a-lower-epoch": to(
      "closed-rebuilding",
      ["command-refused"],
      ["poll"],
      "new.follow refused epoch-superseded",
    ),
    "told-again": to("closed-rebuilding", [], []),
    "told-of-maintenance": to("closed-rebuilding", [], []),
    "lease-extended": to("closed-rebuilding", [], []),
    "lease-of-another-epoch": to("closed-rebuilding", [], []),
    "lease-ended": to("closed-rebuilding", [], []),
    "late-reply": to("closed-rebuilding", ["late-reply-dropped"], []),
    "time-is-up-by-the-monotonic-clock": to("closed-rebuilding", [], []),
    "time-is-up-by-the-boot-clock": to("closed-rebuilding", [], []),
    "time-is-up-by-the-wall-clock": to("closed-rebuilding", [], []),
    "time-is-up-in-maintenance": to("closed-rebuilding", [], []),
    "door-has-been-shut-for-its-time": to("closed-rebuilding", [], []),
    "extension-comes-after-the-end": to("closed-rebuilding", [], []),
    "server-stopped": to("closed-rebuilding", [], []),
    "server-in-recovery": to("closed-rebuilding", [], ["poll"]),
    "server-writable": to("fencing", ["fencing"], ["poll", "fence"], "old.rebuild failed fenced"),
    "server-unresponsive": to("closed-rebuilding", [], ["poll"]),
    "server-unresponsive-for-long": to("closed-rebuilding", [], ["poll"]),
    "task-ended-well": to("closed-idle", ["task-ended"], ["poll"], "old.rebuild done"),
    "task-failed": to("damaged", ["task-ended"], ["poll"], "old.rebuild failed engine-failed"),
    "stale-task-ended": to("closed-rebuilding", [], []),
    "asked-to-promise": to("closed-rebuilding", ["promise-given"], ["answer-promise"]),
    promised: to("closed-rebuilding", [], []),
    tick: to("closed-rebuilding", [], []),
  },
  damaged: {
    "told-to-adopt": to("damaged", ["command-refused"], ["poll"], "new.adopt refused wrong-phase"),
    "told-to-promote": to("damaged", ["command-refused"], ["poll"], "new.promote refused damaged"),
    "told-to-follow": to("damaged", ["command-refused"], ["poll"], "new.follow failed damaged"),
    "told-to-freeze": to("damaged", ["command-refused"], ["poll"], "new.freeze failed server-down"),
    "told-to-fence": to("damaged", [], ["poll"], "new.fence done"),
    "told-to-start": to("damaged", ["command-refused"], ["poll"], "new.start refused damaged"),
    "told-to-prepare": to("damaged", ["command-refused"], ["poll"], "new.prepare refused wrong-phase"),
    "told-to-shut": to("damaged", ["command-refused"], ["poll"], "new.shut refused wrong-phase"),
    "told-to-reopen": to("damaged", ["command-refused"], ["poll"], "new.reopen refused wrong-phase"),
    "told-to-ask-upstream": to("closed-busy", ["command-taken"], ["ask-upstream"], "new.ask-upstream accepted"),
    "told-to-fetch-tail": to("damaged", ["command-refused"], ["poll"], "new.fetch-tail failed damaged"),
    "told-to-rebuild": to("closed-rebuilding", ["command-taken"], ["rebuild"], "new.rebuild accepted"),
    "told-to-promote-without-a-lease": to("damaged", ["command-refused"], ["poll"], "new.promote refused damaged"),
    "told-to-promote-in-an-attempted-epoch": to(
      "damaged",
      ["command-refused"],
      ["poll"],
      "new.promote refused damaged",
    ),
    "told-to-adopt-a-writable-server": to(
      "fencing",
      ["fencing", "command-refused"],
      ["poll", "fence"],
      "new.adopt refused wrong-phase",
    ),
    "told-by-a-lower-op": to("damaged", ["command-refused"], ["poll"], "new.freeze refused operation-superseded"),
    "told-in-a-lower-epoch": to("damaged", ["command-refused"], ["poll"], "new.follow refused epoch-superseded"),
    "told-again": to("damaged", [], []),
    "told-of-maintenance": to("damaged", [], []),
    "lease-extended": to("damaged", [], []),
    "lease-of-another-epoch": to("damaged", [], []),
    "lease-ended": to("damaged", [], []),
    "late-reply": to("damaged", ["late-reply-dropped"], []),
    "time-is-up-by-the-monotonic-clock": to("damaged", [], []),
    "time-is-up-by-the-boot-clock": to("damaged", [], []),
    "time-is-up-by-the-wall-clock": to("damaged", [], []),
    "time-is-up-in-maintenance": to("damaged", [], []),
    "door-has-been-shut-for-its-time": to("damaged", [], []),
    "extension-comes-after-the-end": to("damaged", [], []),
    "server-stopped": to("damaged", [], []),
    "server-in-recovery": to("damaged", [], ["poll"]),
    "server-writable": to("fencing", ["fencing"], ["poll", "fence"]),
    "server-unresponsive": to("damaged", [], ["poll"]),
    "server-unresponsive-for-long": to("damaged", [], ["poll"]),
    "task-ended-well": to("damaged", [], []),
    "task-failed": to("damaged", [], []),
    "stale-task-ended": to("damaged", [], []),
    "asked-to-promise": to("damaged", ["promise-given"], ["answer-promise"]),
    promised: to("damaged", [], []),
    tick: to("damaged", [], []),
  },
  "open-busy": {
    "told-to-adopt": to(
      "fencing",
      ["command-refused", "fencing"],
      ["poll", "fence"],
      "new.adopt refused wrong-phase",
      "old.prepare failed fenced",
    ),
    "told-to-promote": to(
      "fencing",
      ["command-refused", "fencing"],
      ["poll", "fence"],
      "new.promote refused wrong-phase",
      "old.prepare failed fenced",
    ),
    "told-to-follow": to("open-busy", ["command-refused"], ["poll"], "new.follow refused wrong-phase"),
    "told-to-freeze": to("open-busy", ["command-refused"], ["poll"], "new.freeze refused wrong-phase"),
    "told-to-fence": to(
      "fencing",
      ["command-taken", "fencing"],
      ["poll", "fence"],
      "new.fence accepted",
      "old.prepare failed fenced",
    ),
    "told-to-start": to("open-busy", ["command-refused"], ["poll"], "new.start refused wrong-phase"),
    "told-to-prepare": to(
      "open-busy",
      ["command-taken"],
      ["poll", "prepare"],
      "old.prepare failed operation-superseded",
      "new.prepare accepted",
    ),
    "told-to-shut": to(
      "open-busy",
      ["command-taken"],
      ["poll", "shut"],
      "old.prepare failed operation-superseded",
      "new.shut accepted",
    ),
    "told-to-reopen": to(
      "open-busy",
      ["command-taken"],
      ["poll", "reopen"],
      "old.prepare failed operation-superseded",
      "new.reopen accepted",
    ),
    "told-to-ask-upstream": to("open-busy", ["command-refused"], ["poll"], "new.ask-upstream refused wrong-phase"),
    "told-to-fetch-tail": to("open-busy", ["command-refused"], ["poll"], "new.fetch-tail refused wrong-phase"),
    "told-to-rebuild": to("open-busy", ["command-refused"], ["poll"], "new.rebuild refused wrong-phase"),
    "told-to-promote-without-a-lease": to(
      "fencing",
      ["command-refused", "fencing"],
      ["poll", "fence"],
      "new.promote refused wrong-phase",
      "old.prepare failed fenced",
    ),
    "told-to-promote-in-an-attempted-epoch": to(
      "open-busy",
      ["lease-extended", "command-refused"],
      ["poll"],
      "new.promote refused wrong-phase",
    ),
    "told-to-adopt-a-writable-server": to(
      "fencing",
      ["command-refused", "fencing"],
      ["poll", "fence"],
      "new.adopt refused wrong-phase",
      "old.prepare failed fenced",
    ),
    "told-by-a-lower-op": to("open-busy", ["command-refused"], ["poll"], "new.freeze refused operation-superseded"),
    "told-in-a-lower-epoch": to("open-busy", ["command-refused"], ["poll"], "new.follow refused epoch-superseded"),
    "told-again": to("open-busy", [], []),
    "told-of-maintenance": to("open-busy", [], []),
    "lease-extended": to("open-busy", ["lease-extended"], []),
    "lease-of-another-epoch": to("open-busy", [], []),
    "lease-ended": to("fencing", ["fencing"], ["poll", "fence"], "old.prepare failed fenced"),
    "late-reply": to("open-busy", ["late-reply-dropped"], []),
    "time-is-up-by-the-monotonic-clock": to("fencing", ["fencing"], ["poll", "fence"], "old.prepare failed fenced"),
    "time-is-up-by-the-boot-clock": to("fencing", ["fencing"], ["poll", "fence"], "old.prepare failed fenced"),
    "time-is-up-by-the-wall-clock": to("fencing", ["fencing"], ["poll", "fence"], "old.prepare failed fenced"),
    "time-is-up-in-maintenance": to("open-busy", [], []),
    "door-has-been-shut-for-its-time": to("open-busy", [], ["ask-promises"]),
    "extension-comes-after-the-end": to("fencing", ["fencing"], ["poll", "fence"], "old.prepare failed fenced"),
    "server-stopped": to("fencing", ["fencing"], ["poll", "fence"], "old.prepare failed fenced"),
    "server-in-recovery": to("fencing", ["fencing"], ["poll", "fence"], "old.prepare failed fenced"),
    "server-writable": to("open-busy", [], []),
    "server-unresponsive": to("open-busy", [], ["poll"]),
    "server-unresponsive-for-long": to(
      "fencing",
      ["lease-extended", "fencing"],
      ["poll", "fence"],
      "old.prepare failed fenced",
    ),
    "task-ended-well": to("open", ["task-ended"], ["poll"], "old.prepare done"),
    "task-failed": to("open", ["task-ended"], ["poll"], "old.prepare failed engine-failed"),
    "stale-task-ended": to("open-busy", [], []),
    "asked-to-promise": to("open-busy", ["promise-refused"], ["answer-promise"]),
    promised: to("open-busy", ["promises-held"], []),
    tick: to("open-busy", [], []),
  },
  "open-shut": {
    "told-to-adopt": to("fencing", ["command-refused", "fencing"], ["poll", "fence"], "new.adopt refused wrong-phase"),
    "told-to-promote": to(
      "fencing",
      ["command-refused", "fencing"],
      ["poll", "fence"],
      "new.promote refused wrong-phase",
    ),
    "told-to-follow": to("open-shut", ["command-refused"], ["poll"], "new.follow refused wrong-phase"),
    "told-to-freeze": to("open-shut", ["command-refused"], ["poll"], "new.freeze refused wrong-phase"),
    "told-to-fence": to("fencing", ["command-taken", "fencing"], ["fence"], "new.fence accepted"),
    "told-to-start": to("open-shut", ["command-refused"], ["poll"], "new.start refused wrong-phase"),
    "told-to-prepare": to("open-busy", ["command-taken"], ["prepare"], "new.prepare accepted"),
    "told-to-shut": to("open-busy", ["command-taken"], ["shut"], "new.shut accepted"),
    "told-to-reopen": to("open-busy", ["command-taken"], ["reopen"], "new.reopen accepted"),
    "told-to-ask-upstream": to("open-shut", ["command-refused"], ["poll"], "new.ask-upstream refused wrong-phase"),
    "told-to-fetch-tail": to("open-shut", ["command-refused"], ["poll"], "new.fetch-tail refused wrong-phase"),
    "told-to-rebuild": to("open-shut", ["command-refused"], ["poll"], "new.rebuild refused wrong-phase"),
    "told-to-promote-without-a-lease": to(
      "fencing",
      ["command-refused", "fencing"],
      ["poll", "fence"],
      "new.promote refused wrong-phase",
    ),
    "told-to-promote-in-an-attempted-epoch": to(
      "open-shut",
      ["lease-extended", "command-refused"],
      ["poll"],
      "new.promote refused wrong-phase",
    ),
    "told-to-adopt-a-writable-server": to(
      "fencing",
      ["command-refused", "fencing"],
      ["poll", "fence"],
      "new.adopt refused wrong-phase",
    ),
    "told-by-a-lower-op": to("open-shut", ["command-refused"], ["poll"], "new.freeze refused operation-superseded"),
    "told-in-a-lower-epoch": to("open-shut", ["command-refused"], ["poll"], "new.follow refused epoch-superseded"),
    "told-again": to("open-shut", [], []),
    "told-of-maintenance": to("open-shut", [], []),
    "lease-extended": to("open-shut", ["lease-extended"], []),
    "lease-of-another-epoch": to("open-shut", [], []),
    "lease-ended": to("fencing", ["fencing"], ["fence"]),
    "late-reply": to("open-shut", ["late-reply-dropped"], []),
    "time-is-up-by-the-monotonic-clock": to("fencing", ["fencing"], ["fence"]),
    "time-is-up-by-the-boot-clock": to("fencing", ["fencing"], ["fence"]),
    "time-is-up-by-the-wall-clock": to("fencing", ["fencing"], ["fence"]),
    "time-is-up-in-maintenance": to("open", ["door-opened"], ["poll"]),
    "door-has-been-shut-for-its-time": to("open", ["door-opened"], ["poll", "ask-promises"]),
    "extension-comes-after-the-end": to("fencing", ["fencing"], ["fence"]),
    "server-stopped": to("fencing", ["fencing"], ["poll", "fence"]),
    "server-in-recovery": to("fencing", ["fencing"], ["poll", "fence"]),
    "server-writable": to("open-shut", [], []),
    "server-unresponsive": to("open-shut", [], ["poll"]),
    "server-unresponsive-for-long": to("fencing", ["lease-extended", "door-opened", "fencing"], ["poll", "fence"]),
    "task-ended-well": to("open-shut", [], []),
    "task-failed": to("open-shut", [], []),
    "stale-task-ended": to("open-shut", [], []),
    "asked-to-promise": to("open-shut", ["promise-refused"], ["answer-promise"]),
    promised: to("open-shut", ["promises-held"], []),
    tick: to("open-shut", [], []),
  },
  fencing: {
    "told-to-adopt": to("fencing", ["command-refused"], ["poll"], "new.adopt refused wrong-phase"),
    "told-to-promote": to("fencing", ["command-refused"], ["poll"], "new.promote refused wrong-phase"),
    "told-to-follow": to("fencing", ["command-refused"], ["poll"], "new.follow refused wrong-phase"),
    "told-to-freeze": to("fencing", ["command-refused"], ["poll"], "new.freeze refused wrong-phase"),
    "told-to-fence": to(
      "fencing",
      ["command-taken"],
      ["poll"],
      "old.fence refused operation-superseded",
      "new.fence accepted",
    ),
    "told-to-start": to("fencing", ["command-refused"], ["poll"], "new.start refused wrong-phase"),
    "told-to-prepare": to("fencing", ["command-refused"], ["poll"], "new.prepare refused wrong-phase"),
    "told-to-shut": to("fencing", ["command-refused"], ["poll"], "new.shut refused wrong-phase"),
    "told-to-reopen": to("fencing", ["command-refused"], ["poll"], "new.reopen refused wrong-phase"),
    "told-to-ask-upstream": to("fencing", ["command-refused"], ["poll"], "new.ask-upstream refused wrong-phase"),
    "told-to-fetch-tail": to("fencing", ["command-refused"], ["poll"], "new.fetch-tail refused wrong-phase"),
    "told-to-rebuild": to("fencing", ["command-refused"], ["poll"], "new.rebuild refused wrong-phase"),
    "told-to-promote-without-a-lease": to("fencing", ["command-refused"], ["poll"], "new.promote refused wrong-phase"),
    "told-to-promote-in-an-attempted-epoch": to(
      "fencing",
      ["command-refused"],
      ["poll"],
      "new.promote refused wrong-phase",
    ),
    "told-to-adopt-a-writable-server": to("fencing", ["command-refused"], ["poll"], "new.adopt refused wrong-phase"),
    "told-by-a-lower-op": to("fencing", ["command-refused"], ["poll"], "new.freeze refused operation-superseded"),
    "told-in-a-lower-epoch": to("fencing", ["command-refused"], ["poll"], "new.follow refused epoch-superseded"),
    "told-again": to("fencing", [], []),
    "told-of-maintenance": to("fencing", [], []),
    "lease-extended": to("fencing", [], []),
    "lease-of-another-epoch": to("fencing", [], []),
    "lease-ended": to("fencing", [], []),
    "late-reply": to("fencing", ["late-reply-dropped"], []),
    "time-is-up-by-the-monotonic-clock": to("fencing", [], []),
    "time-is-up-by-the-boot-clock": to("fencing", [], []),
    "time-is-up-by-the-wall-clock": to("fencing", [], []),
    "time-is-up-in-maintenance": to("fencing", [], []),
    "door-has-been-shut-for-its-time": to("fencing", [], []),
    "extension-comes-after-the-end": to("fencing", [], []),
    "server-stopped": to("fencing", [], ["poll"]),
    "server-in-recovery": to("fencing", [], ["poll"]),
    "server-writable": to("fencing", [], []),
    "server-unresponsive": to("fencing", [], ["poll"]),
    "server-unresponsive-for-long": to("fencing", [], ["poll"]),
    "task-ended-well": to("closed-idle", ["task-ended", "released"], ["poll"], "old.fence done"),
    "task-failed": to("fencing", ["task-ended", "fence-failed"], ["fence"]),
    "stale-task-ended": to("fencing", [], []),
    "asked-to-promise": to("fencing", ["promise-given"], ["answer-promise"]),
    promised: to("fencing", [], []),
    tick: to("fencing", [], []),
  },
  "fencing-gently": {
    "told-to-adopt": to("fencing-gently", ["command-refused"], ["poll"], "new.adopt refused wrong-phase"),
    "told-to-promote": to("fencing-gently", ["command-refused"], ["poll"], "new.promote refused wrong-phase"),
    "told-to-follow": to("fencing-gently", ["command-refused"], ["poll"], "new.follow refused wrong-phase"),
    "told-to-freeze": to("fencing-gently", ["command-refused"], ["poll"], "new.freeze refused wrong-phase"),
    "told-to-fence": to("fencing-gently", ["command-taken"], [], "new.fence accepted"),
    "told-to-start": to("fencing-gently", ["command-refused"], ["poll"], "new.start refused wrong-phase"),
    "told-to-prepare": to("fencing-gently", ["command-refused"], ["poll"], "new.prepare refused wrong-phase"),
    "told-to-shut": to("fencing-gently", ["command-refused"], ["poll"], "new.shut refused wrong-phase"),
    "told-to-reopen": to("fencing-gently", ["command-refused"], ["poll"], "new.reopen refused wrong-phase"),
    "told-to-ask-upstream": to("fencing-gently", ["command-refused"], ["poll"], "new.ask-upstream refused wrong-phase"),
    "told-to-fetch-tail": to("fencing-gently", ["command-refused"], ["poll"], "new.fetch-tail refused wrong-phase"),
    "told-to-rebuild": to("fencing-gently", ["command-refused"], ["poll"], "new.rebuild refused wrong-phase"),
    "told-to-promote-without-a-lease": to(
      "fencing-gently",
      ["command-refused"],
      ["poll"],
      "new.promote refused wrong-phase",
    ),
    "told-to-promote-in-an-attempted-epoch": to(
      "fencing-gently",
      ["command-refused"],
      ["poll"],
      "new.promote refused wrong-phase",
    ),
    "told-to-adopt-a-writable-server": to(
      "fencing-gently",
      ["command-refused"],
      ["poll"],
      "new.adopt refused wrong-phase",
    ),
    "told-by-a-lower-op": to(
      "fencing-gently",
      ["command-refused"],
      ["poll"],
      "new.freeze refused operation-superseded",
    ),
    "told-in-a-lower-epoch": to("fencing-gently", ["command-refused"], ["poll"], "new.follow refused epoch-superseded"),
    "told-again": to("fencing-gently", [], []),
    "told-of-maintenance": to("fencing-gently", [], []),
    "lease-extended": to("fencing-gently", [], []),
    "lease-of-another-epoch": to("fencing-gently", [], []),
    "lease-ended": to("fencing-gently", [], []),
    "late-reply": to("fencing-gently", ["late-reply-dropped"], []),
    "time-is-up-by-the-monotonic-clock": to("fencing-gently", [], []),
    "time-is-up-by-the-boot-clock": to("fencing-gently", [], []),
    "time-is-up-by-the-wall-clock": to("fencing-gently", [], []),
    "time-is-up-in-maintenance": to("fencing-gently", [], []),
    "door-has-been-shut-for-its-time": to("fencing-gently", [], []),
    "extension-comes-after-the-end": to("fencing-gently", [], []),
    "server-stopped": to("fencing-gently", [], []),
    "server-in-recovery": to("fencing-gently", [], ["poll"]),
    "server-writable": to("fencing-gently", [], ["poll"]),
    "server-unresponsive": to("fencing-gently", [], ["poll"]),
    "server-unresponsive-for-long": to("fencing-gently", [], ["poll"]),
    "task-ended-well": to("closed-idle", ["task-ended", "released"], ["poll"]),
    "task-failed": to("fencing-gently", ["task-ended", "fence-failed"], ["settle"]),
    "stale-task-ended": to("fencing-gently", [], []),
    "asked-to-promise": to("fencing-gently", ["promise-given"], ["answer-promise"]),
    promised: to("fencing-gently", [], []),
    tick: to("fencing-gently", [], []),
  },
};

const restarts: Record<MemberPhaseKind, Record<RestartedUnder, Record<RestartedBeside, string>>> = {
  observing: {
    "lease-valid": {
      writable: "observing",
      "in-recovery": "observing",
      stopped: "observing",
      unresponsive: "observing",
    },
    "lease-over": {
      writable: "observing",
      "in-recovery": "observing",
      stopped: "observing",
      unresponsive: "observing",
    },
    "another-kernel-boot": {
      writable: "observing",
      "in-recovery": "observing",
      stopped: "observing",
      unresponsive: "observing",
    },
  },
  "closed-idle": {
    "lease-valid": {
      writable: "fencing unexpectedly-writable, then start",
      "in-recovery": "closed",
      stopped: "closed, start",
      unresponsive: "closed",
    },
    "lease-over": {
      writable: "fencing unexpectedly-writable, then start",
      "in-recovery": "closed",
      stopped: "closed, start",
      unresponsive: "closed",
    },
    "another-kernel-boot": {
      writable: "fencing unexpectedly-writable, then start",
      "in-recovery": "closed",
      stopped: "closed, start",
      unresponsive: "closed",
    },
  },
  "closed-busy": {
    "lease-valid": {
      writable: "fencing unexpectedly-writable, then start",
      "in-recovery": "closed",
      stopped: "closed, start",
      unresponsive: "closed",
    },
    "lease-over": {
      writable: "fencing unexpectedly-writable, then start",
      "in-recovery": "closed",
      stopped: "closed, start",
      unresponsive: "closed",
    },
    "another-kernel-boot": {
      writable: "fencing unexpectedly-writable, then start",
      "in-recovery": "closed",
      stopped: "closed, start",
      unresponsive: "closed",
    },
  },
  opening: {
    "lease-valid": {
      writable: "open",
      "in-recovery": "fencing found-in-recovery",
      stopped: "fencing server-died",
      unresponsive: "open",
    },
    "lease-over": {
      writable: "fencing lease-lost, then start",
      "in-recovery": "fencing lease-lost, then start",
      stopped: "fencing lease-lost, then start",
      unresponsive: "fencing lease-lost, then start",
    },
    "another-kernel-boot": {
      writable: "fencing lease-lost, then start",
      "in-recovery": "fencing lease-lost, then start",
      stopped: "fencing lease-lost, then start",
      unresponsive: "fencing lease-lost, then start",
    },
  },
  open: {
    "lease-valid": {
      writable: "open",
      "in-recovery": "fencing found-in-recovery",
      stopped: "fencing server-died",
      unresponsive: "open",
    },
    "lease-over": {
      writable: "fencing lease-lost, then start",
      "in-recovery": "fencing lease-lost, then start",
      stopped: "fencing lease-lost, then start",
      unresponsive: "fencing lease-lost, then start",
    },
    "another-kernel-boot": {
      writable: "fencing lease-lost, then start",
      "in-recovery": "fencing lease-lost, then start",
      stopped: "fencing lease-lost, then start",
      unresponsive: "fencing lease-lost, then start",
    },
  },
  "closed-rebuilding": {
    "lease-valid": {
      writable: "fencing unexpectedly-writable, then start",
      "in-recovery": "closed",
      stopped: "closed",
      unresponsive: "closed",
    },
    "lease-over": {
      writable: "fencing unexpectedly-writable, then start",
      "in-recovery": "closed",
      stopped: "closed",
      unresponsive: "closed",
    },
    "another-kernel-boot": {
      writable: "fencing unexpectedly-writable, then start",
      "in-recovery": "closed",
      stopped: "closed",
      unresponsive: "closed",
    },
  },
  damaged: {
    "lease-valid": {
      writable: "fencing unexpectedly-writable, then start",
      "in-recovery": "closed",
      stopped: "closed",
      unresponsive: "closed",
    },
    "lease-over": {
      writable: "fencing unexpectedly-writable, then start",
      "in-recovery": "closed",
      stopped: "closed",
      unresponsive: "closed",
    },
    "another-kernel-boot": {
      writable: "fencing unexpectedly-writable, then start",
      "in-recovery": "closed",
      stopped: "closed",
      unresponsive: "closed",
    },
  },
  "open-busy": {
    "lease-valid": {
      writable: "open",
      "in-recovery": "fencing found-in-recovery",
      stopped: "fencing server-died",
      unresponsive: "open",
    },
    "lease-over": {
      writable: "fencing lease-lost, then start",
      "in-recovery": "fencing lease-lost, then start",
      stopped: "fencing lease-lost, then start",
      unresponsive: "fencing lease-lost, then start",
    },
    "another-kernel-boot": {
      writable: "fencing lease-lost, then start",
      "in-recovery": "fencing lease-lost, then start",
      stopped: "fencing lease-lost, then start",
      unresponsive: "fencing lease-lost, then start",
    },
  },
  "open-shut": {
    "lease-valid": {
      writable: "open",
      "in-recovery": "fencing found-in-recovery",
      stopped: "fencing server-died",
      unresponsive: "open",
    },
    "lease-over": {
      writable: "fencing lease-lost, then start",
      "in-recovery": "fencing lease-lost, then start",
      stopped: "fencing lease-lost, then start",
      unresponsive: "fencing lease-lost, then start",
    },
    "another-kernel-boot": {
      writable: "fencing lease-lost, then start",
      "in-recovery": "fencing lease-lost, then start",
      stopped: "fencing lease-lost, then start",
      unresponsive: "fencing lease-lost, then start",
    },
  },
  fencing: {
    "lease-valid": {
      writable: "open",
      "in-recovery": "fencing found-in-recovery",
      stopped: "fencing server-died",
      unresponsive: "open",
    },
    "lease-over": {
      writable: "fencing lease-lost, then start",
      "in-recovery": "fencing lease-lost, then start",
      stopped: "fencing lease-lost, then start",
      unresponsive: "fencing lease-lost, then start",
    },
    "another-kernel-boot": {
      writable: "fencing lease-lost, then start",
      "in-recovery": "fencing lease-lost, then start",
      stopped: "fencing lease-lost, then start",
      unresponsive: "fencing lease-lost, then start",
    },
  },
  "fencing-gently": {
    "lease-valid": {
      writable: "open",
      "in-recovery": "fencing found-in-recovery",
      stopped: "fencing server-died",
      unresponsive: "open",
    },
    "lease-over": {
      writable: "open",
      "in-recovery": "fencing found-in-recovery",
      stopped: "fencing server-died",
      unresponsive: "open",
    },
    "another-kernel-boot": {
      writable: "fencing lease-lost",
      "in-recovery": "fencing found-in-recovery",
      stopped: "fencing lease-lost",
      unresponsive: "fencing lease-lost",
    },
  },
};

describe.each(Object.keys(table) as MemberPhaseKind[])("%s", (phase) => {
  test("is reached through the machine", () => {
    expect(kindOfMember(memberPhases[phase]().state)).toBe(phase);
  });

  test.each(Object.keys(table[phase]) as MemberEventKind[])("%s", (event) => {
    const member = memberPhases[phase]();
    const before = member.state;
    const steps = memberEvents[event](member);
    expect(memberOutcomeOf(before, member.state, steps)).toEqual(table[phase][event]);
  });
});

describe.each(Object.keys(restarts) as MemberPhaseKind[])("an agent started again after it was %s", (phase) => {
  test.each(Object.keys(restarts[phase]) as RestartedUnder[])("%s", (under) => {
    for (const beside of Object.keys(restarts[phase][under]) as RestartedBeside[]) {
      expect([beside, standingOf(restarted(phase, under, beside))]).toEqual([beside, restarts[phase][under][beside]]);
    }
  });
});

describe("what a member vouches for", () => {
  test("is said when the fence is done and not before", () => {
    const member = memberPhases.fencing();
    expect(member.state.durable).toMatchObject({ attempted: 4, released: 1 });
    const ended = memberEvents["task-ended-well"](member);
    expect(member.state.durable).toMatchObject({ released: 4, releaseCause: "commanded", lease: null });
    expect(ended[0]?.fsync).toBe(true);
  });

  test("is not said where the server is seen to write after the fence: somebody has started it since", () => {
    const member = memberPhases.fencing();
    give(member, observed(member, WRITABLE));
    const ended = give(member, finished(member, true));
    expect(member.state).toMatchObject({ durable: { released: 1 }, phase: { kind: "fencing", releases: 4 } });
    expect(ended.effects).toContainEqual({ kind: "run", task: expect.objectContaining({ kind: "fence" }) });
  });

  test("is not said by a fence that failed", () => {
    const member = memberPhases.fencing();
    memberEvents["task-failed"](member);
    expect(member.state.durable.released).toBe(1);
  });

  test("covers an epoch whose opening it refused while closed", () => {
    const member = memberPhases["closed-idle"]();
    give(member, replyWith(member, { commands: [commandOf(member, "promote")] }));
    expect(member.state.durable).toMatchObject({ released: 4, attempted: 1, releaseCause: "promotion-failed" });
  });

  test("covers an epoch whose opening it refused while open, once it is fenced", () => {
    const member = memberPhases.open();
    give(member, ordered(member, commandOf(member, "promote", { epoch: 7 })));
    expect(member.state.durable.released).toBe(1);
    memberEvents["task-ended-well"](member);
    expect(member.state.durable.released).toBe(7);
  });
});

describe("a command that had to wait", () => {
  test("is taken when the task under way has ended", () => {
    const member = memberPhases["closed-busy"]();
    give(member, ordered(member, commandOf(member, "promote")));
    const [ended] = memberEvents["task-ended-well"](member);
    expect(kindOfMember(member.state)).toBe("opening");
    expect(ended?.effects.map((effect) => effect.kind)).toContain("run");
  });

  test("is refused when a newer one overtakes it", () => {
    const member = memberPhases["closed-busy"]();
    give(member, ordered(member, commandOf(member, "freeze")));
    give(member, ordered(member, commandOf(member, "start")));
    expect(member.state.live.results).toContainEqual(
      expect.objectContaining({ id: "new.freeze", outcome: "refused", code: "operation-superseded" }),
    );
  });

  test("opens nothing on a lease that ran out while it waited", () => {
    const member = memberPhases["closed-busy"]();
    give(member, ordered(member, commandOf(member, "promote")));
    member.atMs += TTL_MS;
    memberEvents["task-ended-well"](member);
    expect(kindOfMember(member.state)).toBe("closed-idle");
    expect(member.state.durable).toMatchObject({ attempted: 1, released: 4 });
  });
});

describe("a fence that is joined by a command", () => {
  test("answers it when it is done: nobody waits for it for ever", () => {
    const member = memberPhases.open();
    give(member, replyWith(member, { leaseEnded: { epoch: 4, mac: "" }, commands: [commandOf(member, "fence")] }));
    memberEvents["task-ended-well"](member);
    expect(member.state.live.results).toContainEqual(expect.objectContaining({ id: "new.fence", outcome: "done" }));
  });
});

describe("time", () => {
  test("a lease counts from the sending of the poll, not from the reply", () => {
    const member = memberPhases["closed-idle"]();
    const event = replyWith(member, { commands: [commandOf(member, "promote")], lease: leaseOf(4) }, clocksAt(TTL_MS));
    give(member, event);
    expect(member.state.live.results.at(-1)).toMatchObject({ outcome: "refused", code: "no-lease" });
  });

  test("a promotion that ends after the lease opens nothing", () => {
    const member = memberPhases.opening();
    member.atMs += TTL_MS;
    memberEvents["task-ended-well"](member);
    expect(member.state.phase).toMatchObject({ kind: "fencing", releases: 4, cause: "lease-lost" });
  });

  test("a primary that comes back in recovery is fenced, and its server stays down until it is told to start", () => {
    const member = memberPhases.open();
    give(member, observed(member, WRITABLE));
    give(member, observed(member, IN_RECOVERY));
    expect(member.state.phase).toMatchObject({ kind: "fencing", cause: "found-in-recovery", restart: false });
  });
});

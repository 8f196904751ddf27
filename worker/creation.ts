/** Creating a dataservice: what may not stand although it has the right shape, and what the object begins with. */
import { DEFAULT_SYNC_POLICY, foundingState, type DurableState } from "#shared/core/cluster/state.ts";
import { checkSettings, DEFAULT_SETTINGS, type Settings } from "#shared/domain/settings.ts";
import type { Create } from "#shared/protocol/api.ts";
import { refuse, type Refused } from "./answer.ts";

/** Why this creation is refused; null when it may stand. Every detail names the field, its value and the remedy. */
export function refuseCreation(create: Create): Refused | null {
  const members = create.members.map((member) => member.name);
  const hosts = [...members, ...create.routers];
  const twice = hosts.find((host, index) => hosts.indexOf(host) !== index);
  if (twice !== undefined) {
    return refuse("invalid-request", `members, routers: '${twice}' is named twice: give every host a name of its own`);
  }
  if (!members.includes(create.primary)) {
    return refuse("invalid-request", `primary: '${create.primary}' is no member: name one of ${members.join(", ")}`);
  }
  if (create.sync && create.durability !== "sync") {
    return refuse(
      "invalid-request",
      `sync: it means nothing with durability '${create.durability}': leave it out, or use durability 'sync'`,
    );
  }
  const { k } = syncOf(create);
  if (create.durability === "sync" && k > members.length - 1) {
    return refuse(
      "invalid-request",
      `sync.k: ${k} of ${members.length - 1} replicas cannot acknowledge: use a smaller number, or name more members`,
    );
  }
  const [problem] = checkSettings(settingsOf(create));
  return problem
    ? refuse("invalid-settings", `settings.${problem.key}: ${problem.value} cannot stand: ${problem.remedy}`)
    : null;
}

function syncOf({ sync }: Create): typeof DEFAULT_SYNC_POLICY {
  return sync ?? DEFAULT_SYNC_POLICY;
}

export function settingsOf(create: Create): Settings {
  const given = Object.entries(create.settings).filter(([, value]) => value !== undefined);
  return { ...DEFAULT_SETTINGS, ...Object.fromEntries(given) };
}

export function firstState(create: Create, wallMs: number): DurableState {
  return foundingState({
    dataservice: create.name,
    members: create.members,
    primary: create.primary,
    routers: create.routers,
    settings: settingsOf(create),
    durability: create.durability,
    syncPolicy: syncOf(create),
    wallMs,
    isRestored: create.restored,
  });
}

/** The prose of state reasons, in the words that operators and their scripts know. */
import type { DatasourceStatus } from "#shared/protocol/api.ts";

/** What stands in the parentheses after a state; null when there is nothing to say. */
export function reasonText(datasource: DatasourceStatus, dataservice: string): string | null {
  const { reason, member } = datasource;
  switch (reason.kind) {
    case "none":
      return null;
    case "dataserver-stopped":
      return dataserverStopped(member, dataservice);
    case "manager-stopped":
      return "MANAGER STOPPED";
    case "manually-failed":
      return "MANUALLY-FAILED";
    case "manually-shunned":
      return "MANUALLY-SHUNNED";
    case "failed-over-to":
      return `FAILED-OVER-TO-${reason.to}`;
    case "diverged":
      return "DIVERGED FROM THE PRIMARY'S LOG";
    case "needs-provision":
      return "NEEDS-PROVISION";
    case "identity-forked":
      return "TWO AGENTS SPEAK FOR THIS HOST";
    case "log-lost":
      return "DATA DIRECTORY IS OLDER THAN ITS AGENT REPORTED: LOG IS MISSING";
    case "failsafe-shun":
      return "FAILSAFE_SHUN";
    case "failover-aborted":
      return `FAILOVER-ABORTED AFTER UNABLE TO COMPLETE FAILOVER FOR DATASOURCE '${member}'. CHECK COORDINATOR MANAGER LOG`;
  }
}

/** What stands in the REASON row; null when the status calls for none. */
export function reasonRow(datasource: DatasourceStatus, dataservice: string): string | null {
  switch (datasource.status) {
    case "critical":
      return reasonText(datasource, dataservice);
    case "diminished":
      return componentDown(datasource, dataservice);
    case "ok":
    case "warn":
    case "shunned":
      return null;
  }
}

function componentDown(datasource: DatasourceStatus, dataservice: string): string | null {
  if (datasource.manager.state === "stopped") return "MANAGER STOPPED";
  if (datasource.dataserver.state === "stopped") return dataserverStopped(datasource.member, dataservice);
  if (datasource.dataserver.state === "unknown")
    return `DATASERVER '${datasource.member}@${dataservice}' DOES NOT ANSWER`;
  if (datasource.replicator.state === "offline") return "REPLICATOR STOPPED";
  return reasonText(datasource, dataservice);
}

function dataserverStopped(member: string, dataservice: string): string {
  return `DATASERVER '${member}@${dataservice}' STOPPED`;
}

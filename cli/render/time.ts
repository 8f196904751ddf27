/** Times as people read them. */

/** `2025/01/27 01:51:23 PM UTC`: the time of a STATUS row in `timeZone` (an IANA name). */
export function statusTime(wallMs: number, timeZone: string): string {
  const format = new Intl.DateTimeFormat("en-GB", {
    timeZone,
    timeZoneName: "short",
    hourCycle: "h12",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  });
  const part = Object.fromEntries(format.formatToParts(wallMs).map(({ type, value }) => [type, value]));
  const date = `${part["year"]}/${part["month"]}/${part["day"]}`;
  const time = `${part["hour"]}:${part["minute"]}:${part["second"]} ${part["dayPeriod"]?.toUpperCase()}`;
  return `${date} ${time} ${part["timeZoneName"]}`;
}

/** `2025-01-27 13:51:23.042 UTC`: sorts as text and keeps the milliseconds that a log needs. */
export function logTime(wallMs: number): string {
  return `${new Date(wallMs).toISOString().replace("T", " ").replace("Z", "")} UTC`;
}

/** `3.042 s`: how long something took. */
export function seconds(durationMs: number): string {
  return `${(durationMs / 1_000).toFixed(3)} s`;
}

/** The page for people at `/docs`: the routes and the refusals, made from what the code uses. */
import { ERRORS } from "#shared/protocol/errors.ts";
import { EVENT_KINDS } from "./reason.ts";
import { ROUTES } from "./routes.ts";

const STYLE = `
  :root { color-scheme: light dark; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  table { border-collapse: collapse; width: 100%; }
  th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; }
  code { font: .9em ui-monospace, monospace; }
`;

export function docsPage(): string {
  const routes = ROUTES.map((route) => {
    const description = "description" in route ? ` ${route.description}` : "";
    return row([code(route.method.toUpperCase()), code(route.path), escape(`${route.summary}.${description}`)]);
  });
  const errors = Object.entries(ERRORS).map(([name, { status, retryable, title }]) =>
    row([code(name), String(status), retryable ? "yes" : "no", escape(title)]),
  );
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Interrex coordinator API</title>
<style>${STYLE}</style>
<h1>Interrex coordinator API</h1>
<p>Every shape is in <a href="/openapi.json">openapi.json</a>. Requests carry <code>Authorization: Bearer &lt;token&gt;</code>:
the administrator's token, or one of the dataservice's own: its creation answers one for each agent.</p>
<p>Webhooks follow <a href="https://www.standardwebhooks.com/">Standard Webhooks</a>: check <code>webhook-signature</code>, and
know repetitions by <code>webhook-id</code>. The body is <code>{"type", "timestamp", "dataservice", "data"}</code> with
one of these types: ${EVENT_KINDS.map(code).join(", ")}.</p>
<h2>Routes</h2>
${table(["Method", "Path", "What it does"], routes)}
<h2>Refusals</h2>
<p>Every refusal is a problem (RFC 9457, <code>application/problem+json</code>) with one of these codes. Codes never change.</p>
${table(["Code", "Status", "Worth retrying", "Meaning"], errors)}
</html>
`;
}

function table(heads: string[], rows: string[]): string {
  return `<table><tr>${heads.map((head) => `<th>${head}`).join("")}</tr>\n${rows.join("\n")}\n</table>`;
}

function row(cells: string[]): string {
  return `<tr>${cells.map((cell) => `<td>${cell}`).join("")}</tr>`;
}

function code(text: string): string {
  return `<code>${escape(text)}</code>`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

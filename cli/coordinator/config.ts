/** The configuration under which workerd serves the same Worker that Cloudflare would. */

export interface ServeOptions {
  host: string;
  port: number;
  /** The folder with the objects' databases. */
  objects: string;
  /** Lets webhooks go to plain HTTP and to private addresses. */
  allowInsecureWebhooks: boolean;
}

/**
 * The text of a workerd configuration, to be put beside the bundle `worker.js`. The unique key names the objects'
 * folder and goes into every object's id: it must never change. Secrets come from the environment, so that they stand
 * neither here nor on a command line.
 *
 * What the coordinator may reach is decided here as well: workerd looks at the address that a name leads to, which the
 * Worker, seeing the name only, cannot.
 */
export function capnpConfig({ host, port, objects, allowInsecureWebhooks }: ServeOptions): string {
  const reachable = allowInsecureWebhooks ? '["public", "private"]' : '["public"]';
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "internet", network = (allow = ${reachable}, tlsOptions = (trustBrowserCas = true))),
    (name = "objects", disk = (path = ${JSON.stringify(objects)}, writable = true)),
  ],
  sockets = [(name = "http", address = ${JSON.stringify(address)}, http = (), service = "main")],
);

const main :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2026-10-01",
  bindings = [
    (name = "COORDINATOR", durableObjectNamespace = "Coordinator"),
    (name = "REGISTRY", durableObjectNamespace = "Registry"),
    (name = "COORDINATOR_NAME", text = "coordinator"),
    (name = "ALLOW_INSECURE_WEBHOOKS", text = "${allowInsecureWebhooks}"),
    (name = "ADMIN_TOKEN", fromEnvironment = "REX_ADMIN_TOKEN"),
    (name = "SECRET", fromEnvironment = "REX_SECRET"),
  ],
  durableObjectNamespaces = [
    (className = "Coordinator", uniqueKey = "interrex-coordinator-v1", enableSql = true),
    (className = "Registry", uniqueKey = "interrex-registry-v1", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "objects"),
);
`;
}

// Where a resource is in Grafana.
import type { ResourceRef, VersionInfo } from "../api/types";

const DASHBOARDS: readonly ResourceRef["type"][] = [
  "cronjob", "daemonset", "deployment", "job", "namespace", "pod", "replicaset", "replicationcontroller", "service", "statefulset",
];

/** null if there is no dashboard for it, or if Grafana's address is no web address. */
export function grafanaUrl(grafana: NonNullable<VersionInfo["grafana"]>, ref: ResourceRef): string | null {
  if (!DASHBOARDS.includes(ref.type) || !/^https?:\/\//.test(grafana.url)) return null;
  const query = new URLSearchParams({ "var-namespace": ref.namespace, ...(ref.type === "namespace" ? {} : { [`var-${ref.type}`]: ref.name }) });
  return `${grafana.url}/d/${encodeURIComponent(grafana.uidPrefix)}linkerd-${ref.type}?${query}`;
}

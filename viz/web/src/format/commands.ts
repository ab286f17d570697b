// The command that shows what a tab of a resource's page shows.
import type { ResourceRef, Window } from "../api/types";
import { resourceArg, unmeshedFlags, whereFlags, windowFlags } from "./cli";

/** Whether the tab's command is kubectl's. */
export function isRaw(tab: string): boolean {
  return tab === "yaml";
}

/** `labels` are those that all pods of the resource have. */
export function resourceCommand(tab: string, resource: ResourceRef, window: Window, labels: Record<string, string> = {}): string[] {
  const arg = resourceArg(resource);
  const where = whereFlags(resource);
  const time = windowFlags(window);
  switch (tab) {
    case "live": return ["top", arg, ...where];
    case "inbound": return ["stat-inbound", arg, ...where, ...time];
    case "outbound": return ["stat-outbound", arg, ...where, ...time];
    case "pods": return podsCommand(resource, labels, time);
    case "edges": return ["edges", arg, ...where, "-o", "wide"];
    case "routes": return ["routes", arg, ...where, ...time];
    case "authz": return ["authz", arg, ...where, ...time];
    case "yaml": return ["kubectl", "get", arg, ...where, "-o", "yaml"];
    default: return ["stat", arg, ...where, ...time];
  }
}

function podsCommand(resource: ResourceRef, labels: Record<string, string>, time: string[]): string[] {
  if (resource.type === "pod") return ["stat", resourceArg(resource), ...whereFlags(resource), ...time];
  const selector = Object.entries(labels).map(([name, value]) => `${name}=${value}`).sort().join(",");
  const chosen = resource.type === "namespace" || selector === "" ? [] : ["-l", selector];
  return ["stat", "po", "-n", resource.namespace, ...chosen, ...unmeshedFlags("pod"), ...time];
}

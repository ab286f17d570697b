// The command that shows what a tab of a resource's page shows.
import type { ResourceRef, Window } from "../api/types";
import { resourceArg, shortType, whereFlags, windowFlags } from "./cli";

export function resourceCommand(tab: string, resource: ResourceRef, window: Window): string[] {
  const arg = resourceArg(resource);
  const where = whereFlags(resource);
  const time = windowFlags(window);
  switch (tab) {
    case "live": return ["top", arg, ...where];
    case "inbound": return ["stat-inbound", arg, ...where, ...time];
    case "outbound": return ["stat-outbound", arg, ...where, ...time];
    case "pods": return ["stat", resource.type === "pod" ? arg : "po", ...where, ...time];
    case "edges": return ["edges", shortType(resource.type), ...where, "-o", "wide"];
    case "routes": return ["routes", arg, ...where, ...time];
    case "authz": return ["authz", arg, ...where, ...time];
    default: return ["stat", arg, ...where, ...time];
  }
}

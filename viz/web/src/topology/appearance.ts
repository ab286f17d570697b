// How an edge looks: width by requests, colour and dashes by success rate; and which edges a filter hides.
import type { ViewEdge } from "./view";
import { healthOf, type Health } from "../format/health";
import { isSecured } from "../format/secured";

export const HIDABLE = ["healthy", "idle"] as const;
export type Hidable = (typeof HIDABLE)[number];

/** Each factor of ten adds the same, from 1.2 px to 7 px, in steps that do not flicker. */
export function edgeWidth(rps: number | null | undefined): number {
  return Math.min(7, Math.round(10 * (1.2 + 0.4 * Math.round(4 * Math.log10(1 + Math.max(0, rps ?? 0))))) / 10);
}

/** Dashes say the same as colours, for those who cannot tell these apart. */
export const DASHES: Record<Health, string | undefined> = { good: undefined, warn: "9 4", bad: "3 3.5", none: "1 5" };

export function edgeHealth(edge: Pick<ViewEdge, "http">): Health {
  return healthOf(edge.http?.successRate);
}

export function isIdle(edge: ViewEdge): boolean {
  return (edge.http?.rps ?? 0) === 0 && edge.tcp.readBytesPerSecond + edge.tcp.writeBytesPerSecond < 1;
}

/** Healthy: its requests succeed (or it carries none), and it is secured. */
export function isHealthy(edge: ViewEdge): boolean {
  const health = edgeHealth(edge);
  return (health === "good" || health === "none") && isSecured(edge.secured);
}

export function isHidden(edge: ViewEdge, hide: ReadonlySet<string>): boolean {
  return (hide.has("healthy") && isHealthy(edge)) || (hide.has("idle") && isIdle(edge));
}

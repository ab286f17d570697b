// SIMULATED figures of links, and their sums: what a real server reads from Prometheus.
import type { HttpStats, Secured, Series, Spark, TcpStats, Window } from "../../src/api/types";
import type { SimLink } from "./cluster";
import { wave } from "./random";

export const SECONDS: Record<Window, number> = { "1m": 60, "10m": 600, "1h": 3600, "6h": 21_600 };

export function linkName(link: SimLink): string {
  return `${link.from ? `${link.from.ref.namespace}/${link.from.ref.name}` : link.fromLabel}>${link.to.ref.namespace}/${link.to.ref.name}`;
}

/** The sum over links; null if none of them carries HTTP. */
export function httpOf(links: SimLink[], at: number, seconds: number): HttpStats | null {
  const http = links.filter((link) => link.rps > 0);
  if (http.length === 0) return null;
  let rps = 0;
  let failed = 0;
  let p50 = 0;
  let p99 = 0;
  for (const link of http) {
    const name = linkName(link);
    const now = link.rps * wave(name, at);
    rps += now;
    failed += now * Math.min(1, link.failing * wave(`${name}!`, at, 0.08));
    p50 += now * link.p50 * wave(`${name}~`, at, 0.2);
    p99 = Math.max(p99, link.p50 * 4.5 * wave(`${name}99`, at, 0.35));
  }
  p50 /= rps;
  const requests = Math.round(rps * seconds);
  const failures = Math.round(failed * seconds);
  return {
    requests, failures, rps, successRate: requests === 0 ? null : 1 - failures / requests,
    latencyMs: { p50: round(p50), p95: round(p50 + (p99 - p50) * 0.6), p99: round(p99) },
  };
}

export function tcpOf(links: SimLink[], at: number): TcpStats {
  const sum = { openConnections: 0, readBytesPerSecond: 0, writeBytesPerSecond: 0 };
  for (const link of links) {
    sum.openConnections += link.connections;
    const bytes = (link.rps * 900 + link.connections * 1500) * wave(linkName(link), at);
    sum.readBytesPerSecond += bytes;
    sum.writeBytesPerSecond += bytes * 3;
  }
  return sum;
}

export function seriesOf(links: SimLink[], at: number, window: Window, points: number): Series {
  // The shortest window is drawn with what came before it, so that a chart of one minute is no dot.
  const step = Math.max(10, SECONDS[window] / points);
  const count = Math.min(points, Math.max(2, Math.round(Math.max(SECONDS[window], 300) / step)));
  const end = Math.floor(at / step) * step;
  const from = end - step * (count - 1);
  const series: Series = { from, step, successRate: [], rps: [], p50: [], p95: [], p99: [] };
  for (let i = 0; i < count; i += 1) {
    const stats = httpOf(links, from + i * step, step);
    series.successRate.push(stats?.successRate ?? null);
    series.rps.push(stats?.rps ?? null);
    series.p50.push(stats?.latencyMs.p50 ?? null);
    series.p95.push(stats?.latencyMs.p95 ?? null);
    series.p99.push(stats?.latencyMs.p99 ?? null);
  }
  return series;
}

export function sparkOf(links: SimLink[], at: number, window: Window): Spark | null {
  if (!links.some((link) => link.rps > 0)) return null;
  const { from, step, successRate, rps, p99 } = seriesOf(links, at, window, 30);
  return { from, step, successRate, rps, p99 };
}

const RANK: Secured["state"][] = ["mtls", "same_node", "opaque_tls", "plaintext"];
export function worstSecured(links: SimLink[]): Secured {
  return links.map((link) => link.secured)
    .reduce((worst, next) => (RANK.indexOf(next.state) > RANK.indexOf(worst.state) ? next : worst), { state: "mtls" } as Secured);
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}

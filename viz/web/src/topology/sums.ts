// Figures of several edges or workloads as one.
import type { HttpStats, Secured, TcpStats } from "../api/types";

/** Rates add up. Percentiles do not: the largest is what a client may meet. */
export function sumHttp(parts: (HttpStats | null)[]): HttpStats | null {
  const known = parts.filter((part): part is HttpStats => part !== null);
  if (known.length === 0) return null;
  const sum = (read: (part: HttpStats) => number): number => known.reduce((total, part) => total + read(part), 0);
  const largest = (which: keyof HttpStats["latencyMs"]): number | null => {
    const values = known.map((part) => part.latencyMs[which]).filter((value): value is number => value !== null);
    return values.length > 0 ? Math.max(...values) : null;
  };
  const requests = sum((part) => part.requests);
  const failures = sum((part) => part.failures);
  return {
    requests, failures, successRate: requests > 0 ? 1 - failures / requests : null, rps: sum((part) => part.rps),
    latencyMs: { p50: largest("p50"), p95: largest("p95"), p99: largest("p99") },
  };
}

export function sumTcp(parts: TcpStats[]): TcpStats {
  return parts.reduce((sum, part) => ({
    openConnections: sum.openConnections + part.openConnections,
    readBytesPerSecond: sum.readBytesPerSecond + part.readBytesPerSecond,
    writeBytesPerSecond: sum.writeBytesPerSecond + part.writeBytesPerSecond,
  }), { openConnections: 0, readBytesPerSecond: 0, writeBytesPerSecond: 0 });
}

const RANK: Record<Secured["state"], number> = { same_node: 0, mtls: 1, opaque_tls: 2, plaintext: 3 };

export function worstSecured(parts: Secured[]): Secured {
  return parts.reduce((worst, part) => (RANK[part.state] > RANK[worst.state] ? part : worst));
}

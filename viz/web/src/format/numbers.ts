// How figures are written: ratios, rates, latencies, sizes and times.

export const NONE = "–";

/** Cut, not rounded: 100 % means that nothing failed. */
export function percent(ratio: number | null | undefined): string {
  if (ratio == null || !Number.isFinite(ratio)) return NONE;
  const hundredths = Math.floor(Math.min(1, Math.max(0, ratio)) * 10_000 + 1e-6);
  return `${(hundredths / 100).toFixed(2)}%`;
}

/** The rest of a success rate that is cut: both together are 100 %. */
export function restPercent(ratio: number | null | undefined): string {
  if (ratio == null || !Number.isFinite(ratio)) return NONE;
  const hundredths = 10_000 - Math.floor(Math.min(1, Math.max(0, ratio)) * 10_000 + 1e-6);
  return `${(hundredths / 100).toFixed(2)}%`;
}

export function rate(perSecond: number | null | undefined): string {
  if (perSecond == null || !Number.isFinite(perSecond)) return NONE;
  if (perSecond === 0) return "0";
  if (perSecond < 0.1) return "<0.1";
  if (perSecond < 100) return perSecond.toFixed(1);
  return count(perSecond);
}

export function count(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return NONE;
  if (Math.abs(value) < 999.5) return String(Math.round(value));
  for (const [limit, divisor, unit] of [[999_950, 1e3, "k"], [999_950_000, 1e6, "M"], [Infinity, 1e9, "G"]] as const) {
    if (Math.abs(value) < limit) return `${(value / divisor).toFixed(1)}${unit}`;
  }
  return NONE;
}

export function millis(ms: number | null | undefined): string {
  if (ms == null || !Number.isFinite(ms)) return NONE;
  if (ms < 0.001) return "0 ms";
  if (ms < 1) return `${ms.toFixed(2).replace(/0$/, "")} ms`;
  if (ms < 100) return `${ms.toFixed(1).replace(/\.0$/, "")} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 99_950) return `${(ms / 1000).toFixed(1)} s`;
  return duration(ms / 1000);
}

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB"];
export function bytes(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return NONE;
  let size = value;
  let unit = 0;
  while (size >= 1023.95 && unit < BYTES.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(size) : size.toFixed(1)} ${BYTES[unit]}`;
}

export function bytesPerSecond(value: number | null | undefined): string {
  const text = bytes(value);
  return text === NONE ? NONE : `${text}/s`;
}

/** Two units at most: "3d 4h", "12m 5s". */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null || !Number.isFinite(seconds)) return NONE;
  let rest = Math.max(0, Math.round(seconds));
  const parts: string[] = [];
  for (const [unit, size] of [["d", 86_400], ["h", 3_600], ["m", 60], ["s", 1]] as const) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0) parts.push(`${n}${unit}`);
    if (parts.length === 2 || (parts.length === 1 && n === 0)) break;
  }
  return parts.join(" ") || "0s";
}

export function ago(at: number | null | undefined, now: number): string {
  return at == null ? NONE : `${duration(now - at)} ago`;
}

/** When something ends: "in 3h 5m", or "12m ago". */
export function until(at: number | null | undefined, now: number): string {
  if (at == null) return NONE;
  return at >= now ? `in ${duration(at - now)}` : `${duration(now - at)} ago`;
}

export function clock(at: number): string {
  return new Date(at * 1000).toLocaleTimeString(undefined, { hour12: false });
}

export function dateTime(at: number | null | undefined): string {
  return at == null ? NONE : new Date(at * 1000).toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}

// What the figures of a page lack, in sentences.
import type { Meta } from "../api/types";

/** Warnings, and that there is no Prometheus. While one does not answer, a warning says so. */
export function lacks(metas: Meta[]): string[] {
  const warnings = metas.flatMap((meta) => meta.warnings);
  const missing = metas.some(({ source }) => source === "proxies") && !warnings.some(({ code }) => code === "prometheus_unavailable");
  const texts = warnings.map(({ message }) => message);
  if (missing) texts.push("Prometheus is not installed. These are figures of the last minute, read from the proxies.");
  return [...new Set(texts)].sort();
}

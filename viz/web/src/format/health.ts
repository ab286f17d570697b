// What counts as healthy. Shapes and words say the same as the colours.

export type Health = "good" | "warn" | "bad" | "none";

export const GOOD_FROM = 0.99;
export const WARN_FROM = 0.95;

export function healthOf(successRate: number | null | undefined): Health {
  if (successRate == null || !Number.isFinite(successRate)) return "none";
  if (successRate >= GOOD_FROM) return "good";
  return successRate >= WARN_FROM ? "warn" : "bad";
}

export const HEALTH_WORDS: Record<Health, string> = {
  good: "healthy",
  warn: "some requests fail",
  bad: "many requests fail",
  none: "no requests",
};

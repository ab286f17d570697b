// The vertical range of a chart.

/** Ends of the axis; null: as the values are. */
export type Range = [bottom: number | null, top: number | null];

/** A flat line keeps a height, and a chart without values an axis. */
export function scale(low: number | null, high: number | null, range: Range | undefined): [number, number] {
  const bottom = range?.[0] ?? (range ? Math.min(0.95, low ?? 0.95) : 0);
  const top = range?.[1] ?? (high ?? 1) * 1.1;
  return [Math.min(bottom, low ?? bottom), top > bottom ? top : bottom + 1];
}

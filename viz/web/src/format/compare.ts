// How values of a column are ordered.

export type SortValue = string | number | boolean | null | undefined;

const names = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** Ascending. Names are compared as people do: pod-2 comes before pod-10. */
export function compareValues(a: unknown, b: unknown): number {
  if (typeof a === "string" && typeof b === "string") return names.compare(a, b);
  return Number(a) - Number(b);
}

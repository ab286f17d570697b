// The state of a page in its URL: reading with defaults, writing without them.
import { WINDOWS, type Window } from "../api/types";

export const DEFAULT_WINDOW: Window = "1m";

export function readWindow(params: URLSearchParams): Window {
  return readChoice(params, "w", WINDOWS, DEFAULT_WINDOW);
}

export function readChoice<T extends string>(
  params: URLSearchParams, key: string, choices: readonly T[], fallback: T,
): T {
  const value = params.get(key);
  return choices.find((choice) => choice === value) ?? fallback;
}

/** A copy with changes; what is undefined, empty or the default is left out, so that equal views have equal URLs. */
export function withParams(
  params: URLSearchParams, changes: Record<string, string | undefined>, defaults: Record<string, string> = {},
): URLSearchParams {
  const next = new URLSearchParams(params);
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined || value === "" || value === defaults[key]) next.delete(key);
    else next.set(key, value);
  }
  next.sort();
  return next;
}

// === Sorting: "name", or "-rps" for descending ===

export interface Sort {
  id: string;
  desc: boolean;
}

export function readSort(text: string | null, columns: readonly string[], fallback: Sort): Sort {
  if (!text) return fallback;
  const desc = text.startsWith("-");
  const id = desc ? text.slice(1) : text;
  return columns.includes(id) ? { id, desc } : fallback;
}

export function writeSort(sort: Sort): string {
  return sort.desc ? `-${sort.id}` : sort.id;
}

// === Sets of names: separated by commas, which are escaped inside a name ===

export function readSet(params: URLSearchParams, key: string): Set<string> {
  const text = params.get(key);
  return new Set(text ? text.split(",").map(safeDecode) : []);
}

export function writeSet(values: Iterable<string>): string {
  return [...values].sort().map((value) => encodeURIComponent(value)).join(",");
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

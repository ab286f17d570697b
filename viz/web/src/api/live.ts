// Whether pages update by themselves, and how often.
import { useSyncExternalStore } from "react";
import type { Window } from "./types";

let paused = false;
const listeners = new Set<() => void>();

export function setPaused(value: boolean): void {
  paused = value;
  for (const listener of listeners) listener();
}

export function usePaused(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => paused,
  );
}

const INTERVAL_MS: Record<Window, number> = { "1m": 5_000, "10m": 5_000, "1h": 15_000, "6h": 30_000 };
export const RETRY_MS = 2_000;

export function intervalOf(window: Window): number {
  return INTERVAL_MS[window];
}

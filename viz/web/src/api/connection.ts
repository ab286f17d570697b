// Whether the server is reachable, as the answers to all queries tell.
import { useSyncExternalStore } from "react";
import { ApiError } from "./client";

export interface Connection {
  state: "ok" | "lost" | "back";
  /** When the last answer came (milliseconds). */
  lastAnswer: number | null;
}

type Listener = () => void;
const BACK_FOR_MS = 4_000;

export class ConnectionMonitor {
  private value: Connection = { state: "ok", lastAnswer: null };
  private readonly listeners = new Set<Listener>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  succeeded(now = Date.now()): void {
    if (this.value.state === "lost") {
      this.set({ state: "back", lastAnswer: now });
      this.timer = setTimeout(() => this.set({ ...this.value, state: "ok" }), BACK_FOR_MS);
    } else {
      this.value = { ...this.value, lastAnswer: now };
    }
  }

  failed(error: unknown): void {
    if (!(error instanceof ApiError) || !error.unreachable) {
      // The server answered, if only with an error.
      if (error instanceof ApiError) this.succeeded();
      return;
    }
    clearTimeout(this.timer);
    if (this.value.state !== "lost") this.set({ ...this.value, state: "lost" });
  }

  subscribe = (listener: Listener): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
  snapshot = (): Connection => this.value;

  private set(value: Connection): void {
    this.value = value;
    for (const listener of this.listeners) listener();
  }
}

export const connection = new ConnectionMonitor();

export function useConnection(): Connection {
  return useSyncExternalStore(connection.subscribe, connection.snapshot);
}

// A tap over a WebSocket: connects, collects, tells what happened, and connects again if the server was lost.
import { apiUrl, type Params } from "../api/client";
import type { TapMessage } from "../api/tap-types";
import type { ErrorBody } from "../api/types";
import { CallLog, Top, type Call, type TopRow } from "./calls";

export interface TapSnapshot {
  state: "idle" | "connecting" | "running" | "lost" | "failed";
  started: Extract<TapMessage, { type: "started" }> | null;
  error: ErrorBody["error"] | null;
  dropped: number;
  calls: Call[];
  top: TopRow[];
}

const IDLE: TapSnapshot = { state: "idle", started: null, error: null, dropped: 0, calls: [], top: [] };
const AGAIN_MS = 2_000;
const PUBLISH_MS = 500;

export class TapStream {
  private value: TapSnapshot = IDLE;
  private socket: WebSocket | undefined;
  private again: ReturnType<typeof setTimeout> | undefined;
  private publishing: ReturnType<typeof setTimeout> | undefined;
  private log = new CallLog();
  private sums = new Top();
  private dropped = 0;
  private readonly listeners = new Set<() => void>();

  start(params: Params): void {
    this.stop();
    this.log = new CallLog();
    this.sums = new Top();
    this.dropped = 0;
    this.set({ ...IDLE, state: "connecting" });
    this.connect(params);
  }

  /** Ends the tap; what it collected stays. */
  stop(): void {
    clearTimeout(this.again);
    const socket = this.socket;
    this.socket = undefined;
    socket?.close();
    if (this.value.state !== "failed" && this.value.state !== "idle") this.set({ ...this.value, state: "idle" });
  }

  private connect(params: Params): void {
    const url = new URL(apiUrl("tap", params), window.location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
    };
    socket.onmessage = (event) => {
      if (this.socket === socket) this.receive(event.data);
    };
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.socket = undefined;
      if (this.value.state === "failed") return;
      const error = opened ? null : {
        code: "unreachable", message: "The tap could not be opened",
        hint: "The server cannot be reached, or an ingress in between does not pass WebSockets, or changes Host or Origin.",
      };
      this.set({ ...this.value, state: "lost", error });
      this.again = setTimeout(() => this.connect(params), AGAIN_MS);
    };
  }

  private receive(data: unknown): void {
    let message: TapMessage;
    try {
      message = JSON.parse(String(data)) as TapMessage;
    } catch {
      return;
    }
    switch (message.type) {
      case "started":
        this.set({ ...this.value, state: "running", started: message, error: null });
        break;
      case "events":
        this.sums.add(this.log.add(message.events));
        this.publish();
        break;
      case "dropped":
        this.dropped += message.events;
        this.publish();
        break;
      case "error":
        this.set({ ...this.value, state: "failed", error: message.error });
        break;
    }
  }

  /** Twice a second is enough to read, and does not keep the page busy. */
  private publish(): void {
    this.publishing ??= setTimeout(() => {
      this.publishing = undefined;
      this.set({ ...this.value, dropped: this.dropped, calls: this.log.latest(), top: this.sums.list() });
    }, PUBLISH_MS);
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
  snapshot = (): TapSnapshot => this.value;

  private set(value: TapSnapshot): void {
    this.value = value;
    for (const listener of this.listeners) listener();
  }
}

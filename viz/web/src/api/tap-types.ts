// The contract of the WebSocket `/api/tap`: what the server sends. The client sends nothing but the query in the URL.

import type { ErrorBody, ResourceRef } from "./types";

/** One text message holds one of these. */
export type TapMessage =
  /** First, and again when the pods change. */
  | { type: "started"; pods: number; maxRps: number; skipped: { pod: string; reason: string }[] }
  /** At most every 100 ms. */
  | { type: "events"; events: TapEvent[] }
  /** Events that the limit, or a slow reader, kept back since the last such message. */
  | { type: "dropped"; events: number }
  /** The last message; the server closes with code 1011 (or 1008: not allowed). */
  | { type: "error"; error: ErrorBody["error"] };

export interface TapEnd {
  resource: ResourceRef | null;
  pod: string | null;
  /** "10.244.1.3:41234", "[fd00::1]:80" */
  address: string;
}

export type TapHeaders = [name: string, value: string][];

interface TapEventBase {
  /** The same for the three events of a request. */
  id: string;
  at: number;
  direction: "inbound" | "outbound";
}
export type TapEvent =
  | (TapEventBase & {
      event: "request";
      source: TapEnd;
      destination: TapEnd;
      tls: "true" | "local" | "opaque" | "no_identity";
      method: string;
      scheme: string | null;
      authority: string;
      path: string;
      /** The route that it matched; null if it matched none. */
      route?: string | null;
      headers: TapHeaders;
    })
  | (TapEventBase & { event: "response"; status: number; latencyMs: number; headers: TapHeaders })
  | (TapEventBase & {
      event: "end";
      durationMs: number;
      responseBytes: number;
      /** gRPC's code by name, for example "OK"; null if the response has none. */
      grpcStatus: string | null;
      /** The name of the HTTP/2 reset code if the stream broke. */
      reset: string | null;
    });

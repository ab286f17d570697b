// Asks the server, and turns every way of failing into one error.
import type { ErrorBody } from "./types";

export type Params = Record<string, string | number | boolean | null | undefined>;

export class ApiError extends Error {
  constructor(
    /** HTTP status; 0 if the server was not reached. */
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string | null,
  ) {
    super(message);
    this.name = "ApiError";
  }

  /** The server was not reached, or something in between answered for it. */
  get unreachable(): boolean {
    return this.status === 0 || this.code === "not_the_api";
  }
}

const TIMEOUT_MS = 20_000;

export function apiUrl(path: string, params: Params = {}): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) {
    if (value != null && value !== "" && value !== false) query.set(key, String(value));
  }
  const text = query.toString();
  return `/api/${path}${text ? `?${text}` : ""}`;
}

export async function getJson<T>(path: string, params: Params, signal?: AbortSignal): Promise<T> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let response: Response;
  let body: unknown;
  try {
    response = await fetch(apiUrl(path, params), {
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      headers: { accept: "application/json" },
    });
    if (!isJson(response)) throw notTheApi(response);
    body = await response.json();
  } catch (error) {
    if (error instanceof ApiError || signal?.aborted) throw error;
    if (timeout.aborted) throw new ApiError(0, "timeout", "The dashboard's server does not answer", "It may be overloaded, or the network slow.");
    throw new ApiError(0, "unreachable", "The dashboard's server cannot be reached", "Is `weft viz dashboard` still running?");
  }
  if (!response.ok) throw errorOf(response.status, body);
  return body as T;
}

function isJson(response: Response): boolean {
  return (response.headers.get("content-type") ?? "").includes("json");
}

function notTheApi(response: Response): ApiError {
  return new ApiError(
    response.status, "not_the_api", `Something other than the dashboard's server answered (status ${response.status})`,
    "A proxy or an ingress in between may ask you to sign in: reload the page.",
  );
}

export function errorOf(status: number, body: unknown): ApiError {
  const error = (body as Partial<ErrorBody> | null)?.error;
  if (typeof error?.message !== "string") return new ApiError(status, "internal", `The server answered with status ${status}`, null);
  return new ApiError(status, error.code, error.message, error.hint ?? null);
}

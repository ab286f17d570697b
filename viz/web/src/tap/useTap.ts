// A tap that runs while a component asks for it.
import { useEffect, useState, useSyncExternalStore } from "react";
import type { Params } from "../api/client";
import { TapStream, type TapSnapshot } from "./stream";

/** `params` are the query of the tap; null stops it and keeps what was collected. */
export function useTap(params: Params | null): TapSnapshot {
  const [stream] = useState(() => new TapStream());
  const key = params && JSON.stringify(params);
  useEffect(() => {
    if (!key) return;
    stream.start(JSON.parse(key) as Params);
    return () => stream.stop();
  }, [stream, key]);
  return useSyncExternalStore(stream.subscribe, stream.snapshot);
}

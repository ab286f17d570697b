// Runs the layout in a worker when nodes or edges appear or disappear; until it is done, the former one stays.
import ElkApi from "elkjs/lib/elk-api.js";
import workerUrl from "elkjs/lib/elk-worker.min.js?url";
import { useEffect, useMemo, useState } from "react";
import { computeLayout, layoutKey, type Direction, type Layout } from "./layout";
import type { View } from "./view";

let elk: InstanceType<typeof ElkApi> | undefined;
function engine() {
  elk ??= new ElkApi({ workerFactory: () => new Worker(workerUrl) });
  return elk;
}

export interface LaidOut {
  layout: Layout | null;
  /** A layout is being computed. */
  busy: boolean;
  error: string | null;
}

export function useLayout(view: View, direction: Direction): LaidOut {
  const key = useMemo(() => layoutKey(view, direction), [view, direction]);
  const [done, setDone] = useState<{ layout: Layout | null; error: string | null; key: string }>({ layout: null, error: null, key: "" });
  useEffect(() => {
    let current = true;
    computeLayout(engine(), view, direction).then(
      (layout) => current && setDone({ layout, error: null, key }),
      (error: unknown) => current && setDone((before) => ({ ...before, error: error instanceof Error ? error.message : "The layout failed", key })),
    );
    return () => {
      current = false;
    };
    // The view changes with every answer; only its key says that places change.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [key]);
  return { layout: done.layout, error: done.error, busy: done.key !== key };
}

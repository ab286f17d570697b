// Reading and changing the URL's parameters from components.
import { useCallback } from "react";
import { useSearchParams } from "react-router";
import type { Window } from "../api/types";
import { DEFAULT_WINDOW, readWindow, withParams } from "./params";

export function useWindow(): Window {
  const [params] = useSearchParams();
  return readWindow(params);
}

/** Changes parameters in place: the Back button leaves the page, not the filter. */
export function useSetParams(): (changes: Record<string, string | undefined>, defaults?: Record<string, string>) => void {
  const [, setParams] = useSearchParams();
  return useCallback(
    (changes, defaults) => setParams((current) => withParams(current, changes, defaults), { replace: true, preventScrollReset: true }),
    [setParams],
  );
}

/** A link to a page keeps the window, which is the only thing all pages share. */
export function useTo(): (path: string, extra?: Record<string, string | undefined>) => string {
  const window = useWindow();
  return useCallback((path, extra = {}) => {
    const query = withParams(new URLSearchParams(), { ...extra, w: window }, { w: DEFAULT_WINDOW }).toString();
    return query ? `${path}?${query}` : path;
  }, [window]);
}

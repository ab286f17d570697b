// One hook to ask the server: cached, repeated while the page is live, and keeping what it has while it is asked again.
import { QueryCache, QueryClient, useQuery, type UseQueryResult } from "@tanstack/react-query";
import { useWindow } from "../url/hooks";
import { getJson, type ApiError, type Params } from "./client";
import { connection } from "./connection";
import { intervalOf, RETRY_MS, usePaused } from "./live";
import type { Answer } from "./types";

export const queryClient = new QueryClient({
  queryCache: new QueryCache({
    onSuccess: () => connection.succeeded(),
    onError: (error) => connection.failed(error),
  }),
  defaultOptions: {
    queries: { retry: false, networkMode: "always", refetchOnWindowFocus: true, staleTime: 1_000, gcTime: 5 * 60_000 },
  },
});

export type ApiQuery<T> = UseQueryResult<Answer<T>, ApiError>;

interface Options {
  /** Milliseconds between two questions; what depends on the window if absent, never if false. */
  interval?: number | false;
  enabled?: boolean;
}

/** Asks `/api/PATH` with the window of the URL. */
export function useApi<T>(path: string, params: Params = {}, options: Options = {}): ApiQuery<T> {
  const window = useWindow();
  const paused = usePaused();
  const interval = options.interval ?? intervalOf(window);
  return useQuery<Answer<T>, ApiError>({
    queryKey: [path, params, window],
    queryFn: ({ signal }) => getJson<Answer<T>>(path, { ...params, window }, signal),
    enabled: options.enabled ?? true,
    refetchInterval: (query) => {
      if (query.state.status === "error" || query.state.fetchFailureCount > 0) return RETRY_MS;
      return paused ? false : interval;
    },
    // Another window of the same thing: what is shown stays until the answer comes.
    placeholderData: (previous, query) =>
      query?.queryKey[0] === path && JSON.stringify(query.queryKey[1]) === JSON.stringify(params) ? previous : undefined,
  });
}

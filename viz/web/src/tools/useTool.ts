// A tap that runs as the URL says: `run=1` starts it, a changed query stops it.
import { useSearchParams } from "react-router";
import { useTap } from "../tap/useTap";
import { useSetParams } from "../url/hooks";
import { mistake, readQuery, tapParams } from "./query";

export function useTool() {
  const [params] = useSearchParams();
  const setParams = useSetParams();
  const query = readQuery(params);
  const running = params.get("run") === "1" && mistake(query) === null;
  const tap = useTap(running ? tapParams(query) : null);
  return { query, running, tap, start: () => setParams({ run: "1" }), stop: () => setParams({ run: undefined }) };
}

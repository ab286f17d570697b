// The state of the map in the URL: grouping, open namespaces, hidden edges, what is searched and selected, map or list.
import { useMemo } from "react";
import { useSearchParams } from "react-router";
import { useSetParams } from "../url/hooks";
import { readChoice, readSet, writeSet } from "../url/params";
import { HIDABLE, type Hidable } from "./appearance";
import { GROUPINGS, type Grouping } from "./view";

export interface MapState {
  grouping: Grouping;
  open: ReadonlySet<string>;
  hide: ReadonlySet<string>;
  find: string;
  select: string | null;
  as: "map" | "list";
  setGrouping: (grouping: Grouping) => void;
  toggleOpen: (namespace: string) => void;
  toggleHide: (what: Hidable) => void;
  setSelect: (id: string | null) => void;
  setAs: (as: "map" | "list") => void;
}

export function useMapState(fallback: Grouping, openByDefault: string | undefined): MapState {
  const [params] = useSearchParams();
  const setParams = useSetParams();
  return useMemo(() => {
    const open = params.has("open") ? readSet(params, "open") : new Set(openByDefault ? [openByDefault] : []);
    const hide = readSet(params, "hide");
    const toggled = (set: ReadonlySet<string>, item: string): Set<string> => {
      const next = new Set(set);
      if (!next.delete(item)) next.add(item);
      return next;
    };
    return {
      grouping: readChoice(params, "group", GROUPINGS, fallback), open, hide,
      find: params.get("find") ?? "", select: params.get("select"), as: readChoice(params, "as", ["map", "list"] as const, "map"),
      setGrouping: (group) => setParams({ group }, { group: fallback }),
      toggleOpen: (namespace) => setParams({ open: writeSet(toggled(open, namespace)) || ",", select: undefined }),
      toggleHide: (what) => setParams({ hide: writeSet([...toggled(hide, what)].filter((item) => (HIDABLE as readonly string[]).includes(item))) }),
      setSelect: (id) => setParams({ select: id ?? undefined }),
      setAs: (as) => setParams({ as }, { as: "map" }),
    };
  }, [params, setParams, fallback, openByDefault]);
}

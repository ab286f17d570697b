// What nodes of the map can ask for.
import { createContext } from "react";

export const MapActions = createContext<{
  select: (id: string | null) => void;
  toggleOpen: (namespace: string) => void;
}>({ select: () => undefined, toggleOpen: () => undefined });

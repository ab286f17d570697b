// The tools of the map: search, grouping, hiding, map or list.
import { FilterField } from "../components/FilterField";
import { Switch } from "../components/Switch";
import { plural } from "../format/numbers";
import { HIDABLE, type Hidable } from "./appearance";
import type { MapState } from "./state";
import styles from "./Toolbar.module.css";
import type { View } from "./view";

const HIDE_WORDS: Record<Hidable, string> = { healthy: "Hide healthy", idle: "Hide idle" };

export function Toolbar({ state, view, hidden }: { state: MapState; view: View; hidden: number }) {
  return (
    <div className={styles.toolbar}>
      <FilterField param="find" label="Find a workload" />
      {state.as === "map" && (
        <Switch label="Namespaces" value={state.grouping} onChange={state.setGrouping}
          options={[["boxes", "In boxes"], ["folded", "Folded"], ["none", "Ungrouped"]]} />
      )}
      <div className={styles.checks} role="group" aria-label="Edges">
        {HIDABLE.map((what) => (
          <label key={what} className={styles.check}>
            <input type="checkbox" checked={state.hide.has(what)} onChange={() => state.toggleHide(what)} />
            {HIDE_WORDS[what]}
          </label>
        ))}
      </div>
      <p className={styles.count} role="status">
        {plural(view.nodes.length, "node")}, {plural(view.edges.length, "edge")}{hidden > 0 ? `, ${hidden} hidden` : ""}
      </p>
    </div>
  );
}

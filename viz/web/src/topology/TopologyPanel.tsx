// The topology with its tools: as a map, or as a list that says the same.
import { lazy, Suspense, useMemo } from "react";
import { useApi } from "../api/queries";
import type { Topology } from "../api/types";
import { Empty, Loaded, Loading } from "../components/Loaded";
import { Section } from "../components/Page";
import { Switch } from "../components/Switch";
import { EdgeList } from "./EdgeList";
import { Legend } from "./Legend";
import { useMapState } from "./state";
import { Toolbar } from "./Toolbar";
import styles from "./TopologyPanel.module.css";
import { buildView, defaultGrouping } from "./view";
import { isHidden } from "./appearance";

// React Flow and the layout are loaded when a map is first shown.
const TopologyMap = lazy(() => import("./TopologyMap"));

export function TopologyPanel({ namespace }: { namespace?: string }) {
  const query = useApi<Topology>("topology", { namespace });
  const title = namespace ? "Topology" : "Who talks to whom";
  return (
    <Section title={title} aside={<AsSwitch />}>
      <Loaded query={query} rows={7}>
        {(topology) => topology.nodes.length === 0
          ? <Empty title="Nobody talks to anybody yet"><p>No meshed pod has open connections or requests. Mesh a namespace with <code>linkerd.io/inject: enabled</code>, or choose a longer time range.</p></Empty>
          : <TopologyView topology={topology} namespace={namespace} />}
      </Loaded>
    </Section>
  );
}

function AsSwitch() {
  const { as, setAs } = useMapState("boxes", undefined);
  return <Switch label="Show as" value={as} onChange={setAs} options={[["map", "Map"], ["list", "List"]]} />;
}

function TopologyView({ topology, namespace }: { topology: Topology; namespace: string | undefined }) {
  const state = useMapState(defaultGrouping(topology), namespace);
  const view = useMemo(() => buildView(topology, state.grouping, state.open), [topology, state.grouping, state.open]);
  const hidden = useMemo(() => new Set(view.edges.filter((edge) => isHidden(edge, state.hide)).map((edge) => edge.id)), [view, state.hide]);
  return (
    <>
      <Toolbar state={state} view={view} hidden={hidden.size} />
      {state.as === "list"
        ? <EdgeList edges={topology.edges.filter((edge) => !isHidden(edge, state.hide))} nodes={topology.nodes} find={state.find} />
        : (
          <Suspense fallback={<div className={styles.placeholder}><Loading rows={7} /></div>}>
            <TopologyMap view={view} state={state} hidden={hidden} scope={namespace ?? ""} />
          </Suspense>
        )}
      <Legend />
    </>
  );
}

// The map: pan, zoom, select. Places come from the layout and change only with it.
import { Background, BackgroundVariant, getViewportForBounds, MiniMap, ReactFlow, ReactFlowProvider, useReactFlow, useStore, useStoreApi, type FitViewOptions } from "@xyflow/react";
import "@xyflow/react/dist/style.css";
import { useEffect, useMemo, useRef } from "react";
import { useIsDark } from "../theme/theme";
import { Details } from "./Details";
import { matches, toFlow, type FlowNode } from "./flow";
import { GroupBox } from "./GroupBox";
import type { Box, Layout } from "./layout";
import { MapActions } from "./MapActions";
import { MapControls } from "./MapControls";
import type { MapState } from "./state";
import styles from "./TopologyMap.module.css";
import { TrafficEdge } from "./TrafficEdge";
import { useNarrow } from "../url/media";
import { useLayout } from "./useLayout";
import type { View } from "./view";
import { WorkloadNode } from "./WorkloadNode";

const NODE_TYPES = { workload: WorkloadNode, "group-box": GroupBox };
const EDGE_TYPES = { traffic: TrafficEdge };
// The buttons at the left bottom cover nothing.
type Fit = Required<Pick<FitViewOptions, "padding" | "maxZoom" | "duration">>;
const FIT = { maxZoom: 1.1, duration: 0 };
const FOUND: Fit = { padding: 0.3, maxZoom: 1, duration: 200 };
const MIN_ZOOM = 0.05;
/** Below these zooms, nodes show their name only, texts are written larger, and nodes show their mark only. */
const FAR = 0.55;
const FARTHER = 0.38;
const TINY = 0.24;
const MINIMAP_FROM = 40;
const MINIMAP = { width: 150, height: 90 };
/** It covers nothing either. */
const ABOVE_MINIMAP = "112px";

interface Props {
  view: View;
  state: MapState;
  hidden: ReadonlySet<string>;
  /** What is shown; another scope is fitted into the frame anew. */
  scope: string;
}

export default function TopologyMap(props: Props) {
  return <ReactFlowProvider><Map {...props} /></ReactFlowProvider>;
}

function Map({ view, state, hidden, scope }: Props) {
  const narrow = useNarrow();
  const { layout, busy, error } = useLayout(view, narrow ? "down" : "right");
  const dark = useIsDark();
  const flow = useMemo(
    () => layout && toFlow(view, layout, { find: state.find, select: state.select, hidden, foldable: state.grouping === "folded" }),
    [view, layout, state.find, state.select, state.grouping, hidden],
  );
  const { setSelect, toggleOpen } = state;
  const actions = useMemo(() => ({ select: setSelect, toggleOpen }), [setSelect, toggleOpen]);
  const known = state.select !== null && [...view.nodes, ...view.edges].some((item) => item.id === state.select);
  const distance = useStore((store) => distanceOf(store.transform[2]));
  const beside = !narrow && known;
  const minimap = !narrow && flow !== null && flow.nodes.length >= MINIMAP_FROM;
  const fit = useMemo(() => fitOptions(beside, minimap), [beside, minimap]);
  useFit(busy ? null : layout, view, `${scope} ${state.grouping} ${[...state.open].join()} ${narrow}`, state.find, fit);
  useShowSelected(layout, state.select, beside);

  return (
    <>
    <div className={`${styles.frame} ${distance}`} style={layout ? frameSize(layout, minimap) : undefined} aria-busy={busy} onKeyDown={(event) => event.key === "Escape" && state.setSelect(null)}>
      {error && !layout && <p className={styles.message} role="alert">The map cannot be drawn: {error}. The list shows the same.</p>}
      {!flow && !error && <p className={styles.message} role="status">Placing {view.nodes.length} nodes…</p>}
      {flow && (
        <MapActions.Provider value={actions}>
          <ReactFlow nodes={flow.nodes} edges={flow.edges} nodeTypes={NODE_TYPES} edgeTypes={EDGE_TYPES} colorMode={dark ? "dark" : "light"}
            minZoom={MIN_ZOOM} maxZoom={2} fitView fitViewOptions={fit} onlyRenderVisibleElements={flow.nodes.length > 300}
            nodesDraggable={false} nodesConnectable={false} nodesFocusable={false} edgesFocusable={false} elementsSelectable={false}
            preventScrolling={false} zoomOnScroll={false} panOnScroll={false} zoomActivationKeyCode={["Control", "Meta"]} zoomOnDoubleClick={false}
            onPaneClick={() => state.setSelect(null)} onEdgeClick={(_, edge) => state.setSelect(edge.id)}
            proOptions={{ hideAttribution: true }} aria-label="Topology">
            <Background variant={BackgroundVariant.Dots} gap={22} size={1} />
            <MapControls fit={fit} />
            {minimap && (
              <MiniMap className={styles.minimap} style={MINIMAP} pannable zoomable ariaLabel="Overview of the map" nodeClassName={(node) => minimapClass(node as FlowNode)} nodeBorderRadius={6} />
            )}
          </ReactFlow>
          {beside && state.select && <Details view={view} id={state.select} onClose={() => state.setSelect(null)} />}
        </MapActions.Provider>
      )}
    </div>
    {narrow && known && state.select && (
      <MapActions.Provider value={actions}><Details view={view} id={state.select} onClose={() => state.setSelect(null)} below /></MapActions.Provider>
    )}
    </>
  );
}

function distanceOf(zoom: number): string {
  if (zoom < TINY) return "map-far map-tiny";
  if (zoom < FARTHER) return "map-far map-farther";
  return zoom < FAR ? "map-far" : "";
}

/** The shape of the map, but no higher than the window or than the map itself. */
function frameSize({ width, height }: Layout, minimap: boolean): React.CSSProperties {
  const shape = { aspectRatio: `${width} / ${height * (minimap ? 1.45 : 1.2)}`, maxHeight: `min(72vh, 46rem, ${Math.round(height * 1.2 + 100)}px)` };
  return { height: "auto", ...shape };
}

/** Room for the details of what is selected, which lie over the right of the map. */
function fitOptions(details: boolean, minimap: boolean): Fit {
  const padding = { top: "7%", bottom: minimap ? ABOVE_MINIMAP : "7%", left: "64px", right: details ? "340px" : "4%" } as const;
  return { ...FIT, padding };
}

function minimapClass(node: FlowNode): string {
  if (node.type === "group-box") return styles.miniGroup ?? "";
  return styles[`mini-${node.data.node.health}`] ?? "";
}

/**
 * Fits everything into the frame when the reader chooses something else, and what is found while a name is typed.
 * Nothing moves when the cluster changes, and nothing is fitted before it is laid out.
 */
function useFit(layout: Layout | null, view: View, choice: string, find: string, fit: Fit): void {
  const { setViewport, viewportInitialized } = useReactFlow();
  const store = useStoreApi();
  const text = find.trim().toLowerCase();
  const fitted = useRef({ choice: "", text: "" });
  const latest = useRef(view);
  useEffect(() => {
    latest.current = view;
  }, [view]);
  useEffect(() => {
    const chosen = fitted.current.choice !== choice;
    if (!layout || !viewportInitialized || (!chosen && fitted.current.text === text)) return;
    const timer = setTimeout(() => {
      fitted.current = { choice, text };
      const found = text === "" ? [] : latest.current.nodes.filter((node) => matches(node, text)).flatMap(({ id }) => layout.nodes.get(id) ?? []);
      if (found.length === 0 && !chosen) return;
      const { padding, maxZoom, duration } = found.length > 0 ? FOUND : fit;
      // React Flow's own fitView waits until it has measured all nodes, and may never do it.
      const { width, height } = store.getState();
      void setViewport(getViewportForBounds(around(found.length > 0 ? found : [...layout.nodes.values(), ...layout.groups.values()]), width, height, MIN_ZOOM, maxZoom, padding), { duration });
      // A new layout is first drawn; a name is first typed to its end.
    }, chosen ? 60 : 250);
    return () => clearTimeout(timer);
  }, [layout, viewportInitialized, choice, text, setViewport, store, fit]);
}

function around(boxes: Box[]): Box {
  const [x, y] = [Math.min(...boxes.map((box) => box.x)), Math.min(...boxes.map((box) => box.y))];
  const [right, bottom] = [Math.max(...boxes.map((box) => box.x + box.width)), Math.max(...boxes.map((box) => box.y + box.height))];
  return { x, y, width: right - x, height: bottom - y };
}

/** Moves the map only if its details would hide what was selected. */
function useShowSelected(layout: Layout | null, select: string | null, details: boolean): void {
  const { flowToScreenPosition, setCenter, getZoom } = useReactFlow();
  useEffect(() => {
    const box = select ? layout?.nodes.get(select) : undefined;
    const frame = document.querySelector(".react-flow")?.getBoundingClientRect();
    if (!box || !frame || !details) return;
    const right = flowToScreenPosition({ x: box.x + box.width, y: box.y }).x;
    if (right < frame.right - 330) return;
    const zoom = getZoom();
    void setCenter(box.x + box.width / 2 + 165 / zoom, box.y + box.height / 2, { zoom, duration: 200 });
    // Once for each selection.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [select]);
}
